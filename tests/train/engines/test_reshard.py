"""The state of an optimizer written at one ZeRO stage goes on at another one, element by element."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from engine_runs import Case, accumulate, make_engine

from mplug2.train.engines.reshard import Target, resharded_state
from registry import UserError


def write(
    folder: Path, rank: int, rows: list[tuple[str, int, int]], values: Any
) -> None:
    """Write the file of a rank that holds ``rows`` (name, start, count) of parameters."""
    layout = [{"name": name, "start": start, "numel": n} for name, start, n in rows]
    states = {}
    for index, value in values.items():
        states[index] = {"exp_avg": torch.tensor(value), "step": torch.tensor(7.0)}
    optimizer = {"class": "AdamW", "state": states, "counters": [{}, {"k": rank}]}
    payload = {"version": 2, "layout": layout, "optimizer": optimizer}
    torch.save(payload, folder / f"rank_{rank:05d}.pt")


SIZES = {"a": 4, "b": 3, "unreached": 2}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """State of two ranks: `a` and `b` are split, and no step has reached the last parameter."""
    rows = [("a", 0, 3), ("b", 0, 1), ("unreached", 0, 2)]
    write(tmp_path, 0, rows, {0: [1.0, 2.0, 3.0], 1: [5.0]})
    write(tmp_path, 1, [("a", 3, 1), ("b", 1, 2)], {0: [4.0], 1: [6.0, 7.0]})
    return tmp_path


def test_parts_are_joined_and_cut_by_name(folder: Path) -> None:
    targets = [
        Target("b", 0, torch.Size([3])),
        Target("unreached", 0, torch.Size([2])),
        Target("a", 0, torch.Size([2, 2])),
        Target("a", 1, torch.Size([2])),
    ]
    saved = resharded_state(folder, targets, SIZES, ())["optimizer"]
    averages = {index: state["exp_avg"] for index, state in saved["state"].items()}
    assert averages[0].tolist() == [5, 6, 7]
    assert averages[2].tolist() == [[1, 2], [3, 4]]
    assert averages[3].tolist() == [2, 3]
    # A parameter without state has none again, and counts of groups are those of a rank that counted.
    assert saved["state"].keys() == {0, 2, 3}
    assert saved["state"][3]["step"] == 7
    assert saved["counters"] == [{}, {"k": 1}]


def test_a_missing_part_is_named(folder: Path) -> None:
    (folder / "rank_00001.pt").unlink()
    with pytest.raises(
        UserError, match=r"state of a is incomplete .*files of all ranks"
    ):
        resharded_state(folder, [Target("a", 0, torch.Size([4]))], SIZES, ())


def test_factored_averages_are_refused(tmp_path: Path) -> None:
    write(tmp_path, 0, [("a", 0, 4)], {0: [1.0, 2.0]})
    with pytest.raises(
        UserError, match="2 elements for 4 weights, and cannot be sharded"
    ):
        resharded_state(tmp_path, [Target("a", 0, torch.Size([4]))], SIZES, ())


@pytest.mark.parametrize(("written", "read"), [(2, 0), (0, 3), (3, 1)])
def test_another_stage_takes_the_same_steps(
    written: int, read: int, tmp_path: Path
) -> None:
    net, engine = make_engine(Case("deepspeed", written))
    for step, goals in enumerate([("left", "right"), ("left",)]):
        accumulate(engine, step, goals, 8)
        engine.step(0.5)
    engine.save(tmp_path)
    weights = {
        name: engine.consolidate(name).clone() for name, _ in net.named_parameters()
    }
    _, resumed = make_engine(Case("deepspeed", read), weights=weights)
    resumed.load(tmp_path)
    for step in (2, 3):
        for running in (engine, resumed):
            accumulate(running, step, ("left", "right"), 8)
            running.step(0.5)
    for key in weights:
        torch.testing.assert_close(
            engine.consolidate(key), resumed.consolidate(key), rtol=1e-6, atol=1e-7
        )
