"""Several runs of one spec that differ in their seed alone, and what finished runs measured."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mplug2.runtime.run_folder import run_folder
from mplug2.train.checkpoint_state import STATE
from mplug2.train.run_state import Result
from registry import UserError, read_spec

PREFIX = "seed_"  # of the folder of each seed's run
MAX_STATE = 1 << 20  # bytes of the state of a checkpoint


@dataclass(frozen=True)
class Spread:
    """One value over the runs of several seeds."""

    median: float
    least: float
    greatest: float
    num_runs: int


def train_seeds(
    spec: str | Path, overrides: Sequence[str], num_seeds: int, *, resume: bool = False
) -> list[Result]:
    """Train a spec with ``num_seeds`` seeds from `train.seed` on, one run after the other.

    Each run has the folder ``seed_N`` in the run folder of the spec. An interruption ends the
    series; with ``resume`` existing runs continue, and finished ones do nothing.
    """
    from mplug2.train.run import train

    if num_seeds < 1:
        raise UserError(
            f"--seeds must be at least 1 (got {num_seeds}). Leave it out for one run"
        )
    described = read_spec(spec, overrides)
    first, folder = described.train["seed"], run_folder(described)
    results = []
    for seed in range(first, first + num_seeds):
        settings = [
            f"train.seed={seed}",
            f"train.output_dir={folder / f'{PREFIX}{seed}'}",
        ]
        result = train(spec, [*overrides, *settings], resume=resume)
        results.append(result)
        # Ctrl-C is for the series, not for one seed.
        if result.interrupted:
            break
    return results


def runs_of(folder: Path) -> list[Path]:
    """Return the runs of all seeds in a run folder, or the folder itself if it holds one run."""
    seeds = [path for path in sorted(folder.glob(f"{PREFIX}*")) if path.is_dir()]
    return seeds or [folder]


def best_values(run: Path) -> dict[str, float]:
    """Return what the best checkpoint of a run measured in training, or the last one without validation.

    UserError if the folder holds no run.
    """
    checkpoint = run / "best" if (run / "best").exists() else run / "last"
    path = checkpoint / STATE
    try:
        with path.open("rb") as file:
            # Bounded: the folder may be any folder of the user's.
            state = json.loads(file.read(MAX_STATE))
        values = {str(name): float(value) for name, value in state["metrics"].items()}
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise UserError(
            f"{run}: must be the folder of a run with a checkpoint (got {type(error).__name__} for {path}). "
            "Give train.output_dir of a finished `mplug2 train`"
        ) from None
    return values


def spread_of_runs(folder: Path) -> dict[str, Spread]:
    """Return each value of the runs in a folder: the median over seeds, the least and the greatest."""
    values: dict[str, list[float]] = {}
    for run in runs_of(folder):
        for name, value in best_values(run).items():
            values.setdefault(name, []).append(value)
    spreads = {}
    for name, numbers in values.items():
        spreads[name] = Spread(
            statistics.median(numbers), min(numbers), max(numbers), len(numbers)
        )
    return spreads
