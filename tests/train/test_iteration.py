"""Which batches an iteration draws, what its steps reuse, and that a run of several steps resumes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import small_runs
import torch
from small_runs import (
    ListLoader,
    TensorTask,
    class_samples,
    iteration,
    pair_samples,
    same_weights,
    small_net,
    small_spec,
)

from mplug2.train.engines.base import start_engine
from mplug2.train.gradients import accumulate_gradients
from mplug2.train.logs import read_log
from mplug2.train.optim import build_optimizer
from mplug2.train.run import fit
from mplug2.train.run_state import RunState, is_due
from mplug2.train.trainer import Trainer
from registry import TASKS, Spec, check
from registry.training import Length

DATA = """
data:
  task: tensors
  sources: {a: {train: {path: unread}}, b: {train: {path: unread}}}
  batches:
    classes: {source: a, batch_size: 8}
    pairs:   {source: b, batch_size: 6}
"""
# A later step trains the contrast again on the samples of the first, from features that are handed in.
CACHED = "[{batch: pairs, cache_gradients: [vision_features, text_features]}]"
REUSE = "[pairs, classes, {batch: pairs, goal: pairs, reuse: [vision_features]}]"


@pytest.fixture(autouse=True)
def tensor_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the task of the small network for one test."""
    monkeypatch.setattr(TASKS, "_entries", dict(TASKS._entries))
    TASKS.register("tensors")(TensorTask)


def loaders(micro_batch: int = 8) -> dict[str, Any]:
    return {
        "classes": ListLoader(class_samples(), 8, micro_batch, "classes"),
        "pairs": ListLoader(pair_samples(), 6, micro_batch, "pairs"),
    }


def spec_of(iterations: str, out: Path | str = "runs", **train: Any) -> Spec:
    return small_spec(DATA, iteration=iterations, output_dir=str(out), **train)


def batches_drawn(spec: Spec, count: int, state: RunState | None = None) -> list[str]:
    steps = iteration(spec, loaders())
    state = state or RunState()
    drawn = []
    for _ in range(count):
        for step in steps.steps(state):
            drawn += [part.batch for part in step.parts]
        state.step += 1
    return drawn


def test_batches_are_drawn_by_weight_and_by_iteration() -> None:
    spec = spec_of("[draw: {classes: 3, pairs: 1}]")
    drawn = batches_drawn(spec, 1000)
    # 3 standard deviations of 1,000 draws with probability 0.75
    assert abs(Counter(drawn)["classes"] - 750) < 3 * (1000 * 0.75 * 0.25) ** 0.5
    assert batches_drawn(spec, 300, RunState(step=700)) == drawn[700:]


def test_all_adds_the_gradients_of_several_batches() -> None:
    spec = spec_of("[all: [classes, pairs]]")
    net = small_net(spec)
    (step,) = iteration(spec, loaders()).steps(RunState())
    accumulate_gradients(
        start_engine(net, build_optimizer(net, spec.train), spec.train), net, step
    )

    expected = small_net(spec)
    for goal in ("classes", "pairs"):
        expected(next(iter(loaders()[goal])).inputs, goal)["loss"].backward()
    pairs = zip(net.named_parameters(), expected.named_parameters(), strict=True)
    for (name, parameter), (_, other) in pairs:
        assert parameter.grad is not None and other.grad is not None, name
        torch.testing.assert_close(parameter.grad, other.grad)


def test_a_batch_named_again_has_the_same_samples_and_reuses_streams() -> None:
    steps = iteration(spec_of(REUSE), loaders(2))
    net = small_net(spec_of(REUSE))
    parts = []
    for step in steps.steps(RunState()):
        (part,) = step.parts
        for index in range(len(part.micro_batches)):
            part.store(index, net(part.inputs(index), part.goal))
        parts.append(part)
    first, _, again = parts
    assert [part.batch for part in parts] == ["pairs", "classes", "pairs"]
    assert again.micro_batches is first.micro_batches
    assert len(first.micro_batches) == 3
    assert "vision_features" in again.inputs(
        1
    ) and "vision_features" not in first.inputs(1)
    handed_in = again.inputs(1)["vision_features"]
    assert not handed_in.requires_grad
    torch.testing.assert_close(
        handed_in, net(first.inputs(1), "pairs")["vision_features"].detach()
    )


