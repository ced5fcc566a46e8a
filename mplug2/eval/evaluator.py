"""The protocol of an evaluator: which goals it needs, and what their outputs are worth."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

from mplug2.eval.failures import failures_of
from mplug2.metrics.metric import Metric, Row
from registry import EVALUATORS, SETTINGS, Port, UserError, read_port
from registry.evaluations import EvaluationSpec

Decode = Callable[[Sequence[int]], str]
OnProgress = Callable[[int, int, str], None]  # done, total, and what is counted


def no_progress(done: int, total: int, unit: str) -> None:
    """Report nothing."""


class GoalOutputs(dict[str, Any]):
    """The outputs of ``goal`` for one batch, by name; for evaluators that need several goals."""

    def __init__(self, goal: str, outputs: Mapping[str, Any]) -> None:
        super().__init__(outputs)
        self.goal = goal

    def __missing__(self, name: str) -> Any:
        """Raise `KeyError` with the outputs that there are."""
        raise KeyError(
            f"goal '{self.goal}' has no output '{name}' (outputs: {', '.join(self)})"
        )


class Evaluator(Protocol):
    """Takes in the outputs of its goals batch by batch, and makes rows and values of them.

    Registered in ``EVALUATORS``. The constructor gets by name what its parameters ask for: ``net``, ``call``
    (the network, or the engine around it), ``decode`` (token ids to text), ``metrics``, ``settings`` (an
    `EvaluationSpec`), ``loader``, ``on_progress``, ``detailed`` (whether rows are written to a file); any
    other parameter is a key of the evaluation in the spec.

    An evaluator may also have:

    - ``inputs``: the kinds of output that it measures, as ports. If set, evaluations whose metrics measure
      these kinds use it without naming it. At most one evaluator may do so for the same kinds;
    - ``outputs``, ``smaller_is_better``: the values that it computes without a metric, as in `Metric`;
    - ``one_row_per_record``: False if ``compute`` returns more or fewer rows than records (default: True);
    - ``unwritten``: fields of rows that metrics read, but that are not written to the file of predictions.
    """

    @property
    def goals(self) -> Sequence[str]:
        """The goals that are computed for each batch, in this order."""
        ...

    def update(self, outputs: Mapping[str, Any], records: Sequence[Row]) -> None:
        """Take in the outputs of one goal (`GoalOutputs`) for one batch, and the records of its rows.

        Records with ``padding`` repeat a sample: their rows must have the mark, too, and count for nothing.
        """
        ...

    def compute(self) -> tuple[Mapping[str, float], Sequence[Row]]:
        """Return the evaluator's own values (over all ranks, often none) and this rank's rows.

        All ranks call it once, after the last batch: it may communicate.
        """
        ...


def evaluator_name(evaluation: EvaluationSpec, metrics: Sequence[Metric]) -> str:
    """Return the evaluator that an evaluation names, or else the one that its metrics need."""
    if evaluation.evaluator is not None:
        return evaluation.evaluator
    where = evaluation.label
    if not metrics:
        raise UserError(
            f"{where}: no metric and no evaluator is named. Add `metrics: [accuracy]`"
        )
    chosen: dict[str, Metric] = {}
    for metric in metrics:
        names = []
        for name in EVALUATORS.names():
            if _fits(EVALUATORS.declaration(name).inputs, metric):
                names.append(name)
        if len(names) != 1:
            problem = "has no evaluator"
            if names:
                problem = f"has several evaluators ({', '.join(names)})"
            ports = ", ".join(metric.inputs.values())
            raise UserError(
                f"{where}: metric '{metric_name(metric)}', which measures {ports}, {problem}. "
                "Name one: `evaluator: NAME`"
            )
        chosen.setdefault(names[0], metric)
    if len(chosen) > 1:
        parts = []
        for name, metric in chosen.items():
            parts.append(f"'{metric_name(metric)}' needs '{name}'")
        raise UserError(
            f"{where}: all metrics must use one evaluator, but {' and '.join(parts)}. "
            "Make two named evaluations of them"
        )
    return next(iter(chosen))


def build_evaluator(
    evaluation: EvaluationSpec, metrics: Sequence[Metric], **supplied: Any
) -> Evaluator:
    """Return a new evaluator for an evaluation; see `Evaluator` for what may be ``supplied``."""
    name = evaluator_name(evaluation, metrics)
    make = EVALUATORS.load(name)
    parameters = inspect.signature(make).parameters
    supplied |= {"metrics": metrics, "settings": evaluation}
    arguments = {key: value for key, value in supplied.items() if key in parameters}
    for key, value in evaluation.arguments.items():
        if key in parameters and key not in supplied:
            # An absent setting leaves the evaluator's default in force.
            if value is not None:
                arguments[key] = value
        # Keys of the section itself, such as `split`, are not for the evaluator.
        elif key not in SETTINGS["eval"]:
            allowed = [other for other in parameters if other not in supplied]
            raise UserError(
                f"{evaluation.label}: evaluator '{name}' has no setting '{key}'. "
                f"Settings: {', '.join(allowed) or 'none'}"
            )
    for key, parameter in parameters.items():
        is_named = parameter.kind in (
            parameter.POSITIONAL_OR_KEYWORD,
            parameter.KEYWORD_ONLY,
        )
        if key not in arguments and parameter.default is parameter.empty and is_named:
            raise UserError(
                f"{evaluation.label}: evaluator '{name}' needs the setting '{key}'. Add `{key}: ...`"
            )
    with failures_of(evaluation, f"evaluator '{name}'", make):
        return cast(Evaluator, make(**arguments))


def metric_name(metric: Metric) -> str:
    """Return how messages name a metric: its first value."""
    return next(iter(metric.outputs), type(metric).__name__).removesuffix("?")


def required_inputs(metric: Metric) -> dict[str, Port]:
    """Return the ports that a metric cannot do without, by output (or goal)."""
    ports = {name: read_port(text, name) for name, text in metric.inputs.items()}
    return {name: port for name, port in ports.items() if not port.optional}


def _fits(inputs: Mapping[str, Port], metric: Metric) -> bool:
    """Return whether an evaluator's ports and a metric's have the same kinds, the optional ones left out."""
    offered = [set(port.kinds) for port in inputs.values() if not port.optional]
    asked = [set(port.kinds) for port in required_inputs(metric).values()]
    if not offered or not asked:
        return False
    # Both ways: an evaluator that measures more than the metric asks for is another one's.
    return _all_covered(asked, offered) and _all_covered(offered, asked)


def _all_covered(kinds: Sequence[set[str]], others: Sequence[set[str]]) -> bool:
    """Return whether each set of kinds has a kind in common with one of the others."""
    for alternatives in kinds:
        if not any(alternatives & other for other in others):
            return False
    return True
