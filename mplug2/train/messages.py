"""What a run tells its user: at the start, at the end, and when it cannot go on."""

from __future__ import annotations

import math
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from torch import nn

from mplug2.runtime import distributed
from mplug2.runtime.progress import duration
from mplug2.train.checkpoint import Position
from mplug2.weights.store import full_shape
from registry import Spec

if TYPE_CHECKING:
    from mplug2.train.trainer import Result


def opening(
    net: nn.Module, spec: Spec, folder: Path, position: Position, per_epoch: int, total: int
) -> list[str]:
    """What is about to be trained, on what, how long; and what the recipe lacks."""
    s = spec.train
    sizes = [(math.prod(full_shape(p)), p.requires_grad) for p in net.parameters()]
    trained, whole = sum(n for n, on in sizes if on), sum(n for n, _ in sizes)
    lines = [
        f"{spec.name}: {trained / 1e6:.2f} M of {whole / 1e6:.2f} M parameters train; "
        f"{distributed.world_size()} x {distributed.device().type}, ZeRO {s['zero']}, {s['precision']}, "
        f"batch {s['batch']} x {distributed.world_size()} x {s['accumulate']}; "
        f"{per_epoch} steps an epoch, {total} in all; into {folder}"
    ]
    if position.step:
        unread = "; `init` is not read again: the checkpoint holds all weights" if spec.init else ""
        lines.append(f"resumed after step {position.step}{unread}")
    if s["warmup"] >= total:
        lines.append(
            f"WARNING: train.warmup is {s['warmup']} steps, the run {total}: the full rate is never reached"
        )
    return lines


NO_VALIDATION = (
    "WARNING: no validation (data.val and eval.metrics must both be set): no checkpoint is selected, "
    "the last one stands; a test split is never used to choose"
)


def other_length(before: int, position: Position) -> str:
    """The run goes on with another number of batches an epoch than it had."""
    whole = f"WARNING: an epoch has {position.length} batches, and had {before} at the last checkpoint"
    if not position.batches:
        return f"{whole}; the epochs to come are of the new length"
    return (
        f"{whole}; the epoch under way goes on after batch {position.batches} of another order: "
        "some of its samples come twice, some not at all; the next ones are whole"
    )


def occupied(folder: Path, last: Path) -> str:
    """The run folder holds a run, and nobody asked to go on with it."""
    return (
        f"{folder} holds a run already, up to {last.name}: go on with --resume, "
        "choose another folder (train.out=...), or delete it"
    )


def no_link(folder: Path) -> str | None:
    """What lies where ``last`` and ``best`` will point to a checkpoint, if it is no link."""
    for name in ("last", "best"):
        if (link := folder / name).exists() and not link.is_symlink():
            return (
                f"{link} must be a link to a checkpoint, but is a file or folder of its own (as some copying "
                f"leaves it): delete it if {folder / 'checkpoints'} holds that checkpoint, too, else move it "
                "away"
            )
    return None


def too_short(batches: int, accumulate: int) -> str:
    """An epoch has fewer batches than one optimiser step takes."""
    return (
        f"an epoch must have at least train.accumulate = {accumulate} batches on each process, "
        f"but has {batches}: lower train.batch or train.accumulate, or use fewer processes"
    )


def diverged(loss: float, position: Position, saved: Path | None) -> str:
    """The loss is no number."""
    return (
        f"the loss must be finite, but is {loss} at step {position.step + 1} (epoch {position.epoch + 1}); "
        f"this step was not taken. Last checkpoint: {saved or 'none'}. "
        "Lower train.lr, lengthen train.warmup or set train.clip"
    )


def skipped(position: Position) -> str:
    """One step was left out."""
    return (
        f"WARNING: step {position.step}: the gradient is not finite, so the weights were left as they are "
        f"({position.skipped} so far)"
    )


def stuck(count: int, position: Position, saved: Path | None) -> str:
    """No gradient is a number any more."""
    return (
        f"the gradient must be finite, but was not in {count} steps in a row, up to step {position.step} "
        f"(epoch {position.epoch + 1}); none of them was taken. Last checkpoint: {saved or 'none'}. "
        "Lower train.lr, lengthen train.warmup, or set train.precision=bf16 or fp32"
    )


def closing(result: Result, position: Position, total: int, seconds: float, select: str) -> list[str]:
    """What came out, where it lies, and the command to type next."""
    done = (
        f"stopped after step {result.steps} of {total}" + (", before its evaluation" if position.due else "")
        if result.interrupted
        else f"done: {result.steps} steps"
    )
    lines = [f"{done} in {duration(seconds)}"]
    if position.skipped:
        steps = "step was" if position.skipped == 1 else "steps were"
        lines.append(f"{position.skipped} {steps} not taken, since the gradient was not finite")
    if result.best is not None:
        lines.append(f"best {select} on validation: {position.best:.4f}, {result.best}")
    lines.append(f"last checkpoint: {result.last}; curves: {result.folder / 'curves.png'}")
    chosen = result.folder / ("best" if result.best else "last")
    # the resolved spec: what was overridden on the command line need not be typed again
    if result.interrupted:
        lines.append(f"next: mplug2 train {quote(str(result.folder / 'last' / 'spec.yaml'))} --resume")
    else:
        lines.append(
            f"next: mplug2 eval {quote(str(chosen / 'spec.yaml'))} --checkpoint {quote(str(chosen))}"
        )
    return lines
