"""How long training waits for a checkpoint: written at once, and in the background (`train.async_save`)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch

from mplug2.build.compose import compose
from mplug2.runtime.rng import seed_everything
from mplug2.train.background_saves import BackgroundSaves
from mplug2.train.checkpoint import save_checkpoint
from mplug2.train.engines.base import Engine
from mplug2.train.engines.torch import TorchEngine
from mplug2.train.optim import build_optimizer
from mplug2.train.run_state import RunState
from registry import read_spec


@dataclass
class Figures:
    """Seconds of each round: what training waits, and until the checkpoint is complete."""

    gigabytes: float = 0.0
    at_once: list[float] = field(default_factory=list)
    waiting: list[float] = field(default_factory=list)
    complete: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """The time that training waits, relative to a save at once: the median of all rounds."""
        pairs = zip(self.waiting, self.at_once, strict=True)
        return median(waiting / at_once for waiting, at_once in pairs)


def bench(
    spec: str,
    overrides: Sequence[str] = (),
    rounds: int = 5,
    on_progress: Callable[[str], object] = lambda text: None,
) -> Figures:
    """Save the network of a spec with AdamW's state, at once and in the background alternately.

    The weights are random and the files temporary. No step is taken meanwhile.
    """
    net, engine = _network(spec, overrides)
    figures, saves = Figures(), BackgroundSaves()
    with tempfile.TemporaryDirectory() as name, saves:
        folder = Path(name)
        for turn in range(rounds + 1):
            on_progress(f"round {turn} of {rounds}" if turn else "warm-up")
            state = RunState(step=turn)
            begin = time.perf_counter()
            path = save_checkpoint(folder, net, engine, state, {}, "", writer=True)
            at_once = time.perf_counter() - begin
            begin = time.perf_counter()
            save_checkpoint(
                folder, net, engine, state, {}, "", writer=True, background=saves
            )
            waiting = time.perf_counter() - begin
            saves.wait()
            # The first round reads code and takes memory from the system.
            if turn:
                figures.at_once.append(at_once)
                figures.waiting.append(waiting)
                figures.complete.append(time.perf_counter() - begin)
        sizes = [file.stat().st_size for file in path.rglob("*") if file.is_file()]
        figures.gigabytes = sum(sizes) / 1e9
    return figures


def lines(figures: Figures) -> list[tuple[str, str, str]]:
    """Return rows for a table: how it is saved, seconds that training waits, seconds until it is complete."""
    at_once = f"{median(figures.at_once):.3f}"
    waiting, complete = median(figures.waiting), median(figures.complete)
    return [
        ("at once", at_once, at_once),
        ("in the background", f"{waiting:.3f}", f"{complete:.3f}"),
    ]


def _network(spec: str, overrides: Sequence[str]) -> tuple[Any, Engine]:
    """Return a network with random weights, and an engine whose optimizer has taken a step."""
    seed_everything(0)
    net = compose(read_spec(spec, overrides), initial=False)
    settings = {**net.spec.train, "zero": 0, "precision": "fp32"}
    engine = TorchEngine(net, build_optimizer(net, settings), settings)
    for parameter in net.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.full_like(parameter, 1e-3)
    engine.optimizer.step()
    engine.optimizer.zero_grad(set_to_none=True)
    return net, engine
