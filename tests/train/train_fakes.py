"""A small network and loader of the shape that the trainer expects, for tests without modules and data."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modules.distributed import any_rank_active, mean_over_ranks
from modules.streams import Sequences
from mplug2.train.logs import read_log
from mplug2.train.meter import PREFIX
from mplug2.train.run import fit
from mplug2.train.run_state import Result
from registry import Spec, parse_spec

CLASSES = 7


def spec(out: Path, **train: Any) -> Spec:
    """A spec that trains the fake for a few steps; keyword arguments are settings of ``train``."""
    settings = {
        "epochs": 2,
        "batch_size": 4,
        "warmup": 2,
        "lr": 0.01,
        "log_every": 1,
        "output_dir": str(out),
        **train,
    }
    lines = "\n".join(f"  {key}: {value}" for key, value in settings.items())
    return parse_spec(f"eval: {{metrics: [accuracy]}}\ntrain:\n{lines}\n", "fake.yaml")


def repeatable_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's log without what depends on the machine: an equal run has equal ones."""
    measured = ("seconds", PREFIX)
    rows = []
    for row in read_log(folder / "log.jsonl"):
        rows.append(
            {
                key: value
                for key, value in row.items()
                if key.split("/")[0] not in measured
            }
        )
    return rows


class FakeNet(nn.Module):
    """Classifies a vector; has dropout, tied and frozen weights, momentum copies and a generation loop."""

    def __init__(self, spec: Spec, dropout: float = 0.1) -> None:
        super().__init__()
        self.spec, self.types = spec, {}
        self.body = nn.Sequential(
            nn.Linear(5, 8), nn.LayerNorm(8), nn.Dropout(dropout), nn.Linear(8, 8)
        )
        self.head = nn.Linear(8, CLASSES)
        self.twin = nn.Linear(8, CLASSES)
        self.twin.weight = self.head.weight
        self.fixed = nn.Linear(5, 8).requires_grad_(False)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.ema = {"head.bias": self.head.bias.detach().clone()}
        self.counts: dict[str, Tensor] = {}

    def training_at(
        self, position: dict[str, float]
    ) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def forward(self, batch: dict[str, Tensor], goal: str = "train") -> dict[str, Any]:
        x = batch["x"].to(self.head.bias.dtype)
        hidden = self.body(x) + self.fixed(x)
        logits = (self.head(hidden) + self.twin(hidden)).float()
        if goal == "train":
            self.seen += 1
            loss = (
                nn.functional.cross_entropy(logits, batch["y"], reduction="none")
                * batch["w"]
            )
            teacher = self.ema["head.bias"].to(logits)
            loss = loss.sum() + (logits - teacher).pow(2).sum() * 1e-3
            return {
                "loss": loss
                / self.counts.get("loss", mean_over_ranks(batch["w"].sum()))
            }
        scores, ids = logits.sort(descending=True)
        # as long as this rank's largest id: under ZeRO stage 3 all ranks must call a layer equally often
        length, step = int(ids[:, 0].max()), 0
        while any_rank_active(step < length):
            self.head(hidden)
            step += 1
        return {"answer": Sequences(ids[:, :3, None], scores[:, :3])}

    def move(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.to(self.head.bias.device) for name, value in batch.items()}

    def count_losses(self, batch: dict[str, Tensor], goal: str) -> dict[str, Tensor]:
        return {"loss": batch["w"].sum()}

    @contextlib.contextmanager
    def loss_counts(self, counts: dict[str, Tensor]) -> Iterator[None]:
        self.counts = counts
        yield
        self.counts = {}

    def update_ema(self, master: Any = None) -> None:
        with torch.no_grad():
            self.ema["head.bias"].lerp_(master(self.head.bias), 0.1)

    def extra_state(self) -> dict[str, Any]:
        return {}

    def ema_state_dict(self) -> dict[str, Tensor]:
        return self.ema

    def load_ema_state_dict(self, state: dict[str, Tensor]) -> None:
        for key, value in self.ema.items():
            value.copy_(state[key])


@dataclass
class Batch:
    inputs: dict[str, Tensor]
    records: list[dict[str, Any]]
    final: bool = True


class FakeLoader:
    """``batches`` global batches of ``size`` samples, split over the ranks; learnable, others every epoch.

    ``accumulate`` of them are one optimizer step.
    """

    def __init__(
        self,
        batches: int = 5,
        size: int = 4,
        rank: int = 0,
        world: int = 1,
        seed: int = 0,
        accumulate: int = 1,
    ) -> None:
        self.batches, self.size, self.rank, self.world, self.seed = (
            batches,
            size,
            rank,
            world,
            seed,
        )
        self.accumulate = accumulate
        self.epoch = self.start = 0  # the position: batches done in an epoch
        self.bad: list[str] = []

    def __iter__(self) -> Iterator[Batch]:
        while True:
            for index in range(self.start, self.batches):
                batch = self.batch(index)
                batch.final = (
                    index + 1
                ) % self.accumulate == 0 or index + 1 == self.batches
                epoch, start = (
                    (self.epoch, index + 1)
                    if index + 1 < self.batches
                    else (self.epoch + 1, 0)
                )
                if batch.final:
                    self.epoch, self.start = epoch, start
                yield batch

    def state_dict(self) -> dict[str, int]:
        samples = self.size * self.world
        return {
            "epoch": self.epoch,
            "samples": self.start * samples,
            "samples_per_epoch": self.batches * samples,
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self.start = (
            state["epoch"],
            state["samples"] // (self.size * self.world),
        )

    def steps_per_epoch(self) -> int:
        return -(-self.batches // self.accumulate)

    def batch(self, index: int) -> Batch:
        draw = torch.Generator().manual_seed(
            self.seed * 10007 + self.epoch * 101 + index
        )
        x = torch.randn(self.size * self.world, 5, generator=draw)
        y = (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()
        w = torch.rand(self.size * self.world, generator=draw) + 0.5
        mine = slice(self.rank * self.size, (self.rank + 1) * self.size)
        numbers = range(
            index * self.size * self.world, (index + 1) * self.size * self.world
        )
        records = []
        for n, answer in zip(numbers, y, strict=True):
            answers = [str(int(answer))]
            records.append(
                {
                    "question_id": n,
                    "question": "what now",
                    "answers": answers,
                    "type": f"type {n % 2}",
                }
            )
        return Batch({"x": x[mine], "y": y[mine], "w": w[mine]}, records[mine])


class FakeEvalLoader(FakeLoader):
    """Goes over its batches once."""

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Batch]:
        return (self.batch(index) for index in range(self.batches))


def decode(ids: Any) -> str:
    """The class number as the answer."""
    return str(ids[0])


def run(
    out: Path, loader: Any = None, val: bool = True, resume: bool = False, **train: Any
) -> Result:
    torch.manual_seed(0)
    net = FakeNet(spec(out, **train))
    validation = {"": FakeEvalLoader(3, seed=9)} if val else None
    loader = loader or FakeLoader(accumulate=train.get("grad_accumulation_steps", 1))
    return fit(net, loader, validation, decode=decode, resume=resume)


class Interrupting(FakeLoader):
    """Sends SIGTERM to this process while the batch ``at`` of the first epoch is read."""

    at = 2

    def batch(self, index: int) -> Batch:
        if self.epoch == 0 and index == self.at:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().batch(index)
