"""Evaluate a checkpoint on a split of its spec's data, on as many processes as the launcher started."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mplug2.eval.breakdown import most_frequent
from mplug2.eval.evaluation import Evaluation, evaluate
from mplug2.runtime import distributed
from mplug2.runtime.precision import DTYPES
from mplug2.runtime.progress import Reporter
from mplug2.weights.store import load_weights
from registry import Spec, UserError
from registry.training import SHORT_SOURCE

if TYPE_CHECKING:
    from mplug2.network import Network


def evaluate_checkpoint(
    spec: Spec, checkpoint: str | Path, *, split: str | None = None, predictions: Path | None = None
) -> Evaluation:
    """Measure ``checkpoint`` (a folder or ``.safetensors`` file) by ``eval.metrics`` on a split.

    Raises UserError where the spec names no metric or split, or where the checkpoint does not fit.
    """
    from mplug2.build.compose import compose
    from mplug2.data.build import build_eval_loader

    split = split or spec.eval["split"]
    if not spec.eval["metrics"]:
        raise UserError(f"{spec.place('eval')}: eval.metrics must name a metric, such as [accuracy]")
    distributed.init_process_group(accelerator=torch.cuda.is_available())
    net = compose(spec, initial=False)
    load_weights(net, checkpoint)
    net.to(distributed.device(), DTYPES[spec.train["precision"]])
    loader = build_eval_loader(
        spec, net.types, SHORT_SOURCE, split, rank=distributed.rank(), world=distributed.world_size()
    )
    with Phases(split, silent=distributed.rank() != 0) as phases:
        return evaluate(
            net,
            loader,
            decode=loader.source.tokenizer.decode,
            metrics=spec.eval["metrics"],
            goal=spec.eval["goal"],
            predictions=predictions,
            train_answers=_train_answers(spec, net) if split != "train" else None,
            tick=phases.tick,
        )


class Phases:
    """A progress bar for each phase of an evaluation, one after the other."""

    def __init__(self, title: str, silent: bool) -> None:
        self._title, self._silent = title, silent
        self._what, self._bar = "", contextlib.ExitStack()

    def __enter__(self) -> Phases:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def tick(self, done: int, total: int, what: str) -> None:
        """Show that ``done`` of ``total`` are done in the phase ``what``."""
        if what != self._what:
            self._bar.close()
            self._what, self._quarter = what, 0
            self._report = self._bar.enter_context(Reporter(total, silent=self._silent, unit=what))
        quarter = 4 * done // max(total, 1)
        self._report.step(done, self._title, line=quarter > self._quarter)
        self._quarter = quarter


def _train_answers(spec: Spec, net: Network) -> dict[str, str] | None:
    """The most frequent training answer of each type; None where the training data is not at hand."""
    from mplug2.data.build import build_source

    try:
        reader = build_source(spec, net.types, SHORT_SOURCE, "train")
    except UserError:
        return None  # evaluating needs the evaluated split alone
    return most_frequent(item.record() for item in reader.items)
