"""What each process of a launched evaluation of rows does (see test_launched_rows.py)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

import mplug2  # noqa: F401  (fills the registries)
from mplug2.eval.evaluation import evaluate
from mplug2.runtime import distributed
from registry.evaluations import EvaluationSpec

SIZE = 3


class Net(nn.Module):
    """Losses and logits of its input; counts its calls, which must be equally many on all ranks."""

    sharded = True
    calls = 0

    def forward(self, batch: dict[str, Any], goal: str) -> dict[str, Any]:
        self.calls += 1
        number = batch["number"].float()
        if goal == "losses":
            return {"loss_sum": number * 2, "num_tokens": number % 3 + 1}
        return {"label": torch.stack([number % 2, number % 5], dim=1)}


class Batch:
    def __init__(self, requests: list[tuple[int, bool]]) -> None:
        self.inputs = {"number": torch.tensor([number for number, _ in requests])}
        self.records: list[dict[str, Any]] = []
        for number, padding in requests:
            record = {
                "question_id": number,
                "question": "",
                "answers": [str(number % 2)],
                "type": "t",
            }
            self.records.append(record | ({"padding": True} if padding else {}))


class Loader:
    """``samples`` dealt to the ranks, padded to equally many, or (``uneven``) not padded at all."""

    def __init__(self, samples: int, rank: int, world: int, uneven: bool) -> None:
        padding = 0 if uneven else -samples % world
        requests = [(number, False) for number in range(samples)]
        requests += [(number, True) for number in range(padding)]
        local = requests[rank::world]
        self.batches = [
            local[start : start + SIZE] for start in range(0, len(local), SIZE)
        ]
        self.num_records = samples

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return (Batch(batch) for batch in self.batches)


def main(out: str) -> None:
    """Evaluate this rank's share of 21 samples, and of one sample, which leaves nothing to the other rank."""
    distributed.init_process_group(accelerator=False)
    rank, world = distributed.rank(), distributed.world_size()
    for samples in (21, 1):
        for uneven in (False, True):
            for goal, metric in (
                ("losses", "perplexity"),
                ("predict", "label_accuracy"),
            ):
                net = Net()
                settings = EvaluationSpec(
                    "", "data", "test", None, goal, None, (metric,)
                )
                path = Path(out) / f"{samples}_{uneven}_{goal}.jsonl"
                loader = Loader(samples, rank, world, uneven)
                found = evaluate(
                    net, loader, settings, decode=str, engine=net, predictions=path
                )
                assert found.samples == samples
                assert len(set(distributed.all_gather_object(net.calls))) == 1
                values = [
                    f"{name} {value:.6f}" for name, value in found.metrics.items()
                ]
                if rank == 0:
                    path.with_suffix(".txt").write_text("\n".join(values))


if __name__ == "__main__":
    main(*sys.argv[1:])
