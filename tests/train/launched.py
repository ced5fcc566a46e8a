"""What each process of a launched run does: train the small network on its share (see test_launched.py)."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from train_fakes import FakeEvalLoader, FakeLoader, FakeNet, decode, spec

from mplug2.train.run import fit


def main(out: str, size: str, resume: str, settings: str) -> None:
    """Train with ``size`` samples a process."""
    rank, world = (
        int(os.environ.get("RANK", "0")),
        int(os.environ.get("WORLD_SIZE", "1")),
    )
    torch.manual_seed(0)
    net = FakeNet(spec(Path(out), batch_size=size, **json.loads(settings)), dropout=0.0)
    # rank 1 has nothing to evaluate in the first round, and a shorter generation loop: lockstep must hold
    val = {"": FakeEvalLoader(2 - 2 * rank, 3, seed=9)}
    loader = FakeLoader(4, int(size), rank, world)
    result = fit(net, loader, val, decode=decode, resume=resume == "resume")
    if rank == 0:
        print("RESULT", result.steps, json.dumps(result.metrics))


if __name__ == "__main__":
    main(*sys.argv[1:])
