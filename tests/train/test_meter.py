"""What the log holds of the machine, and the profile of some steps."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from train_fakes import run

from modules.streams import Text
from mplug2.data.batch import Batch
from mplug2.train import meter
from mplug2.train.iteration import Iteration, OptimizerStep, Part
from mplug2.train.logs import read_log
from mplug2.train.meter import Meter
from registry import check, parse_spec


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def step_of(rows: int, tokens: int) -> OptimizerStep:
    """A step of one micro-batch with a text of 8 columns in each row."""
    mask = torch.zeros(rows, 8, dtype=torch.bool)
    mask.view(-1)[:tokens] = True
    text = Text(torch.zeros(rows, 8, dtype=torch.long), mask)
    batch = Batch({"text": text, "label": torch.zeros(rows)}, [{}] * rows)
    return OptimizerStep([Part("train", "train", [batch], [{}])])


def test_rates_are_those_since_the_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock: Any = Clock()
    monkeypatch.setattr(meter, "time", clock)
    iteration: Any = SimpleNamespace(seconds_waited=5.0)
    measured = Meter(iteration, tmp_path, None)
    for number, (rows, tokens, seconds, waited) in enumerate(
        [(3, 10, 2.0, 0.5), (5, 14, 6.0, 1.5)], 1
    ):
        measured.begin(number)
        measured.count(step_of(rows, tokens))
        clock.now += seconds
        iteration.seconds_waited += waited
        assert measured.end(number) == seconds
        clock.now += 100.0  # an evaluation is not part of it
    values = measured.take()
    assert values.pop("machine/memory_gb") == pytest.approx(
        meter.peak_memory() / 1e9, rel=0.5
    )
    assert values == {
        "machine/samples_per_second": 1.0,
        "machine/tokens_per_second": 3.0,
        "machine/waiting": 0.25,
    }
    measured.begin(3)
    clock.now += 1.0
    measured.end(3)
    again = measured.take()
    assert (
        again["machine/samples_per_second"] == 0
        and again["machine/tokens_per_second"] is None
    )


def test_an_iteration_counts_what_it_waits_for_its_loader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mplug2.train import iteration as module

    clock: Any = Clock()
    monkeypatch.setattr(module, "time", clock)

    def slow() -> Any:
        while True:
            clock.now += 3.0
            yield Batch({}, [{}], final=False)
            clock.now += 1.0
            yield Batch({}, [{}], final=True)

    drawn: Any = Iteration.__new__(Iteration)
    drawn.loaders, drawn._batches, drawn.seconds_waited = {"train": slow()}, {}, 0.0
    assert len(drawn._next_micro_batches("train")) == 2
    assert drawn.seconds_waited == 4.0


def test_every_logged_step_has_them(tmp_path: Path) -> None:
    run(tmp_path, epochs=1)
    rows = [row for row in read_log(tmp_path / "log.jsonl") if "loss" in row]
    for row in rows:
        assert row["machine/samples_per_second"] > 0
        assert 0 <= row["machine/waiting"] <= 1
        assert row["machine/memory_gb"] > 0.01


@pytest.mark.parametrize(
    ("steps", "file"),
    [([2, 3], "steps_2_3"), ([4, 90], "steps_4_unfinished"), ([1, 1], "steps_1_1")],
)
def test_some_steps_are_profiled(steps: list[int], file: str, tmp_path: Path) -> None:
    run(tmp_path, epochs=1, profile=steps)
    names = sorted(path.name for path in (tmp_path / "profile").iterdir())
    assert names == [f"{file}.json", f"{file}.txt"]
    events = json.loads((tmp_path / "profile" / names[0]).read_text())["traceEvents"]
    assert any("backward" in str(event.get("name", "")).lower() for event in events)
    assert "Self CPU" in (tmp_path / "profile" / names[1]).read_text()


def test_no_step_is_profiled_by_default(tmp_path: Path) -> None:
    run(tmp_path, epochs=1)
    assert not (tmp_path / "profile").exists()


@pytest.mark.parametrize("value", ["[3, 2]", "[0, 2]", "[1]", "3"])
def test_a_wrong_profile_is_refused_with_its_position(value: str) -> None:
    problems = check(parse_spec(f"train:\n  profile: {value}\n", "my.yaml")).problems
    texts = [str(problem) for problem in problems if "train.profile" in str(problem)]
    assert texts and all(text.startswith("my.yaml:2:") for text in texts)