@pytest.mark.parametrize("steps", [REUSE, CACHED], ids=["reuse", "cache"])
def test_calls_of_definitions_train_as_the_lines_by_hand(
    steps: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_hand = fit(
        small_net(spec_of(steps, tmp_path / "by_hand", max_steps=3)), loaders(3)
    )
    monkeypatch.setattr(small_runs, "SPEC", small_runs.SPEC_OF_CALLS)
    # The features of a call are streams of the call.
    steps = steps.replace(
        "[vision_features, text_features]",
        "[paired.vision_features, paired.text_features]",
    )
    called = fit(
        small_net(spec_of(steps, tmp_path / "called", max_steps=3, log_every=1)),
        loaders(3),
    )
    same_weights(by_hand.last, called.last)
    log = (tmp_path / "called" / "log.jsonl").read_text()
    assert "alignment" in log  # All scalars that the call returns are logged.


def test_a_field_of_a_stream_cannot_be_reused() -> None:
    (problem,) = check(spec_of("[pairs, {batch: pairs, reuse: [loss]}]")).problems
    assert problem.message == "output 'loss' is a field of the stream 'contrast'"
    assert (
        problem.hint
        == "a step reuses complete streams: take the field in a separate line"
    )


def test_the_log_tells_goals_of_one_batch_apart(tmp_path: Path) -> None:
    steps = "[classes, pairs, {batch: pairs, goal: features}]"
    spec = spec_of(steps, tmp_path / "run", max_steps=1)
    spec = replace(spec, goals={**spec.goals, "features": spec.goals["pairs"]})
    fit(small_net(spec), loaders())
    (row,) = read_log(tmp_path / "run" / "log.jsonl")
    losses = [key for key in row if key.startswith("loss")]
    assert losses == ["loss/classes", "loss/pairs", "loss/pairs/features"]
    # The second step trains what the first has trained.
    assert row["loss/pairs/features"] < row["loss/pairs"]


def test_a_step_ends_with_its_length() -> None:
    spec = spec_of("[classes, {batch: pairs, until: {epochs: 2}}]")
    # `classes` has 3 steps an epoch: after 6 iterations its second epoch is over.
    steps = iteration(spec, loaders())
    state = RunState()
    drawn = []
    for _ in range(8):
        for step in steps.steps(state):
            drawn += [part.batch for part in step.parts]
        state.step += 1
        state.loaders = steps.positions()
    assert Counter(drawn) == {"classes": 8, "pairs": 6}


@pytest.mark.parametrize(
    "steps", ["[draw: {classes: 1, pairs: 2}]", REUSE], ids=["draw", "three steps"]
)
def test_a_run_that_was_stopped_resumes_bit_equal(tmp_path: Path, steps: str) -> None:
    whole = fit(small_net(spec_of(steps, tmp_path / "whole", max_steps=9)), loaders(3))
    fit(small_net(spec_of(steps, tmp_path / "part", max_steps=4)), loaders(3))
    rest = fit(
        small_net(spec_of(steps, tmp_path / "part", max_steps=9)),
        loaders(3),
        resume=True,
    )
    assert rest.steps == whole.steps == 9
    same_weights(whole.last, rest.last)


def test_ranks_and_batch_sizes_may_change_on_resume(tmp_path: Path) -> None:
    """The position counts samples: the rest of the epoch is read in steps of another size."""
    spec = spec_of("[classes]", tmp_path, max_steps=1)
    fit(small_net(spec), loaders())
    other = loaders()
    other["classes"] = ListLoader(class_samples(), 4, 2, "classes")
    trainer = Trainer(
        small_net(spec_of("[classes]", tmp_path, epochs=1)), other, {}, str, resume=True
    )
    assert trainer.state.loaders["classes"] == {
        "epoch": 0,
        "samples": 8,
        "samples_per_epoch": 24,
    }
    assert trainer.total == 1 + 4
    assert trainer.run().steps == 5


@pytest.mark.parametrize(
    ("every", "before", "after", "due"),
    [
        (Length("steps", 5), 4, 5, True),
        (Length("steps", 5), 5, 6, False),
        (Length("samples", 16), 1, 2, True),
        (Length("samples", 16), 2, 3, False),
        (Length("epochs", 1), 2, 3, True),
        (Length("epochs", 1), 1, 2, False),
        (Length("epochs", 0.5), 1, 2, True),
    ],
)
def test_what_happens_every_so_often(
    every: Length, before: int, after: int, due: bool
) -> None:
    def state(step: int) -> RunState:
        epoch, rest = divmod(step, 3)  # 3 steps of 8 samples an epoch
        position = {"epoch": epoch, "samples": 8 * rest, "samples_per_epoch": 24}
        return RunState(step=step, loaders={"classes": position})

    assert is_due(every, state(before), state(after), "classes") is due


def test_a_state_of_format_1_is_read() -> None:
    """It counted batches of a rank, and had one loader."""
    agree = {"batch": 4, "processes": 2, "accumulate": 1}
    state = {
        "step": 7,
        "epoch": 1,
        "batches": 2,
        "due": True,
        "best": 0.5,
        "best_step": 5,
        "agree": agree,
    }
    read = RunState.from_dict(state)
    assert read.loaders == {"train": {"epoch": 1, "samples": 16}}
    assert (read.step, read.eval_pending, read.best, read.best_step) == (
        7,
        True,
        0.5,
        5,
    )
