"""Which samples were in optimizer steps that were not taken: a file in the run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mplug2.runtime import distributed
from mplug2.runtime.jsonl import json_line

if TYPE_CHECKING:
    from mplug2.train.iteration import OptimizerStep

SKIPPED_SAMPLES = "skipped_samples.jsonl"


def write_skipped(folder: Path, number: int, step: OptimizerStep) -> None:
    """Add a line for each micro-batch of a step that was not taken, with what its records name; ``number`` is
    that of the iteration. All ranks must call this; rank 0 writes.
    """
    rank = distributed.rank()
    lines = []
    for part in step.parts:
        for micro_batch in part.micro_batches:
            records: list[dict[str, Any]] = list(micro_batch.records)
            lines.append(
                {"step": number, "batch": part.batch, "rank": rank, "records": records}
            )
    by_rank = distributed.all_gather_object(lines)
    if rank != 0:
        return
    with (folder / SKIPPED_SAMPLES).open("a", encoding="utf-8") as file:
        for lines in by_rank:
            file.writelines(json_line(line) + "\n" for line in lines)
