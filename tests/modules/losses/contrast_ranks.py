"""What each process of a run on several ranks does: losses of its rows (see test_chunked_contrastive.py)."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from modules.losses.chunked_contrastive import ChunkedContrastive, SigmoidContrastive
from modules.losses.contrastive import Contrastive

BATCH, WIDTH = 12, 5
GROUPS = torch.tensor([0, 1, 2, 0, 4, 5, 6, 7, 2, 9, 10, 0])


def losses() -> dict[str, nn.Module]:
    """Return the losses between all pairs that are compared."""
    return {
        "plain": Contrastive(clamp="clip", learn="log_scale"),
        "chunked": ChunkedContrastive(clamp="clip", learn="log_scale", chunk=2),
        "sigmoid": SigmoidContrastive(chunk=2),
    }


def features(seed: int, count: int = BATCH, width: int = WIDTH) -> Tensor:
    """Return unit vectors that take gradients."""
    generator = torch.Generator().manual_seed(seed)
    vectors = F.normalize(
        torch.randn(count, width, generator=generator, dtype=torch.float64), dim=1
    )
    return vectors.float().requires_grad_()


def run(rank: int = 0, world: int = 1) -> dict[str, Tensor]:
    """Return all losses and gradients of the rows of one rank, averaged over ranks as in training."""
    results = {}
    for name, module in losses().items():
        for group in (None, GROUPS[rank::world]):
            # The features of the complete batch take the place of weights that all ranks have.
            vision, text = features(0), features(1)
            loss = module(vision[rank::world], text[rank::world], group)["loss"]
            module.zero_grad()
            loss.backward()
            values = {"loss": loss.detach(), "vision": vision.grad, "text": text.grad}
            values |= {
                key: parameter.grad for key, parameter in module.named_parameters()
            }
            for key, value in values.items():
                assert value is not None, key
                if world > 1:
                    dist.all_reduce(value)
                results[f"{name} {group is not None} {key}"] = value / world
    return results


def main(folder: str, rank: str, world: str) -> None:
    """Join the other processes by a file, and write the results of the first."""
    store = f"file://{folder}/store"
    limit = timedelta(seconds=60)
    dist.init_process_group(
        "gloo", store, rank=int(rank), world_size=int(world), timeout=limit
    )
    results = run(int(rank), int(world))
    if rank == "0":
        torch.save(results, Path(folder, "results.pt"))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
