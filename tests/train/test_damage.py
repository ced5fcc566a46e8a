"""What crashes, full disks and copying leave behind: mended, or told with the name of the file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from train_fakes import FakeLoader, FakeNet, decode, run, spec

from mplug2.train import checkpoint, trainer
from mplug2.train.checkpoint import steps_written
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


def resume(folder: Path, **train: Any) -> trainer.Result:
    return run(folder, FakeLoader(2), resume=True, **{"epochs": 2, **train})


def halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


STEP = "checkpoints/step_00000002"


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("state.json", halve, "state.json must be what mplug2 wrote, but is damaged: delete"),
        ("state.json", lambda file: file.write_text("{}"), "state.json must be what mplug2 wrote"),
        ("state.json", lambda file: file.write_text("[]"), "state.json must be what mplug2 wrote"),
        ("engine/rank_00000.pt", halve, r"rank_00000.pt must be what mplug2 wrote, but is damaged \(\w+\)"),
        ("engine/rank_00000.pt", lambda file: torch.save([1], file), "rank_00000.pt must be what mplug2"),
        ("momentum.safetensors", Path.unlink, "momentum.safetensors is missing, and the checkpoint was writ"),
        ("weights.safetensors", halve, "weights.safetensors must be a safetensors file, but is not"),
        ("../../log.jsonl", lambda file: file.write_text("[1]\n"), "log.jsonl:1: must be a row of numbers"),
        ("../../log.jsonl", lambda file: file.write_text("{x\n{}\n"), "log.jsonl:1: must be a row of"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_named(
    copy: Path, name: str, damage: Callable[[Path], object], message: str
) -> None:
    damage(copy / STEP / name)
    with pytest.raises(UserError, match=message):
        resume(copy)


def test_copies_beside_the_checkpoints_are_left_alone(copy: Path) -> None:
    for name in ("step_00000002_good", "step_best"):
        shutil.copytree(copy / STEP, copy / "checkpoints" / name)
    assert resume(copy).steps == 4
    assert (copy / "checkpoints" / "step_00000002_good" / "state.json").is_file()


@pytest.mark.parametrize("name", ["last", "best"])
def test_a_folder_in_the_place_of_a_link_is_told_before_the_training(copy: Path, name: str) -> None:
    (copy / name).unlink(missing_ok=True)
    shutil.copytree(copy / STEP, copy / name)
    with pytest.raises(UserError, match=rf"run/{name} must be a link to a checkpoint"):
        resume(copy)
    assert steps_written(copy / "checkpoints") == [2]


def test_what_a_crash_left_is_swept_and_a_crash_between_two_names_is_finished(copy: Path) -> None:
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
            raise RuntimeError("[enforce fail at inline_container.cc] . PytorchStreamWriter failed writing")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(*((torch, "save") if failing == "torch.save" else (checkpoint, failing)), full)
        with pytest.raises(UserError, match=r"step 4 cannot be written into .*checkpoints \(\d+\.\d+ GB fr"):
            resume(copy)
    assert [path.name for path in (copy / "checkpoints").iterdir()] == ["step_00000002"]
    assert resume(copy).steps == 4


def test_a_teacher_that_is_new_begins_as_the_weights(copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    (copy / STEP / "momentum.safetensors").unlink()
    state = json.loads((copy / STEP / "state.json").read_text())
    (copy / STEP / "state.json").write_text(json.dumps({**state, "momentum": False}))
    weights = load_file(copy / STEP / "weights.safetensors")
    net = FakeNet(spec(copy, epochs=1))
    trainer.fit(net, FakeLoader(2), decode=decode, resume=True)
    assert torch.equal(net.ema["head.bias"], weights["head.bias"])
    assert "has no momentum copies: they begin as its weights" in caplog.text


def test_a_teacher_of_other_streams_is_told(copy: Path) -> None:
    save_file({"body.0.bias": torch.zeros(8)}, copy / STEP / "momentum.safetensors")
    with pytest.raises(UserError, match=r"1 are missing or of another shape, such as head.bias: `ema"):
        resume(copy)


def test_a_run_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("")
    with pytest.raises(
        UserError, match=r"train.out must be a folder that can be written to, but .*README.md"
    ):
        run(tmp_path / "README.md")
