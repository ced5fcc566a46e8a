"""What each process of a launched evaluation does (see test_launched_retrieval.py)."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from retrieval_world import World, network

from mplug2.eval.evaluation import evaluate
from mplug2.runtime import distributed
from mplug2.train.engines.base import start_engine
from mplug2.train.optim import build_optimizer
from registry.training import training_plan


def main(path: str, zero: str) -> None:
    """Evaluate this rank's share; ``zero`` is a stage of DeepSpeed, or ``none``."""
    rank, world = (
        int(os.environ.get("RANK", "0")),
        int(os.environ.get("WORLD_SIZE", "1")),
    )
    distributed.init_process_group(accelerator=False)
    net = network(rerank=4, rerank_batch=5)
    (evaluation,) = training_plan(net.spec).evaluations
    engine = None
    if zero != "none":
        settings = {**net.spec.train, "zero": int(zero)}
        engine = start_engine(net, build_optimizer(net, settings), settings)
    # under stage 3 a single image leaves rank 1 nothing of its own but padding, and no pairs
    for images in (13, 1):
        found = evaluate(
            net,
            World(images, rank=rank, world=world),
            evaluation,
            decode=str,
            predictions=Path(f"{path}_{images}.jsonl"),
            engine=engine,
        )
        if rank == 0:
            print("FOUND", json.dumps(found.metrics))


if __name__ == "__main__":
    main(*sys.argv[1:])
