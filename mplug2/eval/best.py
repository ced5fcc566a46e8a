"""Which of two evaluations is better: by one value, which may be larger or smaller, and is never NaN."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from mplug2.eval.evaluation import load_metrics
from mplug2.eval.evaluator import evaluator_name
from registry import EVALUATORS, METRICS, Spec, UserError
from registry.evaluations import EvaluationSpec


def is_better(
    value: float, best: float | None, *, smaller_is_better: bool = False
) -> bool:
    """Return whether ``value`` becomes the best one; NaN never does, and never stays the best one."""
    if math.isnan(value):
        return False
    if best is None or math.isnan(best):
        return True
    return value < best if smaller_is_better else value > best


def selected_value(spec: Spec, evaluations: Sequence[EvaluationSpec]) -> str:
    """Return the value that selects the best checkpoint: `train.best_metric`, or the first.

    It is '' without evaluations; UserError if the spec then names a metric.
    """
    select: str | None = spec.train["best_metric"]
    if evaluations:
        return select or default_value(evaluations)
    if select:
        raise UserError(
            f"{spec.place('train', 'best_metric')}: train.best_metric needs an evaluation on a validation "
            "split. Set data.val and eval.metrics"
        )
    return ""


def default_value(evaluations: Sequence[EvaluationSpec]) -> str:
    """Return the value that selects the best checkpoint by default: the main one of the first evaluation."""
    evaluation = evaluations[0]
    if evaluation.metrics:
        name = evaluation.metrics[0]
        outputs = METRICS.declaration(name).outputs
    else:
        name = evaluator_name(evaluation, ())
        outputs = EVALUATORS.declaration(name).outputs
    return evaluation.key(next(iter(outputs), name))


def smaller_is_better(evaluations: Iterable[EvaluationSpec]) -> frozenset[str]:
    """Return the reported values that improve as they fall, such as perplexity."""
    values: set[str] = set()
    for evaluation in evaluations:
        metrics = load_metrics(evaluation.metrics)
        evaluator = EVALUATORS.load(evaluator_name(evaluation, metrics))
        for owner in (*metrics, evaluator):
            for name in getattr(owner, "smaller_is_better", ()):
                values.add(evaluation.key(name))
    return frozenset(values)
