"""Where a resumed run goes on: with more or fewer data than before, and after what a stop left undone."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from quick import mostly_slow
from safetensors.torch import save_file
from train_fakes import Batch, FakeLoader, repeatable_rows, run

import mplug2
from mplug2.data.shapes.write import make_shapes
from mplug2.train import messages, trainer
from mplug2.train.logs import read_log
from mplug2.train.run import train
from mplug2.train.saved_steps import steps_written
from registry import SpecError, read_spec


def epochs(folder: Path) -> list[int]:
    """The epoch of every step."""
    return [row["epoch"] for row in read_log(folder / "log.jsonl") if "loss" in row]


@pytest.mark.parametrize(("before", "after"), mostly_slow([(5, 3), (3, 5)], [(5, 3)]))
def test_after_a_whole_epoch_the_next_ones_may_be_of_another_length(
    tmp_path: Path, before: int, after: int, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, FakeLoader(before), epochs=1)
    result = run(tmp_path, FakeLoader(after), resume=True, epochs=3)
    assert result.steps == before + 2 * after
    assert epochs(tmp_path) == [0] * before + [1] * after + [2] * after
    assert steps_written(tmp_path / "checkpoints")[-1] == result.steps
    warning = f"an epoch has {4 * after} samples, and had {4 * before}"
    assert warning in capsys.readouterr().out


def test_annotations_that_changed_between_two_epochs_are_named() -> None:
    before = {
        "a": {
            "epoch": 1,
            "samples": 0,
            "samples_per_epoch": 8,
            "fingerprint": 3,
            "content": 5,
        }
    }
    loaders = {"a": SimpleNamespace(source=SimpleNamespace(location="lines.jsonl"))}
    assert messages.changed_data(before, before, loaders) == []
    after = {"a": before["a"] | {"content": 6}}
    assert messages.changed_data(before, after, loaders) == [
        "WARNING: batch 'a': lines.jsonl has changed since the checkpoint was written"
    ]
    older = {
        "a": {"epoch": 1, "samples": 0, "samples_per_epoch": 8}
    }  # of a version that stored less
    assert messages.changed_data(older, after, loaders) == []


def test_the_length_that_is_now_is_the_one_of_the_next_resumption(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, FakeLoader(5), epochs=1)
    run(tmp_path, FakeLoader(3), resume=True, epochs=2)
    capsys.readouterr()
    assert run(tmp_path, FakeLoader(3), resume=True, epochs=3).steps == 11
    assert "an epoch has" not in capsys.readouterr().out


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("the metric fell over")


# the last epoch, and one before it
@pytest.mark.parametrize("epochs", mostly_slow([1, 2], [1]))
def test_an_error_in_the_evaluation_loses_no_epoch(
    tmp_path: Path, epochs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(tmp_path / "whole", epochs=epochs)
    with monkeypatch.context() as patched:
        patched.setattr(trainer, "evaluate_all", broken)
        with pytest.raises(RuntimeError, match="fell over"):
            run(tmp_path / "part", epochs=epochs)
    assert steps_written(tmp_path / "part/checkpoints") == [5]
    rest = run(tmp_path / "part", resume=True, epochs=epochs)
    assert (rest.steps, rest.metrics) == (whole.steps, whole.metrics)
    assert rest.best is not None and whole.best is not None
    assert rest.best.name == whole.best.name
    assert (tmp_path / "part/best").resolve() == rest.best.resolve()
    assert repeatable_rows(tmp_path / "whole") == repeatable_rows(tmp_path / "part")
    # what was found is in the checkpoint: it is not evaluated again
    monkeypatch.setattr(trainer, "evaluate_all", broken)
    assert run(tmp_path / "part", resume=True, epochs=epochs).metrics == whole.metrics


class LastMoment(FakeLoader):
    """Sends SIGTERM while the very last batch of the run is read."""

    def batch(self, index: int) -> Batch:
        if self.epoch == 1 and index == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().batch(index)


def test_a_stop_in_the_last_step_leaves_its_evaluation_to_the_resumed_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = run(tmp_path, LastMoment())
    assert (part.interrupted, part.steps) == (True, 10)
    said = capsys.readouterr().out
    assert "stopped after step 10 of 10, before its evaluation" in said
    assert "--resume" in said
    rest = run(tmp_path, resume=True)
    assert (rest.interrupted, rest.steps) == (False, 10)
    assert rest.metrics.keys() == {"accuracy"}
    assert [
        row["step"] for row in read_log(tmp_path / "log.jsonl") if "val/accuracy" in row
    ] == [5, 10]


def test_a_better_network_between_two_saved_ones_is_saved(tmp_path: Path) -> None:
    result = run(tmp_path, epochs=5, save_every=5, keep_last=1)
    assert result.best is not None
    assert set(steps_written(tmp_path / "checkpoints")) == {
        int(result.best.name.removeprefix("step_")),
        25,
    }


def test_a_resumed_run_does_not_read_its_first_weights_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world, first = tmp_path / "shapes", tmp_path / "first.safetensors"
    make_shapes(world, train=6, val=2, test=1, workers=1)
    settings = [
        *(
            f"data.{split}.path={world / f'captions_{split}.jsonl'}"
            for split in ("train", "val")
        ),
        *(f"data.media={world / 'videos'}", f"data.tokenizer={world / 'vocab.txt'}"),
        *(
            f"train.output_dir={tmp_path / 'run'}",
            "modules.judge.workers=0",
            f"init={{'*': 'checkpoint:{first}'}}",
        ),
    ]
    spec = Path(__file__).parents[1] / "objectives" / "scst.yaml"
    save_file(mplug2.compose(read_spec(spec)).state_dict(), first)
    train(spec, [*settings, "train.max_steps=1"])
    first.unlink()
    with pytest.raises(SpecError, match="init must name what exists"):
        train(spec, [*settings, f"train.output_dir={tmp_path / 'other'}"])
    assert train(spec, [*settings, "train.max_steps=2"], resume=True).steps == 2
    assert "resumed after step 1; `init` is not read again" in capsys.readouterr().out
