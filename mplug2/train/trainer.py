"""The trainer, from top to bottom: build, resume, then for every step: rate, momentum, gradients, log,
evaluate, save."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modules.distributed import synced_ranks
from modules.streams import to_device
from mplug2.eval.best import default_value, is_better, smaller_is_better
from mplug2.eval.run import evaluate_all
from mplug2.runtime import distributed
from mplug2.runtime.interrupts import Interrupts
from mplug2.runtime.progress import Reporter
from mplug2.runtime.rng import seed_everything
from mplug2.train import messages
from mplug2.train.checkpoint import (
    Position,
    find_last,
    load_before_engine,
    load_into_engine,
    point_to,
    prune,
    save_checkpoint,
    step_folder,
    write_state,
)
from mplug2.train.engines.base import Engine, start_engine
from mplug2.train.logs import RunLog
from mplug2.train.optim import build_optimizer
from mplug2.train.schedule import Schedule
from registry import Spec, UserError, read_spec, write_spec
from registry.training import EvaluationSpec, training_plan

Decode = Callable[[Sequence[int]], str]
CHECKPOINTS = "checkpoints"
PATIENCE = 50  # steps in a row without a usable gradient; fp16 begins with a few while it finds its scale


@dataclass(frozen=True)
class Result:
    """What a run left behind."""

    folder: Path
    steps: int
    last: Path  # the newest checkpoint
    best: Path | None  # the best on validation, None where the recipe has no validation split
    metrics: dict[str, float]  # of the last evaluation
    interrupted: bool


def train(spec: Spec | str | Path, overrides: Sequence[str] = (), *, resume: bool = False) -> Result:
    """Train the network of ``spec`` as its ``train`` section says, on as many processes as the launcher
    started.

    ``resume`` goes on at the step after the newest checkpoint of the run folder. Mistakes of the user raise
    UserError.
    """
    from mplug2.build.compose import compose
    from mplug2.data.build import build_eval_loader, build_loader

    spec = spec if isinstance(spec, Spec) else read_spec(spec, overrides)
    distributed.init_process_group(accelerator=torch.cuda.is_available())
    seed_everything(spec.train["seed"])  # the same weights on all ranks
    begun = _begin(spec, resume) if resume else None
    # a checkpoint holds all weights: what `init` names may have gone
    net = compose(spec, initial=begun is None or begun[0] is None)
    shared: dict[str, Any] = {
        "rank": distributed.rank(),
        "world": distributed.world_size(),
    }
    batch = next(iter(training_plan(spec).batches.values()))
    loader = build_loader(spec, net.types, batch, seed=spec.train["seed"], **shared)
    val = None
    if spec.data.get("val") is not None and spec.eval["metrics"]:
        val = build_eval_loader(spec, net.types, batch.source, "val", **shared)
    decode = loader.source.tokenizer.decode
    net.prepare(loader.source, decode)
    return _fit(net, loader, val, decode, *(begun or _begin(spec, resume)))


def fit(net: Any, loader: Any, val: Any = None, *, decode: Decode = str, resume: bool = False) -> Result:
    """Train a composed ``net`` on ``loader``, evaluating on ``val``; ``train`` is this with everything built
    from a spec.

    ``loader`` iterates over batches (``inputs``, ``records``), has a length and
    ``set_epoch(epoch, start=batches_to_skip)``, and leaves the global random numbers alone.
    """
    distributed.init_process_group(accelerator=torch.cuda.is_available())
    return _fit(net, loader, val, decode, *_begin(net.spec, resume))


def _begin(spec: Spec, resume: bool) -> tuple[Path | None, bool]:
    """The checkpoint to go on from, if any, and whether this process writes for others; all ranks must call
    it."""
    folder = _folder(spec)
    writer = distributed.is_writer(folder)
    distributed.raise_on_all_ranks(messages.no_link(folder))
    last = find_last(folder / CHECKPOINTS, writer)
    if last and not resume:
        raise UserError(messages.occupied(folder, last))
    return last, writer


def _fit(net: Any, loader: Any, val: Any, decode: Decode, last: Path | None, writer: bool) -> Result:
    spec: Spec = net.spec
    settings = spec.train
    folder = _folder(spec)
    checkpoints = folder / CHECKPOINTS
    # With its folder filled in, the spec that lies in a checkpoint is enough to go on with it.
    spec_text = write_spec(replace(spec, train={**settings, "out": str(folder)}))

    accumulate = settings["accumulate"]
    steps_per_epoch = len(loader) // accumulate  # what is left after the last full step is not used
    if steps_per_epoch == 0:
        raise UserError(messages.too_short(len(loader), accumulate))
    optimizer = build_optimizer(net, settings)
    peaks = [group["lr"] for group in optimizer.param_groups]
    agreeing = {
        "processes": distributed.world_size(),
        "zero": settings["zero"],
        "precision": settings["precision"],
        "accumulate": settings["accumulate"],
        "batch": settings["batch"],
        "parameters in groups": [sum(p.numel() for p in group["params"]) for group in optimizer.param_groups],
    }

    position = load_before_engine(last, net, agreeing) if last else Position()
    length, position.length = position.length, len(loader)
    total = _total(position, steps_per_epoch, settings)
    schedule = Schedule(
        settings["schedule"], total, settings["warmup"], settings["warmup_lr"], settings["min_lr"]
    )
    engine = start_engine(net, optimizer, settings)
    seed_everything(settings["seed"], distributed.rank())  # other dropout on every rank
    if last:
        load_into_engine(last, engine)

    def save() -> Path:
        saved = save_checkpoint(checkpoints, net, engine, position, agreeing, spec_text, writer)
        settle(saved)
        return saved

    def settle(saved: Path) -> None:
        """Name the last and the best checkpoint, and delete those that are neither."""
        if writer:
            best = position.best_step
            point_to(folder / "last", saved)
            if best is not None:
                point_to(folder / "best", step_folder(checkpoints, best))
            prune(checkpoints, settings["keep"], spare=set() if best is None else {best})

    main = distributed.rank() == 0
    evaluations = training_plan(spec).evaluations
    selecting = _selection(spec, evaluations if val is not None else ())
    falling = smaller_is_better(evaluations if val is not None else ())
    saved, started = last, time.monotonic()
    with (
        Reporter(total, position.step, silent=not main) as report,
        RunLog(folder, position.step, settings, silent=not main) as log,
        Interrupts() as interrupts,
    ):
        report.say(*messages.opening(net, spec, folder, position, steps_per_epoch, total))
        if length not in (0, position.length):
            report.say(messages.other_length(length, position))
        if val is None:
            report.say(messages.NO_VALIDATION)
        refused = 0  # steps in a row that were not taken
        stop = False  # as the ranks agreed; a signal that comes later counts in the next step
        position.due = position.due and val is not None
        while (position.step < total or position.due) and not stop:
            if position.due:  # after it is saved, for an evaluation can fail
                loaders = {evaluations[0].name: val}
                values = evaluate_all(net, engine, evaluations, loaders, decode, folder, position.step)
                position.metrics, position.due = values, False
                better = _is_better(values, selecting, position, falling)
                report.say(
                    f"step {position.step}  val  " + _numbers(values) + ("  (best so far)" if better else "")
                )
                log.write(position.step, **{f"val/{key}": value for key, value in values.items()})
                if saved == step_folder(checkpoints, position.step):
                    write_state(saved, net, position, agreeing, writer)
                    settle(saved)
                elif better:
                    saved = save()
                continue
            loader.set_epoch(position.epoch, start=position.batches)
            batches = iter(loader)
            ended = min(total, position.step + _left(position, steps_per_epoch, accumulate))
            while position.step < ended and not stop:
                begun = time.monotonic()
                lrs = [schedule.at(position.step, peak) for peak in peaks]
                for group, lr in zip(engine.optimizer.param_groups, lrs, strict=True):
                    group["lr"] = lr
                net.update_momentum()
                loss, stop = _micro_steps(engine, net, batches, accumulate, interrupts)
                if not math.isfinite(loss):
                    raise UserError(messages.diverged(loss, position, saved))
                taken, norm = astuple(engine.step(settings["clip"]))
                position.step += 1
                position.batches += accumulate
                refused = 0 if taken else refused + 1
                if not taken:
                    position.skipped += 1
                    report.say(messages.skipped(position))
                if refused >= PATIENCE:
                    raise UserError(messages.stuck(refused, position, saved))
                line = position.step % settings["log_every"] == 0 or position.step in (1, total) or not taken
                report.step(
                    position.step, f"epoch {position.epoch + 1}  loss {loss:.4f}  lr {max(lrs):.2e}", line
                )
                if line:
                    log.write(
                        position.step,
                        epoch=position.epoch,
                        loss=loss,
                        **_named(spec.train["lr"], peaks, lrs),
                        grad_norm=norm,
                        skipped=position.skipped or None,
                        seconds=time.monotonic() - begun,
                    )
            if not _left(position, steps_per_epoch, accumulate):
                position.epoch, position.batches = position.epoch + 1, 0
            over = position.step == total
            judged = over or (position.batches == 0 and position.epoch % settings["eval_every"] == 0)
            position.due = val is not None and judged
            if over or stop or position.epoch % settings["save_every"] == 0:
                saved = save()
    assert saved is not None  # a run of no steps had been saved before
    best = step_folder(checkpoints, position.best_step) if position.best_step is not None else None
    interrupted = stop and (position.step < total or position.due)
    result = Result(folder, position.step, saved, best, position.metrics, interrupted)
    report.say(*messages.closing(result, position, total, time.monotonic() - started, selecting))
    return result


def _folder(spec: Spec) -> Path:
    return Path(spec.train["out"] or Path("runs") / spec.name)


def _micro_steps(
    engine: Engine, net: nn.Module, batches: Iterator[Any], count: int, interrupts: Interrupts
) -> tuple[float, bool]:
    """Accumulate the gradients of one optimizer step.

    Return the loss averaged over micro-steps and ranks, and whether any rank was asked to stop.
    """
    loss, device = torch.zeros((), dtype=torch.float32), next(net.parameters()).device
    for _ in range(count):
        batch = to_device(next(batches).inputs, device)
        # Texts that are sampled for a loss have unequal lengths.
        with synced_ranks() if engine.sharded else contextlib.nullcontext():
            micro_loss = engine(batch, goal="train")["loss"]
        engine.backward(micro_loss / count)
        loss = loss + micro_loss.detach().float().to(loss.device) / count
    summed, stops = distributed.all_reduce_sum(loss.item(), float(interrupts.stop_requested))
    return summed / distributed.world_size(), stops > 0


def _left(position: Position, per_epoch: int, accumulate: int) -> int:
    """Optimiser steps that are left of the epoch under way; an epoch may have become shorter than what is
    done of it."""
    return max(0, per_epoch - position.batches // accumulate)


def _total(position: Position, per_epoch: int, settings: dict[str, Any]) -> int:
    """Optimiser steps of the whole run: those done, which may be of longer or shorter epochs, and those to
    come."""
    epochs = settings["epochs"] - position.epoch
    to_come = _left(position, per_epoch, settings["accumulate"]) + (epochs - 1) * per_epoch
    whole = position.step + (to_come if epochs > 0 else 0)
    return min(whole, settings["steps"] or whole)


def _selection(spec: Spec, evaluations: Sequence[EvaluationSpec]) -> str:
    """Return the value that picks the best checkpoint: ``train.select``, or the first one; '' picks none."""
    select = spec.train["select"]
    if not evaluations and select:
        raise UserError(
            "train.select must have data.val and eval.metrics to select by, but one of them is not set"
        )
    return select or default_value(evaluations) if evaluations else ""


def _is_better(
    values: dict[str, float], select: str, position: Position, falling: Collection[str] = ()
) -> bool:
    if select not in values:
        raise UserError(f"train.select must be one of {', '.join(values)}, but is {select!r}")
    if not is_better(values[select], position.best, smaller_is_better=select in falling):
        return False
    position.best, position.best_step = values[select], position.step
    return True


def _named(lr: Any, peaks: list[float], lrs: list[float]) -> dict[str, float]:
    """The rates in force, once for each pattern of ``train.lr``."""
    if not isinstance(lr, dict):
        return {"lr": lrs[0]}
    now = dict(zip(peaks, lrs, strict=True))
    return {f"lr/{key}": now[float(peak)] for key, peak in lr.items() if float(peak) in now}


def _numbers(metrics: dict[str, float]) -> str:
    return "  ".join(f"{key} {value:.4f}" for key, value in metrics.items())
