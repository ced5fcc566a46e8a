"""What crashes, full disks and copying leave behind: mended, or told with the name of the file."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from train_fakes import FakeLoader, FakeNet, decode, run, spec

from mplug2.runtime.manifest import file_entry, verification
from mplug2.train import checkpoint
from mplug2.train.run import fit
from mplug2.train.run_state import Result
from mplug2.train.saved_steps import latest_checkpoint, steps_written
from mplug2.weights.momentum import load_momentum
from mplug2.weights.store import load_weights
from registry import UserError


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(folder, FakeLoader(2), epochs=1)
    return folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run", symlinks=True))


def resume(folder: Path, **train: Any) -> Result:
    return run(folder, FakeLoader(2), resume=True, **{"epochs": 2, **train})


def halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


STEP = "checkpoints/step_00000002"


def flip_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


WRITTEN = (
    "engine/rank_00000.pt",
    "momentum.safetensors",
    "rng/rank_00000.pt",
    "spec.yaml",
    "state.json",
)


@pytest.mark.parametrize("name", [*WRITTEN, "weights.safetensors"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            flip_byte,
            r"damaged \(its SHA-256 is not that of manifest.json\). Delete .*step_00000002 to",
        ),
        (halve, r"damaged \(got \d+ bytes, manifest.json lists \d+\). Delete"),
    ],
)
def test_a_damaged_file_is_named(
    copy: Path, name: str, damage: Callable[[Path], object], message: str
) -> None:
    damage(copy / STEP / name)
    with pytest.raises(UserError, match=f"{STEP}/{name}: the file is {message}"):
        resume(copy)


@pytest.mark.parametrize(
    "name", ["weights.safetensors", "rng/rank_00000.pt", "spec.yaml"]
)
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / STEP / name).unlink()
    with pytest.raises(
        UserError,
        match=f"{STEP}/{name}: the file is missing, but manifest.json lists it",
    ):
        resume(copy)


def test_the_manifest_lists_every_file(copy: Path) -> None:
    manifest = json.loads((copy / STEP / "manifest.json").read_text())
    assert sorted(manifest["files"]) == sorted([*WRITTEN, "weights.safetensors"])
    assert manifest["version"] == 1
    assert manifest["written_by"]["world_size"] == 1
    for name, entry in manifest["files"].items():
        content = (copy / STEP / name).read_bytes()
        assert entry == {
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "manifest.json: the file is missing. Copy it there"),
        ("{", "manifest.json: the file is damaged"),
        (
            '{"version": 2, "files": {}}',
            r"must have version 1 or lower \(got 2\). A newer version of mplug2",
        ),
    ],
)
def test_a_manifest_that_cannot_be_read_is_named(
    copy: Path, text: str | None, message: str
) -> None:
    manifest = copy / STEP / "manifest.json"
    if text is None:
        manifest.unlink()
    else:
        manifest.write_text(text)
    with pytest.raises(UserError, match=message):
        resume(copy)


def test_unknown_entries_of_a_manifest_are_ignored(copy: Path) -> None:
    file = copy / STEP / "manifest.json"
    file.write_text(
        json.dumps({**json.loads(file.read_text()), "comment": "added later"})
    )
    assert resume(copy).steps == 4


@pytest.mark.parametrize("manifest_first", [False, True])
def test_a_crash_while_the_state_is_replaced_loses_nothing(
    copy: Path, manifest_first: bool
) -> None:
    state, manifest = copy / STEP / "state.json", copy / STEP / "manifest.json"
    fresh = state.with_name("state.json.new")
    fresh.write_text(state.read_text().replace('"skipped": 0', '"skipped": 1'))
    if manifest_first:
        listed = json.loads(manifest.read_text())
        listed["files"]["state.json"] = file_entry(fresh)
        manifest.write_text(json.dumps(listed))
    latest_checkpoint(copy / "checkpoints", writer=True)
    assert json.loads(state.read_text())["skipped"] == int(manifest_first)
    assert not fresh.exists()
    assert resume(copy).steps == 4


def test_weights_of_a_damaged_checkpoint_are_not_loaded(copy: Path) -> None:
    flip_byte(copy / STEP / "weights.safetensors")
    with pytest.raises(UserError, match=r"weights.safetensors: the file is damaged"):
        load_weights(FakeNet(spec(copy)), copy / STEP)


def test_momentum_copies_of_a_damaged_checkpoint_are_not_loaded(copy: Path) -> None:
    flip_byte(copy / STEP / "momentum.safetensors")
    with pytest.raises(UserError, match=r"momentum.safetensors: the file is damaged"):
        load_momentum(FakeNet(spec(copy)), copy / STEP)


def test_without_verification_changed_files_are_read(copy: Path) -> None:
    flip_byte(copy / STEP / "weights.safetensors")
    with verification(False):
        load_weights(FakeNet(spec(copy)), copy / STEP)
        assert resume(copy).steps == 4
    with pytest.raises(UserError, match="is damaged"):
        load_weights(FakeNet(spec(copy)), copy / STEP)


def as_format_1(folder: Path) -> None:
    """Write a checkpoint as it was before manifests: random numbers in the file of the optimizer."""
    (folder / "manifest.json").unlink()
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps({**state, "format": 1}))
    file = folder / "engine/rank_00000.pt"
    optimizer = torch.load(file)["optimizer"]
    groups = [{} for _ in optimizer["counters"]]
    rng = torch.load(folder / "rng/rank_00000.pt")["rng"]
    torch.save(
        {
            "optimizer": {"state": optimizer["state"], "param_groups": groups},
            "rng": rng,
        },
        file,
    )
    shutil.rmtree(folder / "rng")


def test_a_checkpoint_of_format_1_resumes_alike(copy: Path, tmp_path: Path) -> None:
    newer = Path(shutil.copytree(copy, tmp_path / "newer", symlinks=True))
    as_format_1(copy / STEP)
    first, second = resume(copy), resume(newer)
    weights = load_file(second.last / "weights.safetensors")
    for name, value in load_file(first.last / "weights.safetensors").items():
        assert torch.equal(value, weights[name]), name


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("state.json", halve, "state.json must be what mplug2 wrote, but is damaged: delete"),
        ("state.json", lambda file: file.write_text("{}"), "state.json must be what mplug2 wrote"),
        ("state.json", lambda file: file.write_text("[]"), "state.json must be what mplug2 wrote"),
        ("engine/rank_00000.pt", halve, r"rank_00000.pt must be what mplug2 wrote, but is damaged \(\w+\)"),
        ("engine/rank_00000.pt", lambda file: torch.save([1], file), "rank_00000.pt must be what mplug2"),
        ("engine/rank_00000.pt", Path.unlink, "rank_00000.pt is missing: start the ranks on the machines"),
        ("momentum.safetensors", Path.unlink, "momentum.safetensors is missing, and the checkpoint was writ"),
        ("weights.safetensors", halve, r"weights.safetensors: the file is cut off \(got \d+ of \d+ bytes\)"),
        ("../../log.jsonl", lambda file: file.write_text("[1]\n"), "log.jsonl:1: must be a row of numbers"),
        ("../../log.jsonl", lambda file: file.write_text("{x\n{}\n"), "log.jsonl:1: must be a row of"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_named_without_a_manifest(
    copy: Path, name: str, damage: Callable[[Path], object], message: str
) -> None:
    as_format_1(copy / STEP)
    damage(copy / STEP / name)
    with pytest.raises(UserError, match=message):
        resume(copy)


def test_copies_beside_the_checkpoints_are_left_alone(copy: Path) -> None:
    for name in ("step_00000002_good", "step_best"):
        shutil.copytree(copy / STEP, copy / "checkpoints" / name)
    assert resume(copy).steps == 4
    assert (copy / "checkpoints" / "step_00000002_good" / "state.json").is_file()


@pytest.mark.parametrize("name", ["last", "best"])
def test_a_folder_in_the_place_of_a_link_is_told_before_the_training(
    copy: Path, name: str
) -> None:
    (copy / name).unlink(missing_ok=True)
    shutil.copytree(copy / STEP, copy / name)
    with pytest.raises(UserError, match=rf"run/{name} must be a link to a checkpoint"):
        resume(copy)
    assert steps_written(copy / "checkpoints") == [2]


def test_what_a_crash_left_is_swept_and_a_crash_between_two_names_is_finished(
    copy: Path,
) -> None:
    step = copy / STEP
    step.rename(step.with_suffix(".old"))
    shutil.copytree(step.with_suffix(".old"), step.with_suffix(".tmp"))
    for name in ("step_00000001.old", "step_00000009.tmp"):
        (copy / "checkpoints" / name).mkdir()
    assert resume(copy).steps == 4
    assert sorted(path.name for path in (copy / "checkpoints").iterdir()) == [
        "step_00000002",
        "step_00000004",
    ]


@pytest.mark.parametrize("failing", ["write_safetensors", "torch.save"])
def test_a_full_disk_is_told_and_leaves_nothing_half_written(
    copy: Path, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        if failing == "torch.save":
            raise RuntimeError(
                "[enforce fail at inline_container.cc] . PytorchStreamWriter failed writing"
            )
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(
            *((torch, "save") if failing == "torch.save" else (checkpoint, failing)),
            full,
        )
        with pytest.raises(
            UserError,
            match=r"step 4 cannot be written into .*checkpoints \(\d+\.\d+ GB fr",
        ):
            resume(copy)
    assert [path.name for path in (copy / "checkpoints").iterdir()] == ["step_00000002"]
    assert resume(copy).steps == 4


def test_a_teacher_that_is_new_begins_as_the_weights(
    copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    as_format_1(copy / STEP)
    (copy / STEP / "momentum.safetensors").unlink()
    state = json.loads((copy / STEP / "state.json").read_text())
    (copy / STEP / "state.json").write_text(json.dumps({**state, "momentum": False}))
    weights = load_file(copy / STEP / "weights.safetensors")
    net = FakeNet(spec(copy, epochs=1))
    fit(net, FakeLoader(2), decode=decode, resume=True)
    assert torch.equal(net.ema["head.bias"], weights["head.bias"])
    assert "has no momentum copies: they begin as its weights" in caplog.text


def test_a_teacher_of_other_streams_is_told(copy: Path) -> None:
    as_format_1(copy / STEP)
    save_file({"body.0.bias": torch.zeros(8)}, copy / STEP / "momentum.safetensors")
    with pytest.raises(
        UserError, match=r"1 are missing or of another shape, such as head.bias: `ema"
    ):
        resume(copy)


def test_a_run_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("")
    with pytest.raises(
        UserError,
        match=r"train.output_dir must be a folder that can be written to, but .*README.md",
    ):
        run(tmp_path / "README.md")
