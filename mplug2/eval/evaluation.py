"""Run an evaluation on all ranks: compute its goals over a split, merge the rows, apply the metrics."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modules.distributed import synced_ranks
from modules.eval_mode import eval_mode
from modules.streams import to_device
from mplug2.eval.details import Details, details_of
from mplug2.eval.evaluator import (
    Decode,
    Evaluator,
    GoalOutputs,
    OnProgress,
    build_evaluator,
    evaluator_name,
    metric_name,
    no_progress,
)
from mplug2.eval.failures import CheckedEvaluator, check_values, failures_of
from mplug2.eval.predictions import merge_rows, without_fields, write_predictions
from mplug2.metrics.metric import (
    Metric,
    ResultTable,
    Row,
    TrainRecords,
    load_metric,
    score_rows,
)
from mplug2.runtime import distributed
from registry import UserError
from registry.errors import require
from registry.evaluations import EvaluationSpec

Move = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True)
class Evaluation:
    """The results of an evaluation; the same on every rank."""

    metrics: dict[str, float]
    samples: int  # records that were evaluated, or rows if the evaluator makes more than one of a record
    bad: list[str]  # files that could not be decoded; their rows count as wrong
    tables: list[ResultTable] = field(default_factory=list)
    # Samples without answers (test splits), which no metric of answers counts.
    unanswered: int = 0
    predictions: Path | None = None
    settings: EvaluationSpec | None = None
    details: Details | None = None  # only on request

    @property
    def reported(self) -> dict[str, float]:
        """The values by the names that logs and `train.best_metric` use: `name/value`, or `value`."""
        if self.settings is None:
            return self.metrics
        return {self.settings.key(name): value for name, value in self.metrics.items()}


@dataclass
class _Batch:
    """A batch as the evaluator gets it."""

    inputs: Mapping[str, Any]
    records: Sequence[Row]


def evaluate(
    net: Any,
    loader: Any,
    evaluation: EvaluationSpec,
    *,
    decode: Decode,
    metrics: Sequence[str | Metric] | None = None,
    engine: Any = None,
    synced: bool | None = None,
    predictions: Path | None = None,
    train_records: TrainRecords = lambda: None,
    on_progress: OnProgress = no_progress,
    num_errors: int | None = None,
) -> Evaluation:
    """Evaluate ``net`` on the batches of ``loader`` as ``evaluation`` describes; call it on all ranks.

    ``loader`` iterates over batches (``inputs``, ``records``) and has a length. ``metrics`` replaces the
    metrics that the evaluation names, by names or objects. ``engine`` wraps ``net`` during training.
    ``synced``: whether ranks must make equally many calls of the network (ZeRO stage 3; default: by the
    engine). Rank 0 writes ``predictions`` as JSON lines, atomically, also if a metric fails.
    ``train_records()`` returns the records of the training split, if it is available, for baselines.
    ``num_errors`` asks for details, with so many of the worst errors: see `details_of`.
    """
    _check_arguments(net, evaluation)
    metric_objects = load_metrics(evaluation.metrics if metrics is None else metrics)
    call = net if engine is None else engine
    synced = getattr(engine, "sharded", False) if synced is None else synced
    evaluator = build_evaluator(
        evaluation,
        metric_objects,
        net=net,
        call=call,
        decode=decode,
        loader=loader,
        on_progress=on_progress,
        detailed=predictions is not None,
    )
    name = evaluator_name(evaluation, metric_objects)
    checked = CheckedEvaluator(evaluator, evaluation, name)
    outputs = _run(net, call, checked, loader, synced, on_progress)

    def summarize() -> Evaluation:
        rows = merge_rows(outputs.parts)
        values = _values(
            evaluation, evaluator, metric_objects, rows, outputs, predictions
        )
        tables = _tables(evaluation, metric_objects, values, rows, train_records)
        details = _details(evaluator, metric_objects, rows, num_errors)
        no_answers = sum(row.get("answers") == [] for row in rows)
        count, file = len(rows) or outputs.samples, predictions if rows else None
        return Evaluation(
            values, count, outputs.bad, tables, no_answers, file, evaluation, details
        )

    # Once, and not on each rank: metrics are slow, and files are written.
    return distributed.on_rank0(summarize)


@dataclass(frozen=True)
class _Outputs:
    """What the pass over a split gave: samples and unreadable files over all ranks, the rows of each rank.

    ``own_values``: those that the evaluator computes itself. ``expected``: the samples of the split, or None.
    """

    samples: int
    bad: list[str]
    parts: Sequence[Sequence[Row]]
    own_values: Mapping[str, float]
    expected: int | None


def _run(
    net: Any,
    call: Any,
    evaluator: CheckedEvaluator,
    loader: Any,
    synced: bool,
    on_progress: OnProgress,
) -> _Outputs:
    """Compute the goals of an evaluator over all batches, and gather what the ranks have; all call it."""
    batches = padded_batches(loader, synced)
    sync = synced_ranks() if synced else contextlib.nullcontext()
    with eval_mode(net), torch.no_grad(), sync:
        local_samples = run_goals(
            call, _mover(net), evaluator, batches, len(loader), on_progress
        )
        own_values, local_rows = evaluator.compute()
    samples = round(distributed.all_reduce_sum(float(local_samples))[0])
    bad = _bad_files(loader)
    parts = distributed.all_gather_object(list(local_rows))
    return _Outputs(
        samples, bad, parts, own_values, getattr(loader, "num_records", None)
    )


def _values(
    evaluation: EvaluationSpec,
    evaluator: Evaluator,
    metrics: Sequence[Metric],
    rows: Sequence[Row],
    outputs: _Outputs,
    predictions: Path | None,
) -> dict[str, float]:
    """Return all values of an evaluation, and write its predictions."""
    values = dict(outputs.own_values)
    try:
        _check_rows(evaluation, evaluator, rows, outputs)
        values |= _metric_values(evaluation, metrics, rows)
    finally:
        # Written even if a metric fails: predictions are expensive to compute again.
        if predictions is not None and rows:
            write_predictions(predictions, _written_rows(evaluator, rows), values)
    return values


def _check_arguments(net: Any, evaluation: EvaluationSpec) -> None:
    """Raise UserError if a network or a description of an evaluation is something else."""
    if not callable(net):
        raise UserError(f"net must be a network (got {type(net).__name__})")
    require(
        evaluation, EvaluationSpec, "evaluation (of `training_plan(spec).evaluations`)"
    )


def _details(
    evaluator: Any,
    metrics: Sequence[Metric],
    rows: Sequence[Row],
    num_errors: int | None,
) -> Details | None:
    """Return the details of an evaluation if they are asked for."""
    if num_errors is None:
        return None
    return details_of(metrics, rows, num_errors, getattr(evaluator, "unwritten", ()))


def _written_rows(
    evaluator: Any, rows: Sequence[dict[str, Any]]
) -> Sequence[dict[str, Any]]:
    """Return rows without the fields that an evaluator keeps for metrics alone."""
    return without_fields(rows, getattr(evaluator, "unwritten", ()))


def _bad_files(loader: Any) -> list[str]:
    """Return the files that could not be read, over all ranks."""
    local_bad = [str(file) for file in getattr(loader, "bad", ())]
    return sorted(set().union(*distributed.all_gather_object(local_bad)))


def load_metrics(metrics: Iterable[str | Metric]) -> list[Metric]:
    """Return metrics ready to compute; `UserError` if one is unknown or cannot run here (METEOR and Java)."""
    loaded = []
    for metric in metrics:
        loaded.append(load_metric(metric) if isinstance(metric, str) else metric)
    return loaded


def run_goals(
    call: Any,
    move: Move,
    evaluator: Evaluator,
    batches: Iterable[Any],
    num_batches: int,
    on_progress: OnProgress = no_progress,
) -> int:
    """Give the evaluator the outputs of its goals for each batch; return the samples without padding.

    ``move`` returns the inputs of a batch on the device of the network.
    """
    num_samples = 0
    for done, batch in enumerate(batches, 1):
        inputs = move(batch.inputs)
        for goal in evaluator.goals:
            evaluator.update(GoalOutputs(goal, call(inputs, goal=goal)), batch.records)
        num_samples += sum(not record.get("padding") for record in batch.records)
        on_progress(done, num_batches, "batches")
    return num_samples


def padded_batches(loader: Any, synced: bool) -> Iterator[Any]:
    """Yield the batches of this rank; if ``synced``, as many as the rank with the most of them has.

    A rank that runs out repeats a batch whose records are all marked as padding: it must call sharded layers
    as often as the others.
    """
    if not synced:
        yield from loader
        return
    lengths = distributed.all_gather_object(len(loader))
    iterator = iter(loader)
    batch = next(iterator, None)
    # A rank without any batch borrows one of rank 0.
    spare = distributed.broadcast_from_rank0(batch) if 0 in lengths else batch
    for turn in range(max(lengths)):
        if batch is None:
            assert spare is not None
            records = [{**record, "padding": True} for record in spare.records]
            yield _Batch(spare.inputs, records)
        else:
            yield batch
        batch = next(iterator, None) if turn + 1 < lengths[distributed.rank()] else None


def _metric_values(
    evaluation: EvaluationSpec, metrics: Sequence[Metric], rows: Sequence[Row]
) -> dict[str, float]:
    """Return the values of all metrics; fields of single rows come first, since any metric may read them."""
    values: dict[str, float] = {}
    for metric in metrics:
        with _metric_failures(evaluation, metric):
            score_rows([metric], rows)
    for metric in metrics:
        with _metric_failures(evaluation, metric):
            values |= check_values(metric.compute(rows))
    return values


def _metric_failures(
    evaluation: EvaluationSpec, metric: Metric
) -> contextlib.AbstractContextManager[None]:
    return failures_of(evaluation, f"metric '{metric_name(metric)}'", metric)


def _tables(
    evaluation: EvaluationSpec,
    metrics: Sequence[Metric],
    values: Mapping[str, float],
    rows: Sequence[Row],
    train_records: TrainRecords,
) -> list[ResultTable]:
    tables: list[ResultTable] = []
    for metric in metrics:
        if hasattr(metric, "tables"):
            with _metric_failures(evaluation, metric):
                tables += metric.tables(values, rows, train_records)
    return tables


def _mover(net: nn.Module) -> Move:
    """Return what moves a batch to the device of a network, by the kinds of its inputs if it knows them."""
    move: Move | None = getattr(net, "move", None)
    if move is not None:
        return move
    devices = [parameter.device for parameter in net.parameters()]
    # A network without parameters computes where this process does.
    device = devices[0] if devices else distributed.device()
    return functools.partial(to_device, device=device)


def _check_rows(
    evaluation: EvaluationSpec,
    evaluator: Evaluator,
    rows: Sequence[Row],
    outputs: _Outputs,
) -> None:
    """Raise `UserError` unless every sample is counted exactly once."""
    where = evaluation.label
    expected, samples = outputs.expected, outputs.samples
    if expected is not None and samples != expected:
        raise UserError(
            f"{where}: {samples} samples were evaluated, but the split has {expected}. "
            "A loader must mark the samples that it repeats: `padding: True` in their records"
        )
    if getattr(evaluator, "one_row_per_record", True) and len(rows) != samples:
        raise UserError(
            f"{where}: {type(evaluator).__name__} must make one row of each sample "
            f"(got {len(rows)} rows of {samples} samples). "
            "If that is intended, set `one_row_per_record = False`"
        )
