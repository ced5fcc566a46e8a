"""The shell scripts, in dash if it is installed: the commands they run, skip, and refuse."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "scripts").glob("*.sh"))
LIBRARY = sorted((ROOT / "scripts" / "lib").glob("*.sh"))
# the scripts of tasks, and the spec of each without settings
TINY_SPECS = {
    file.name: match[1]
    for file in SCRIPTS
    if (match := re.search(r"^tiny=(\S+)$", file.read_text(), re.MULTILINE))
}
PRETRAINED = {  # scripts that start from the network of another one, and the spec of that network
    "caption_mplug_large_scst.sh": "configs_image/caption_shapes_tiny.yaml",
    "run_videoretrieval.sh": "configs_video/VideoCaption_shapes_tiny.yaml",
}
SHELL = shutil.which("dash") or "sh"
SHIM = '#!/bin/sh\nprintf "%s" "$(basename "$0")" >>"$CALLS"\nprintf " [%s]" "$@" >>"$CALLS"\necho >>"$CALLS"\n'


@pytest.mark.parametrize("script", SCRIPTS + LIBRARY, ids=lambda path: path.name)
def test_it_is_posix_shell(script: Path) -> None:
    done = subprocess.run(
        [SHELL, "-n", str(script)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(
    shutil.which("shellcheck") is None, reason="shellcheck is not installed"
)
@pytest.mark.slow
def test_shellcheck_reports_nothing() -> None:
    command = ["shellcheck", *map(str, SCRIPTS + LIBRARY)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_every_task_script_is_short_and_ends_with_one_call() -> None:
    for script in sorted({script.name for script in SCRIPTS} - {"setup.sh", "test.sh"}):
        lines = (ROOT / "scripts" / script).read_text().splitlines()
        assert len(lines) <= 25, script
        assert re.fullmatch(
            r'run (train_and_test|train_and_tabulate|evaluate) "\$@"', lines[-1]
        ), script
        code = [line for line in lines[:-1] if line and not line.startswith("#")]
        assert code[0] == '. "$(dirname -- "$0")/lib/launcher.sh"', script
        setting = r'(tiny|finetuned|pretrained|example|inputs|note)=|\. "\$\(dirname -- "\$0"\)/lib/'
        assert all(re.match(setting, line) for line in code[1:]), script


def test_every_script_is_documented() -> None:
    rows = re.findall(
        r"^\| \[(\S+\.sh)\]\(\1\) \|(.+)\|$",
        (ROOT / "scripts/README.md").read_text(),
        re.MULTILINE,
    )
    assert sorted(name for name, _ in rows) == [script.name for script in SCRIPTS]
    for name, text in rows:
        if name in TINY_SPECS:
            assert f"`{Path(TINY_SPECS[name]).stem}`" in text, name


def test_every_setting_is_documented() -> None:
    settings: set[str] = set()
    for file in LIBRARY:
        settings |= set(re.findall(r"\$\{?([A-Z][A-Z_]+)\b", file.read_text()))
    table = (ROOT / "scripts" / "README.md").read_text().partition("## Settings")[2]
    assert settings - {"HOME", "PWD"} == set(re.findall(r"\b([A-Z_]{3,})=", table))


def outside() -> dict[str, str]:
    """Return the environment without the variables of a distributed run, which other tests may have set."""
    run = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    return {name: value for name, value in os.environ.items() if name not in run}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Make a project that is set up, in a path with a space; its commands only record their arguments."""
    folder = tmp_path / "my project"
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    (folder / "scripts" / "setup.sh").write_text("exit 0\n")
    for spec in [
        *TINY_SPECS.values(),
        "configs_video/other.yaml",
        "configs_image/vqa_mplug_base.yaml",
    ]:
        (folder / spec).parent.mkdir(exist_ok=True)
        (folder / spec).write_text("")
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("mplug2", "deepspeed", "torchrun"):
        shim = folder / ".venv" / "bin" / name
        shim.write_text(SHIM)
        shim.chmod(0o755)
    return folder


