"""Run a goal over a split on all ranks, write the predictions, and compute the metrics over samples."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from modules.distributed import synced_ranks
from modules.streams import Sequences, to_device
from mplug2.eval.breakdown import Line, by_type, most_frequent
from mplug2.eval.retrieval.gallery import SHOWN
from mplug2.eval.retrieval.rerank import Tick
from mplug2.eval.retrieval.retrieve import retrieve
from mplug2.metrics.metric import Metric, Row
from mplug2.metrics.recall import Recall
from mplug2.runtime import distributed
from mplug2.runtime.atomic_write import atomic_write
from mplug2.runtime.jsonl import finite, json_line
from registry.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found; the same on every rank."""

    metrics: dict[str, float]
    lines: list[Line]  # one per question type, the last one over all
    samples: int
    bad: list[str]  # files that could not be decoded, and were left out
    baseline: str  # where the most frequent answers come from
    predictions: Path | None = None
    unanswered: int = 0  # samples without answers (test splits), which no metric of answers counts


def evaluate(
    net: Any,
    loader: Any,
    *,
    decode: Callable[[Sequence[int]], str],
    metrics: Sequence[str | Metric] = ("accuracy",),
    goal: str = "predict",
    predictions: Path | None = None,
    train_answers: Mapping[str, str] | None = None,
    engine: Any = None,
    together: bool = False,
    tick: Tick = lambda done, total, what: None,
) -> Evaluation:
    """Compute ``goal`` of ``net`` over ``loader``, and ``metrics`` over its rows; call it on all ranks.

    ``predictions`` is written as JSON lines by rank 0, whole or not at all, also where a metric fails after
    the network has done its work. All metrics must measure the same output of the goal. ``train_answers``
    maps a question type to its most frequent answer in training; without it the baseline is the split's own
    most frequent answer. ``engine`` wraps ``net`` where DeepSpeed does; ``together`` (needed under ZeRO stage
    3) keeps ranks with less to do in step. ``tick(done, total, what)`` hears how far it is. The metric
    `recall` measures other goals, and stands alone.
    """
    judges = [_metric(one) for one in metrics]
    _refuse_different(judges)
    call = net if engine is None else engine
    was_training = net.training
    net.eval()
    with torch.no_grad(), synced_ranks() if together else contextlib.nullcontext():
        batches = _batches(loader, together)
        if any(isinstance(judge, Recall) for judge in judges):
            if len(judges) > 1:
                raise UserError("recall measures a whole split at once: eval.metrics must be [recall] alone")
            shown = SHOWN if predictions is not None else 0
            rows = retrieve(net, call, batches, len(loader), shown=shown, tick=tick)
        else:
            rows = []
            for done, (batch, counts) in enumerate(batches, 1):
                outputs = call(to_device(batch.inputs, next(net.parameters()).device), goal=goal)
                if counts:
                    rows += _rows(outputs, batch.records, judges, decode)
                tick(done, len(loader), "batches")
    net.train(was_training)
    bad = sorted(
        {
            file
            for files in distributed.all_gather_object([str(file) for file in getattr(loader, "bad", ())])
            for file in files
        }
    )
    everyone = distributed.all_gather_object(rows)
    found = _summary(everyone, judges, bad, predictions, train_answers) if distributed.rank() == 0 else None
    result = distributed.broadcast_from_rank0(found)
    assert result is not None  # rank 0 always has one
    return result


def _summary(
    everyone: list[list[Row]],
    judges: Sequence[Metric],
    bad: list[str],
    predictions: Path | None,
    train_answers: Mapping[str, str] | None,
) -> Evaluation:
    # A loader that pads the last round, so that ranks get equally many samples, marks what it repeats.
    rows = [row for part in everyone for row in part if not row.get("padding")]
    rows.sort(key=_place)
    values: dict[str, float] = {}
    try:
        for row in rows:
            for judge in judges:
                row.update(judge.mark(row))
        for judge in judges:
            values.update(judge.compute(rows))
    finally:  # a metric that fails must not cost what the network said
        if predictions is not None:
            _keep(predictions, rows, values)
    prior = dict(train_answers) if train_answers is not None else most_frequent(rows)
    return Evaluation(
        metrics=values,
        lines=by_type(rows, prior),
        samples=len(rows),
        bad=bad,
        baseline="the training split" if train_answers is not None else "this split",
        predictions=predictions,
        unanswered=sum(row.get("answers") == [] for row in rows),
    )


