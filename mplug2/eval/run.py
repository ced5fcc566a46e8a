"""Run the evaluations of a spec: on a checkpoint, or during training."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

import torch

from mplug2.checking.stages import check_stages
from mplug2.checking.vocabulary import check_trained_vocabulary
from mplug2.eval.evaluation import Evaluation, evaluate, load_metrics
from mplug2.eval.evaluator import Decode, evaluator_name
from mplug2.metrics.metric import Row
from mplug2.runtime import distributed
from mplug2.runtime.precision import DTYPES
from mplug2.runtime.progress import ProgressReporter
from mplug2.runtime.rng import fork_rng
from mplug2.weights.momentum import load_momentum
from mplug2.weights.resolution import load_at_resolution
from mplug2.weights.store import load_weights
from registry import EVALUATORS, Spec, SpecError, StreamType, UserError
from registry.evaluations import EvaluationSpec
from registry.sources import splits_of_source
from registry.training import training_plan

if TYPE_CHECKING:
    from mplug2.network import Network


def evaluate_checkpoint(
    spec: Spec,
    checkpoint: str | Path,
    *,
    only: str | None = None,
    split: str | None = None,
    predictions: Path | None = None,
) -> dict[str, Evaluation]:
    """Return the results of a spec's evaluations on a checkpoint (a folder or ``.safetensors``), by name.

    ``only`` names the one to run; ``split`` replaces the split of each. The predictions of several
    evaluations go to separate files, named by ``predictions_of``. Raises UserError if the spec has
    no evaluation, or if the checkpoint does not fit.
    """
    results = evaluations_of_checkpoint(
        spec, checkpoint, only=only, split=split, predictions=predictions
    )
    return {
        result.settings.name: result
        for result in results
        if result.settings is not None
    }


def evaluations_of_checkpoint(
    spec: Spec,
    checkpoint: str | Path,
    *,
    only: str | None = None,
    split: str | None = None,
    predictions: Path | None = None,
    num_errors: int | None = None,
    resize: bool = False,
) -> Iterator[Evaluation]:
    """Yield the results of `evaluate_checkpoint` one after another, as they are ready.

    ``num_errors`` asks for their details, with so many of the worst errors. ``resize`` lets the network have
    another resolution than the checkpoint: see `load_at_resolution`.
    """
    from mplug2.build.compose import compose

    evaluations = chosen_evaluations(spec, only, split)
    for evaluation in evaluations:
        # What cannot run at all must fail before hours of computing.
        evaluator_name(evaluation, load_metrics(evaluation.metrics))
    types = check_stages(spec, required=True).raise_if_bad().types
    check_trained_vocabulary(spec, checkpoint)
    distributed.init_process_group(accelerator=torch.cuda.is_available())
    loaders = {}
    for evaluation in evaluations:
        loaders[evaluation.name] = eval_loader(
            spec, types, evaluation, evaluation.split
        )
    net = compose(spec, initial=False, drawn=False)
    if resize:
        load_at_resolution(net, checkpoint)
    else:
        load_weights(net, checkpoint)
        load_momentum(net, checkpoint)
    net.to(distributed.device(), DTYPES[spec.train["precision"]])
    for evaluation in evaluations:
        loader = loaders[evaluation.name]
        title = " ".join(part for part in (evaluation.name, evaluation.split) if part)
        with (
            distributed.lost_rank_named(),
            Phases(title, silent=distributed.rank() != 0) as phases,
        ):
            yield evaluate(
                net,
                loader,
                evaluation,
                decode=_decode(loader, str),
                predictions=predictions_of(
                    predictions, evaluation, several=len(evaluations) > 1
                ),
                train_records=functools.partial(_train_records, spec, net, evaluation),
                on_progress=phases.on_progress,
                num_errors=num_errors,
            )


def chosen_evaluations(
    spec: Spec, only: str | None = None, split: str | None = None
) -> list[EvaluationSpec]:
    """Return the evaluations of a spec, or the one named ``only``, with ``split`` in place of theirs."""
    evaluations = training_plan(spec).evaluations
    if not evaluations:
        raise UserError(
            f"{spec.place('eval')}: eval.metrics must name a metric, such as [accuracy]"
        )
    names = [evaluation.name for evaluation in evaluations]
    if only is not None and only not in names:
        listed = ", ".join(name for name in names if name)
        raise UserError(
            f"{spec.place('eval')}: there is no evaluation '{only}'. "
            + (
                f"Evaluations: {listed}"
                if listed
                else "The spec has one without a name: leave --only out"
            )
        )
    chosen = []
    for evaluation in evaluations:
        if only in (None, evaluation.name):
            chosen.append(
                evaluation if split is None else replace(evaluation, split=split)
            )
    return chosen


def evaluate_all(
    net: Any,
    engine: Any,
    evaluations: Sequence[EvaluationSpec],
    loaders: Mapping[str, Any],
    decode: Decode,
    folder: Path,
    step: int,
) -> dict[str, float]:
    """Return the values of all evaluations that have a loader (by name), as they are reported.

    For the trainer: random numbers and the modes of all modules stay as they were. Predictions are written
    below ``folder``. All ranks must call it.
    """
    values: dict[str, float] = {}
    with fork_rng():
        for evaluation in evaluations:
            if evaluation.name not in loaders:
                continue
            name = quote(evaluation.name, safe="") or evaluation.train_split or "val"
            loader = loaders[evaluation.name]
            result = evaluate(
                net,
                loader,
                evaluation,
                decode=_decode(loader, decode),
                engine=engine,
                predictions=folder / "predictions" / f"{name}_{step:08d}.jsonl",
            )
            values |= result.reported
    return values


def predictions_of(
    path: Path | None, evaluation: EvaluationSpec, *, several: bool
) -> Path | None:
    """Return the file of an evaluation's predictions: ``path``, or `STEM.NAME.jsonl` if there are several."""
    if path is None or not several:
        return path
    return path.with_name(f"{path.stem}.{quote(evaluation.name, safe='')}{path.suffix}")