def called(
    project: Path, script: str, *words: str, cwd: Path | None = None, **settings: str
) -> list[str]:
    """Run a script and return the calls it made."""
    calls = project / "calls"
    calls.unlink(missing_ok=True)
    done = subprocess.run(
        [SHELL, str(project / "scripts" / script), *words],
        cwd=cwd or project,
        env={**outside(), "CALLS": str(calls), **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return calls.read_text().splitlines()


TINY = "[configs_video/VideoQA_shapes_tiny.yaml]"
RUN = "runs/VideoQA_shapes_tiny"


def test_the_first_command_makes_data_trains_and_tests(project: Path) -> None:
    made, trained, measured = called(project, "run_videoqa.sh", HOME="")
    assert made == "mplug2 [data] [make-shapes] [data/shapes]"
    assert trained == f"mplug2 [train] {TINY} [--resume] [train.output_dir={RUN}]"
    out = f"[--out] [{RUN}/predictions/measured.jsonl]"
    assert (
        measured
        == f"mplug2 [eval] {TINY} [--checkpoint] [{RUN}/last] {out} [train.output_dir={RUN}]"
    )


def test_the_words_of_vlmos_command_become_settings(project: Path) -> None:
    spec = project / "configs_image/retrieval_flickr30k_vlmo_large.yaml"
    spec.write_text("")
    (project / "vlmo.pt").write_text("")
    words = "with data_root=D num_gpus=8 num_nodes=1 task_finetune_irtr_f30k_large_image384 per_gpu_batchsize=24"
    trained, measured = called(
        project,
        "run_vlmo.sh",
        *words.split(),
        "load_path=vlmo.pt",
        "log_dir=runs/f",
        "train.lr=1",
    )
    assert trained.startswith("deepspeed [--num_gpus] [8] [--module] [mplug2] [train]")
    for part in (
        f"[{spec.relative_to(project)}]",
        "[*=vlmo:vlmo.pt]",
        "[train.micro_batch=24]",
        "[train.lr=1]",
    ):
        assert part in trained
    assert "[--checkpoint] [runs/f/last]" in measured
    tested = called(
        project, "run_vlmo.sh", *words.split(), "load_path=vlmo.pt", "test_only=True"
    )
    assert len(tested) == 1
    assert "[eval]" in tested[0]
    assert "[--checkpoint] [vlmo.pt]" in tested[0]


def test_a_task_of_vlmo_without_a_spec_is_named(project: Path) -> None:
    done = subprocess.run(
        [
            SHELL,
            str(project / "scripts" / "run_vlmo.sh"),
            "task_finetune_gqa_base_image480",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "task_finetune_gqa_base_image480: has no spec here" in done.stderr


def test_the_split_is_the_specs_own_unless_one_is_asked_for(project: Path) -> None:
    for script in ("run_vqa.sh", "inference_videoqa.sh"):
        settings = {"CONFIG": "configs_video/other.yaml", "CHECKPOINT": "scripts"}
        assert "[--split]" not in called(project, script, **settings)[-1]
        asked = called(project, script, SPLIT="val", **settings)[-1]
        assert "[--split] [val] [--out] [runs/other/predictions/val.jsonl]" in asked


@pytest.mark.parametrize("script", sorted({*TINY_SPECS} - {*PRETRAINED}))
def test_every_task_runs_on_the_shapes_world_when_nothing_is_set(
    project: Path, script: str
) -> None:
    calls = [call.split() for call in called(project, script)]
    assert calls[0][1] == "[data]"
    assert [call[1] for call in calls[-2:]] == ["[train]", "[eval]"]
    assert all(f"[{TINY_SPECS[script]}]" in call for call in calls[-2:])
    assert (ROOT / TINY_SPECS[script]).is_file()


@pytest.mark.parametrize("script", PRETRAINED)
def test_some_start_from_a_network_that_is_trained_first(
    project: Path, script: str
) -> None:
    run = f"runs/{Path(PRETRAINED[script]).stem}"
    (project / run / "best").mkdir(parents=True)
    calls = [call.split() for call in called(project, script)]
    words = [
        "[data]",
        "[data]",
        "[train]",
        "[eval]",
        "[train]",
        "[eval]",
    ]  # data that is there is left alone
    assert [call[1] for call in calls] == words
    assert [call[2] for call in calls[2:]] == [
        *(f"[{PRETRAINED[script]}]",) * 2,
        *(f"[{TINY_SPECS[script]}]",) * 2,
    ]
    assert f"[*=checkpoint:{run}/best]" in calls[4]


def test_a_released_mplug_checkpoint_is_fine_tuned_on_what_the_script_is_named_for(
    project: Path,
) -> None:
    (project / "mplug.pth").write_text("")
    trained, measured = called(project, "vqa_mplug_base.sh", CHECKPOINT="mplug.pth")
    assert "[configs_image/vqa_mplug_base.yaml]" in trained
    assert "[*=mplug:mplug.pth]" in trained
    assert "[configs_image/vqa_mplug_base.yaml]" in measured


def test_the_format_of_released_weights_follows_the_spec(project: Path) -> None:
    (project / "weights.pth").write_text("")
    settings = {
        "CONFIG": "configs_image/vqa_mplug_base.yaml",
        "CHECKPOINT": "weights.pth",
    }
    assert "[*=mplug:weights.pth]" in called(project, "run_vqa.sh", **settings)[0]
    settings["CONFIG"] = "configs_video/other.yaml"
    assert (
        "[*=mplug2:weights.pth]" in called(project, "vqa_mplug_base.sh", **settings)[0]
    )


def test_a_second_call_does_not_train_again(project: Path) -> None:
    called(project, "run_videoqa.sh")
    assert [call.split()[1] for call in called(project, "run_videoqa.sh")] == [
        "[data]",
        "[eval]",
    ]
    shutil.rmtree(project / RUN)
    assert [call.split()[1] for call in called(project, "run_videoqa.sh")] == [
        "[data]",
        "[train]",
        "[eval]",
    ]


def test_a_run_that_fails_is_not_taken_for_trained(project: Path) -> None:
    (project / ".venv" / "bin" / "mplug2").write_text('#!/bin/sh\n[ "$1" != train ]\n')
    for _ in range(2):
        done = subprocess.run(
            [SHELL, "scripts/run_videoqa.sh"],
            cwd=project,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 1


def test_fine_tuning_on_gpus_from_a_released_checkpoint(
    project: Path, tmp_path: Path
) -> None:
    (tmp_path / "model.pth").write_text("")
    settings = {
        "CONFIG": "configs_video/other.yaml",
        "CHECKPOINT": "model.pth",
        "GPUS": "8",
    }
    trained, measured = called(
        project,
        "run_videoqa.sh",
        "train.batch_size=2",
        cwd=tmp_path,
        OVERRIDES="a=1 b=2",
        OUT="my run",
        **settings,
    )
    assert trained == (
        "deepspeed [--num_gpus] [8] [--module] [mplug2] [train] [configs_video/other.yaml] [--resume] "
        "[--init] "
        f"[*=mplug2:{tmp_path}/model.pth] [train.output_dir={tmp_path}/my run] [a=1] [b=2] "
        f"[train.batch_size=2]"
    )
    assert measured.startswith(
        "deepspeed [--num_gpus] [8] [--module] [mplug2] [eval] [configs_video/other.yaml]"
    )
    assert (tmp_path / "my run" / "trained").exists()


def test_own_weights_and_several_machines(project: Path) -> None:
    (project / "start").mkdir()
    (project / "hosts").write_text("one slots=8\n")
    settings = {
        "CONFIG": "configs_video/other.yaml",
        "CHECKPOINT": "start",
        "HOSTFILE": "hosts",
    }
    trained, _ = called(project, "run_videoqa.sh", **settings)
    assert trained.startswith(
        "deepspeed [--hostfile] [hosts] [--module] [mplug2] [train]"
    )
    assert "[--init] [*=checkpoint:start]" in trained


def test_several_machines_without_ssh(project: Path) -> None:
    settings = {
        "NNODES": "2",
        "NODE_RANK": "1",
        "MASTER_ADDR": "first",
        "GPUS": "4",
        "OUT": "elsewhere",
    }
    trained = called(project, "run_videoqa.sh", **settings)[1]
    assert trained.startswith(
        "torchrun [--nnodes] [2] [--node_rank] [1] [--nproc_per_node] [4] [--master_addr] [first]"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"CONFIG": "none.yaml"}, "CONFIG=none.yaml must be a spec"),
        ({"CHECKPOINT": "none.pth"}, "CHECKPOINT=none.pth must be a file or a folder"),
        ({"HOSTFILE": "none"}, "HOSTFILE=none must be a file of lines"),
        ({"NNODES": "2"}, "NNODES=2 also needs MASTER_ADDR="),
    ],
)
def test_wrong_settings_are_reported(
    project: Path, settings: dict[str, str], message: str
) -> None:
    environment = {**outside(), "CALLS": os.devnull, **settings}
    done = subprocess.run(
        [SHELL, "scripts/run_videoqa.sh"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert message in done.stderr


def test_inference_measures_a_checkpoint(project: Path) -> None:
    settings = {
        "CONFIG": "configs_video/other.yaml",
        "CHECKPOINT": "runs/other/best",
        "SPLIT": "val",
    }
    (measured,) = called(
        project, "inference_videoqa.sh", "eval.batch_size=2", **settings
    )
    assert measured == (
        "mplug2 [eval] [configs_video/other.yaml] [--checkpoint] [runs/other/best] [--split] [val] [--out] "
        "[runs/other/predictions/val.jsonl] [eval.batch_size=2]"
    )


def test_inference_trains_the_tiny_network_first(project: Path) -> None:
    assert [call.split()[1] for call in called(project, "inference_videoqa.sh")] == [
        "[data]",
        "[train]",
        "[eval]",
    ]
    assert [call.split()[1] for call in called(project, "inference_videoqa.sh")] == [
        "[eval]"
    ]


def refused(project: Path, script: str, *words: str, **settings: str) -> str:
    """Return the error message of a script that refuses to run."""
    done = subprocess.run(
        [SHELL, str(project / "scripts" / script), *words],
        cwd=project,
        env={**outside(), "CALLS": os.devnull, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    return done.stderr


@pytest.mark.parametrize("script", ["run_videoqa.sh", "inference_videoqa.sh"])
def test_the_run_folder_is_named_by_out_alone(project: Path, script: str) -> None:
    for words, settings in [
        (["train.output_dir=there"], {}),
        ([], {"OVERRIDES": "a=1 train.output_dir=there"}),
    ]:
        assert "train.output_dir=there: use OUT=FOLDER instead" in refused(
            project, script, *words, **settings
        )
    assert not (project / RUN / "trained").exists()


def test_inference_measures_the_run_in_out(project: Path) -> None:
    settings = {"OUT": "mine", "SPLIT": "val", "PREDICTIONS": "here.jsonl"}
    expected = f"mplug2 [eval] {TINY} [--checkpoint] [mine/last] [--split] [val] [--out] [here.jsonl]"
    for calls in (3, 1):  # trains first, then no more
        made = called(project, "inference_videoqa.sh", **settings)
        assert len(made) == calls
        assert made[-1].startswith(expected)
    (project / "mine" / "best").mkdir()
    assert "[mine/best]" in called(project, "inference_videoqa.sh", **settings)[0]
    assert (
        "[--out] [mine/predictions/"
        in called(project, "inference_videoqa.sh", OUT="mine")[0]
    )


def test_the_settings_of_a_run_are_not_those_of_the_one_before_it(
    project: Path,
) -> None:
    (project / "runs" / "caption_shapes_tiny" / "best").mkdir(parents=True)
    tiny = "configs_image/caption_shapes_tiny_scst.yaml"
    settings = {"CONFIG": tiny, "SPLIT": "val", "PREDICTIONS": "p.jsonl", "OUT": "scst"}
    calls = [
        call
        for call in called(project, "caption_mplug_large_scst.sh", **settings)
        if "[data]" not in call
    ]
    assert [call.split()[2] for call in calls] == [
        *("[configs_image/caption_shapes_tiny.yaml]",) * 2,
        *(f"[{tiny}]",) * 2,
    ]
    assert "p.jsonl" not in calls[1] and "[p.jsonl]" in calls[3]


def test_other_weights_for_a_network_that_is_trained_are_refused(project: Path) -> None:
    for name in ("one.pth", "two.pth"):
        (project / name).write_text("")
    called(project, "run_videoqa.sh", CHECKPOINT="one.pth")
    assert len(called(project, "run_videoqa.sh", CHECKPOINT="one.pth")) == 2
    error = refused(project, "run_videoqa.sh", CHECKPOINT="two.pth")
    assert (
        f"{RUN} is already trained, from {project}/one.pth: for CHECKPOINT=two.pth choose"
        in error
    )
    assert len(called(project, "run_videoqa.sh")) == 2


def test_overrides_are_no_patterns_for_files(project: Path) -> None:
    (project / "a=b").write_text("")
    assert "[a=*]" in called(project, "run_videoqa.sh", OVERRIDES="a=*")[1]
    settings = {
        "CONFIG": "configs_video/other.yaml",
        "CHECKPOINT": "runs/other/best",
        "OVERRIDES": "a=*",
    }
    assert "[a=*]" in called(project, "inference_videoqa.sh", **settings)[0]


def test_the_next_command_can_be_copied(project: Path) -> None:
    done = subprocess.run(
        [SHELL, "scripts/run_videoqa.sh"],
        cwd=project,
        env={**outside(), "CALLS": os.devnull, "OUT": "it's mine"},
        capture_output=True,
        text=True,
        check=True,
    )
    words = shlex.split(done.stdout.splitlines()[-1].removeprefix("next: "))
    assert words[:5] == [
        ".venv/bin/mplug2",
        "predict",
        TINY[1:-1],
        "--checkpoint",
        "it's mine/last",
    ]


@pytest.fixture
def glue(project: Path) -> Path:
    """Add two tasks of GLUE to the project."""
    for title, spec in (("CoLA", "cola_tiny"), ("MNLI", "mnli_tiny")):
        (project / f"data/glue/{title}").mkdir(parents=True)
        (project / f"data/glue/{title}/train.tsv").write_text("")
        (project / f"configs_text/{spec}.yaml").write_text("")
    return project


def test_glue_trains_what_is_there_and_writes_predictions_and_one_table(
    glue: Path,
) -> None:
    calls = called(glue, "run_glue.sh", "train.epochs=1")
    assert [call.split()[1] for call in calls] == [
        "[train]",
        "[eval]",
        "[eval]",
    ] * 2 + [
        "[eval]",
        "[table]",
    ]
    assert calls[0].startswith(
        "mplug2 [train] [configs_text/cola_tiny.yaml] [--resume] [train.output_dir="
    )
    assert calls[0].endswith("[train.epochs=1]")
    assert (
        "[--split] [test] [--submission] [runs/glue_tiny/cola/submission/CoLA.tsv]"
        in calls[2]
    )
    assert (
        "[--only] [matched] [--split] [test]" in calls[5] and "/MNLI-m.tsv]" in calls[5]
    )
    assert (
        "[data.test.path=data/glue/MNLI/test_mismatched.tsv]" in calls[6]
        and "/MNLI-mm.tsv]" in calls[6]
    )
    assert (
        calls[7]
        == "mplug2 [table] [--average] [runs/glue_tiny/cola] [runs/glue_tiny/mnli]"
    )


def test_glue_with_seeds_trains_each_task_several_times(glue: Path) -> None:
    (trained, tabulated) = called(glue, "run_glue.sh", SEEDS="3", TASKS="cola rte")
    assert "[train] [configs_text/cola_tiny.yaml] [--resume] [--seeds] [3]" in trained
    assert tabulated == "mplug2 [table] [--average] [runs/glue_tiny/cola]"


def test_a_hugging_face_folder_is_read_as_bert(glue: Path) -> None:
    (glue / "bert").mkdir()
    (glue / "bert/config.json").write_text("{}")
    trained = called(glue, "run_glue.sh", CHECKPOINT="bert", TASKS="cola")[0]
    assert "[--init] [*=bert:bert]" in trained


def test_a_script_on_generated_data_prints_what_other_data_it_takes(
    project: Path,
) -> None:
    done = subprocess.run(
        [SHELL, str(project / "scripts/run_mlm.sh")],
        env={**outside(), "CALLS": str(project / "calls")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "data.train.text_file=FILE" in done.stdout.splitlines()[-2]
    assert done.stdout.splitlines()[-1].startswith("next: .venv/bin/mplug2 eval")
