"""What a run prints: at the start, at the end, and when it cannot continue."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from torch import nn

from mplug2.runtime import distributed
from mplug2.runtime.progress import duration
from mplug2.train.run_state import Result, RunState
from mplug2.train.scalars import output_of
from mplug2.train.skipped_samples import SKIPPED_SAMPLES
from mplug2.weights.store import full_shape
from registry import Spec
from registry.training import LOSS, BatchSpec, TrainingPlan

Positions = Mapping[str, Mapping[str, int]]  # of the loader of each batch
# What a position stores of the data themselves.
_OF_DATA = ("samples_per_epoch", "fingerprint", "content")


def opening(
    net: nn.Module,
    spec: Spec,
    folder: Path,
    state: RunState,
    batches: Mapping[str, str],
    total: int,
) -> list[str]:
    """Return what is about to be trained, on what, and for how long; ``batches`` describes each batch."""
    settings = spec.train
    all_parameters = sum(math.prod(full_shape(p)) for p in net.parameters())
    trained = _trained_size(net, state.step)
    listed = ", ".join(batches.values())
    if len(batches) > 1:
        listed = "; ".join(f"{name}: {text}" for name, text in batches.items())
    lines = [
        f"{spec.name}: {trained / 1e6:.2f} M of {all_parameters / 1e6:.2f} M parameters train; "
        f"{distributed.world_size()} x {distributed.device().type}, {settings['engine']}, "
        f"ZeRO {settings['zero']}, {settings['precision']}; {listed}; {total} steps in all; into {folder}"
    ]
    if state.step:
        unread = ""
        if spec.init:
            unread = "; `init` is not read again: the checkpoint holds all weights"
        lines.append(f"resumed after step {state.step}{unread}")
    freezer = getattr(net, "freezer", None)
    for end in freezer.ends if freezer is not None else ():
        if end > state.step:
            size = _trained_size(net, end)
            lines.append(
                f"from iteration {end + 1}: {size / 1e6:.2f} M parameters train"
            )
    if settings["warmup"] >= total:
        lines.append(
            f"WARNING: train.warmup is {settings['warmup']} steps, the run has {total}: "
            "the full learning rate is never reached"
        )
    return lines


def unfreezing(net: nn.Module, step: int) -> list[str]:
    """Return a line if more parameters train after ``step`` iterations than before."""
    freezer = getattr(net, "freezer", None)
    # A network that `compose` did not make has no freezer.
    if freezer is None or step not in freezer.ends:
        return []
    all_parameters = sum(math.prod(full_shape(p)) for p in net.parameters())
    trained = _trained_size(net, step)
    return [
        f"step {step + 1}: {trained / 1e6:.2f} M of {all_parameters / 1e6:.2f} M parameters train now"
    ]


def _trained_size(net: nn.Module, step: int) -> int:
    """Return how many parameters train in the iteration after ``step`` iterations."""
    freezer = getattr(net, "freezer", None)
    frozen: set[int] = set()
    if freezer is not None:
        frozen = {id(parameter) for parameter in freezer.parameters(step)}
    # By the shape before sharding: with ZeRO 3 a rank holds empty tensors.
    size = 0
    for parameter in net.parameters():
        if parameter.requires_grad and id(parameter) not in frozen:
            size += math.prod(full_shape(parameter))
    return size


def batch_texts(plan: TrainingPlan, loaders: Mapping[str, Any]) -> dict[str, str]:
    """Return the amounts of each batch in words."""
    texts = {}
    for name, batch in plan.batches.items():
        texts[name] = batch_text(batch, loaders[name].steps_per_epoch())
    return texts


def batch_text(batch: BatchSpec, steps_per_epoch: int | None) -> str:
    """Return the amounts of a batch in words."""
    texts = []
    if batch.tokens is not None:
        texts.append(f"{batch.tokens} tokens")
    elif batch.batch_size is not None:
        texts.append(f"batch {batch.batch_size}")
    elif batch.micro_batch is not None:
        texts.append(
            f"batch {batch.micro_batch} x {distributed.world_size()} x {batch.accumulation}"
        )
    if steps_per_epoch is not None:
        texts.append(f"{steps_per_epoch} steps an epoch")
    return ", ".join(texts)


def step_text(epoch: int, values: Mapping[str, float], lr: float) -> str:
    """Return the progress of a step: its epoch, counted from 0, its losses and the largest learning rate."""
    losses = []
    for name, value in values.items():
        if output_of(name) == LOSS:
            losses.append(f"{name} {value:.4f}")
    return f"epoch {epoch + 1}  {'  '.join(losses)}  lr {lr:.2e}"


NO_VALIDATION = (
    "WARNING: no validation (data.val and eval.metrics must both be set): no checkpoint is selected, and "
    "only the last one is kept; a test split never selects"
)


def occupied(folder: Path, last: Path) -> str:
    """Return the problem of a run folder that holds a run, without --resume."""
    return (
        f"{folder} already holds a run, up to {last.name}. Resume it with --resume, "
        "choose another folder (train.output_dir=...), or delete it"
    )


def no_link(folder: Path) -> str | None:
    """Return the problem of a `last` or `best` that is not a link."""
    for name in ("last", "best"):
        if (link := folder / name).exists() and not link.is_symlink():
            return (
                f"{link} must be a link to a checkpoint, but is a file or folder (some tools copy links as "
                f"folders): delete it if {folder / 'checkpoints'} holds that checkpoint, too, else move it "
                "away"
            )
    return None


def changed_data(
    before: Positions, after: Positions, loaders: Mapping[str, Any]
) -> list[str]:
    """Return a warning for each batch whose data are not those when the checkpoint was written."""
    lines = []
    for name, position in after.items():
        stored = before.get(name, {})
        # Older checkpoints stored less: only what both have can differ.
        stored_keys = [key for key in _OF_DATA if key in stored]
        differ = {key for key in stored_keys if stored[key] != position.get(key)}
        if not differ:
            continue
        location = getattr(
            getattr(loaders[name], "source", None), "location", "its data"
        )
        text = f"WARNING: batch '{name}': {location} has changed since the checkpoint was written"
        if "samples_per_epoch" in differ:
            old, new = stored["samples_per_epoch"], position.get("samples_per_epoch")
            text += f": an epoch has {new} samples, and had {old} before"
        lines.append(text)
    return lines


def diverged(loss: float, state: RunState, saved: Path | None) -> str:
    """The loss is NaN or infinite."""
    return (
        f"the loss must be finite, but is {loss} at step {state.step + 1}; "
        f"this step was not taken (its samples: {SKIPPED_SAMPLES}). Last checkpoint: {saved or 'none'}. "
        "Lower train.lr, lengthen train.warmup or set train.max_grad_norm"
    )


def skipped(state: RunState) -> str:
    """An optimizer step was not taken."""
    return (
        f"WARNING: step {state.step + 1}: the gradient is not finite, so the weights are unchanged "
        f"({state.skipped} so far; samples: {SKIPPED_SAMPLES})"
    )


def stopped_early(state: RunState, total: int, select: str, over: bool) -> list[str]:
    """Evaluations no longer improve; no line if the run is not over, or took all its steps."""
    if not over or state.step == total:
        return []
    text = f"early stop: {select} was not better in {state.num_not_better} evaluations in a row"
    return [f"{text} (train.early_stop); best at step {state.best_step}"]


def stuck(count: int, state: RunState, saved: Path | None) -> str:
    """No gradient is finite any more."""
    return (
        f"the gradient must be finite, but was not in {count} steps in a row, up to step {state.step + 1}; "
        f"none of them was taken. Last checkpoint: {saved or 'none'}. "
        "Lower train.lr, lengthen train.warmup, or set train.precision=bf16 or fp32"
    )


def closing(
    result: Result, state: RunState, total: int, seconds: float, select: str
) -> list[str]:
    """Return what the run produced, where it is, and the command to type next."""
    done = f"done: {result.steps} steps"
    if result.interrupted:
        pending = ", before its evaluation" if state.eval_pending else ""
        done = f"stopped after step {result.steps} of {total}{pending}"
    lines = [f"{done} in {duration(seconds)}"]
    if state.skipped:
        steps = "step was" if state.skipped == 1 else "steps were"
        lines.append(
            f"{state.skipped} {steps} not taken, since the gradient was not finite"
        )
    if result.best is not None:
        lines.append(f"best {select} on validation: {state.best:.4f}, {result.best}")
    elif select in state.metrics:
        # Only NaN never becomes the best value.
        lines.append(
            f"{select} was NaN in every evaluation, so there is no best checkpoint: use `last`"
        )
    curves = result.folder / "curves.png"
    # Only some loggers draw curves.
    drawn = f"; curves: {curves}" if curves.is_file() else ""
    lines.append(f"last checkpoint: {result.last}{drawn}")
    chosen = result.folder / ("best" if result.best else "last")
    # The resolved spec, so that settings of the command line need not be typed again.
    if result.interrupted:
        lines.append(
            f"next: mplug2 train {quote(str(result.folder / 'last' / 'spec.yaml'))} --resume"
        )
    else:
        lines.append(
            f"next: mplug2 eval {quote(str(chosen / 'spec.yaml'))} --checkpoint {quote(str(chosen))}"
        )
    return lines
