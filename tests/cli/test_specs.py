"""check, show and list on real specs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mplug2.cli.app import app
from registry import SETTINGS

ROOT = Path(__file__).resolve().parents[2]
TINY = str(ROOT / "configs_video" / "VideoQA_shapes_tiny.yaml")
run = CliRunner().invoke


def test_check_finds_nothing_in_a_shipped_spec() -> None:
    done = run(app, ["check", TINY, "--stages", "1-3"])
    assert (done.exit_code, done.output.count("no mistakes (stages 1-3")) == (0, 1), (
        done.output
    )


def test_check_needs_no_torch() -> None:
    code = (
        "import sys\nfrom mplug2.cli import main\n"
        f"sys.argv = ['mplug2', 'check', {TINY!r}, '--stages', '1-3']\n"
        "try: main()\nexcept SystemExit as end: print(end.code, 'torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1] in ("0 False", "None False"), (
        done.stdout + done.stderr
    )


def test_one_bad_spec_among_several_gives_2_and_all_are_told(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(f"extends: {TINY}\nflow:\n  extra: vison(video)\n")
    done = run(app, ["check", TINY, str(bad), "--stages", "1-3"])
    assert done.exit_code == 2
    assert "no mistakes" in done.output
    assert f"{bad}:3:" in done.output
    assert "Traceback" not in done.output


def test_an_override_is_the_place_of_its_mistake() -> None:
    done = run(app, ["check", TINY, "modules.vision.dept=3", "--stages", "1-3"])
    assert done.exit_code == 2
    assert "modules.vision.dept=3" in done.output
    assert "depth" in done.output


def test_json_holds_every_problem(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(f"extends: {TINY}\ntrain: {{epoch: 3}}\n")
    done = run(app, ["check", TINY, str(bad), "--stages", "1-3", "--json"])
    good, wrong = (json.loads(line) for line in done.output.splitlines())
    assert (done.exit_code, good["ok"], wrong["ok"]) == (2, True, False)
    assert wrong["problems"][0]["line"] == 2
    assert "epoch" in wrong["problems"][0]["message"]


def test_list_by_pattern() -> None:
    done = run(app, ["list", "*search"])
    assert done.exit_code == 0
    assert "beam_search" in done.output
    assert "fusion" not in done.output


def test_list_of_one_name_prints_its_ports_and_arguments() -> None:
    done = run(app, ["list", "lm_loss"])
    assert done.exit_code == 0
    assert "logits A L vocab\n" in done.output
    assert "optional; not computed while alpha is 0" in done.output
    assert "'per_sequence', 'per_token'" in done.output


def test_list_of_a_task_leaves_out_what_the_framework_passes() -> None:
    done = run(app, ["list", "text_label"])
    assert done.exit_code == 0
    assert "sentences_per_clip" in done.output
    assert "tokenizer" not in done.output


def test_list_of_a_section_prints_its_settings() -> None:
    for section, key in (("train", "epochs"), ("eval", "goal"), ("momentum", "decay")):
        done = run(app, ["list", section])
        assert done.exit_code == 0
        lines = [
            line for line in done.output.splitlines() if line.startswith(f"{section}.")
        ]
        assert len(lines) == len(SETTINGS[section])
        assert any(line.startswith(f"{section}.{key} ") for line in lines)


@pytest.mark.parametrize("name", ["min_lr", "train.min_lr", "min_*"])
def test_list_of_a_setting_prints_its_type_default_and_meaning(name: str) -> None:
    done = run(app, ["list", name])
    words = " ".join(done.output.split())
    assert "train.min_lr float 1e-06 learning rate at the end of the schedule" in words


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("learning_rate", "train.lr"),
        ("select", "train.best_metric"),
        ("train.clip", "train.max_grad_norm"),
        ("max_bad", "data.max_bad_fraction"),
    ],
)
def test_list_knows_settings_by_old_names_and_those_of_other_programs(
    name: str, setting: str
) -> None:
    done = run(app, ["list", name])
    assert done.exit_code == 0
    assert f"{setting} " in done.output


@pytest.mark.parametrize("pattern", ["nothing*", "fusoin"])
def test_list_of_nothing_says_so(pattern: str) -> None:
    done = run(app, ["list", pattern])
    assert done.exit_code == 2
    assert pattern in done.output


def test_show_counts_parameters() -> None:
    done = run(app, ["show", TINY, "modules.vision.frames=3"])
    assert done.exit_code == 0, done.output
    assert "parameters" in done.output
    assert "vision" in done.output
    assert "memory" in done.output


def test_show_marks_what_is_shared_and_frozen() -> None:
    done = run(app, ["show", TINY, "freeze=[vision, text.layers]"])
    assert done.exit_code == 0, done.output
    marks = {line.split()[0]: line for line in done.output.splitlines() if line.split()}
    assert marks["universal"].endswith("shared")
    assert marks["vision"].endswith(" frozen")
    assert "shared" not in marks["fusion"]


def test_show_marks_what_is_frozen_in_part() -> None:
    done = run(app, ["show", TINY, "freeze=[vision.stem]"])
    assert any(
        line.startswith("vision ") and line.endswith("frozen in part")
        for line in done.output.splitlines()
    )