def eval_loader(
    spec: Spec, types: Mapping[str, StreamType], evaluation: EvaluationSpec, split: str
) -> Any:
    """Return the loader of a split for an evaluation, on this rank; ``types`` are those of the streams."""
    from mplug2.data.build import build_eval_loader

    _require_split(spec, evaluation, split)
    return build_eval_loader(
        spec,
        types,
        evaluation.source,
        split,
        rank=distributed.rank(),
        world=distributed.world_size(),
        batch_size=evaluation.arguments.get("batch_size"),
        goals=evaluation_goals(evaluation),
    )


def _require_split(spec: Spec, evaluation: EvaluationSpec, split: str) -> None:
    """Raise `SpecError` if the source of an evaluation has no such split."""
    available = splits_of_source(evaluation.source, training_plan(spec).sources)
    if split in available:
        return
    others = sorted(available, key=lambda name: (name == "train", name != "val", name))
    hint = "add it to `data`"
    if others:
        settings = f"{{split: {others[0]}}}"
        if evaluation.name:
            settings = f"{{{evaluation.name}: {settings}}}"
        hint += f", or measure another: `eval: {settings}`, or `--split {others[0]}`"
    message = f"{evaluation.label} measures the split '{split}', but the splits of '{evaluation.source}' are"
    raise SpecError.at(
        evaluation.place, f"{message} {', '.join(sorted(available)) or 'none'}", hint
    )


def _decode(loader: Any, default: Decode) -> Decode:
    """Return what turns token ids into text: that of the loader's task, if it has one."""
    return cast(Decode, getattr(loader, "decode", default))


def _train_records(
    spec: Spec, net: Network, evaluation: EvaluationSpec
) -> Iterable[Row] | None:
    """Return the records of the training split; None if it is the evaluated one, or is not available."""
    from mplug2.data.build import build_source, goal_inputs

    if evaluation.split == "train":
        return None
    inputs = goal_inputs(spec, evaluation_goals(evaluation))
    try:
        source = build_source(
            spec, net.types, evaluation.source, "train", inputs=inputs
        )
    except UserError:
        return None  # Only the evaluated split is required.
    return source.records()


def evaluation_goals(evaluation: EvaluationSpec) -> Sequence[str]:
    """Return the goals that an evaluation computes: those that its evaluator declares, or `goal`."""
    name = evaluator_name(evaluation, load_metrics(evaluation.metrics))
    return EVALUATORS.declaration(name).goals or (evaluation.goal,)


class Phases:
    """A progress bar for each phase of an evaluation, one after the other."""

    def __init__(self, title: str, silent: bool) -> None:
        self._title, self._silent = title, silent
        self._unit, self._bar = "", contextlib.ExitStack()

    def __enter__(self) -> Phases:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def on_progress(self, done: int, total: int, unit: str) -> None:
        """Show that ``done`` of ``total`` are done in the phase that counts ``unit``."""
        if unit != self._unit:
            self._bar.close()
            self._unit, self._quarter = unit, 0
            self._report = self._bar.enter_context(
                ProgressReporter(total, silent=self._silent, unit=unit)
            )
        quarter = 4 * done // max(total, 1)
        self._report.step(done, self._title, line=quarter > self._quarter)
        self._quarter = quarter