def write_jsonl(path: Path, rows: Sequence[Row]) -> None:
    """Write one JSON object a line to ``path``, under another name until it is complete."""
    if damaged := sum(finite(row) != row for row in rows):
        log.warning("%s: %d of %d rows have numbers that are not finite: null", path, damaged, len(rows))
    with atomic_write(path) as file:
        file.writelines(json_line(row) + "\n" for row in rows)


def _keep(path: Path, rows: Sequence[Row], values: Mapping[str, float]) -> None:
    """Write the predictions; an error tells what was measured, which else would be lost with them."""
    try:
        write_jsonl(path, rows)
    except UserError as error:
        told = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
        raise UserError(f"{error}; measured: {told or 'nothing'}") from None


def _place(row: Row) -> tuple[bool, int, str]:
    """Numbered questions first, in their order, then the named ones."""
    name = row.get("question_id", 0)
    return (False, name, "") if isinstance(name, int) else (True, 0, str(name))


def _refuse_different(judges: Sequence[Metric]) -> None:
    """A row holds one prediction: metrics of two outputs would judge each other's."""
    names = dict.fromkeys(name for judge in judges if not isinstance(judge, Recall) for name in judge.inputs)
    if len(names) > 1:
        raise UserError(
            "eval.metrics must measure one output of the goal, but measure "
            f"{' and '.join(map(repr, names))}: name the metrics of one, and evaluate again for the other"
        )


def _metric(one: str | Metric) -> Metric:
    if not isinstance(one, str):
        return one
    from registry import METRICS

    metric: Metric = METRICS.load(one)()
    return metric


def _batches(loader: Any, together: bool) -> Iterator[tuple[Any, bool]]:
    """The batches and whether they count; ``together``, a rank that has run out repeats one that does not."""
    if not together:
        yield from ((batch, True) for batch in loader)
        return
    lengths = distributed.all_gather_object(len(loader))
    iterator = iter(loader)
    batch = next(iterator, None)
    # A rank without a sample of its own borrows one: it must call the sharded layers as often as the others.
    spare = distributed.broadcast_from_rank0(batch) if 0 in lengths else batch
    for turn in range(max(lengths)):
        yield (batch, True) if batch is not None else (spare, False)
        batch = next(iterator, None) if turn + 1 < lengths[distributed.rank()] else None


def _rows(
    outputs: Mapping[str, Any],
    records: Sequence[Row],
    judges: Sequence[Metric],
    decode: Callable[[Sequence[int]], str],
) -> list[Row]:
    rows = [dict(record) for record in records]
    for name in dict.fromkeys(name for judge in judges for name in judge.inputs):
        if name not in outputs:
            raise UserError(
                f"a metric needs the goal output {name!r}, but the goal gives {', '.join(outputs)}"
            )
        value = outputs[name]
        boxes = any(judge.inputs.get(name, "").startswith("boxes") for judge in judges)
        said: Sequence[tuple[Any, Any]] = _boxes(value) if boxes else _said(name, value, rows, decode)
        if len(said) != len(rows):
            raise ValueError(
                f"goal output {name!r} must have a row per record ({len(rows)}), but has {len(said)}"
            )
        for row, (prediction, score) in zip(rows, said, strict=True):
            row.update(prediction=prediction, score=score)
    for row in rows:
        row.pop("classes", None)
    return rows


def _boxes(value: torch.Tensor) -> list[tuple[list[float], None]]:
    """Boxes as four numbers; they have no score."""
    return [(box, None) for box in value.float().tolist()]


def _said(
    name: str, value: Any, rows: Sequence[Row], decode: Callable[[Sequence[int]], str]
) -> list[tuple[str, float]]:
    """What the network said of each row: the best text with its score, a box, or the likeliest class
    (logits)."""
    if isinstance(value, Sequences):
        texts = map(decode, value.ids[:, 0].tolist())
        return list(zip(texts, value.scores[:, 0].tolist(), strict=True))
    if not isinstance(value, torch.Tensor) or value.ndim != 2:
        raise UserError(
            f"goal output {name!r} must be generated sequences or logits of classes, "
            f"but is {type(value).__name__}"
        )
    scores, classes = value.float().softmax(dim=-1).max(dim=-1)
    names = [row.get("classes", ()) for row in rows]
    said = zip(names, classes.tolist(), scores.tolist(), strict=False)
    return [(known[index] if index < len(known) else str(index), score) for known, index, score in said]
