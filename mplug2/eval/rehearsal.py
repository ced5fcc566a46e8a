"""Check stage 5, evaluations: each one runs on a few samples of its split, with random weights."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mplug2.build.dry_run import located
from mplug2.checking.files import absent_of_split
from mplug2.data.batch import SampleRequest
from mplug2.data.build import build_source, goal_inputs
from mplug2.data.loader import EvalLoader
from mplug2.eval.evaluation import evaluate, load_metrics
from mplug2.eval.failures import failures_of
from mplug2.eval.run import evaluation_goals
from registry import Problem, Spec, SpecError, UserError
from registry.checks.best_metric import ReportedValues, reported_values
from registry.evaluations import EvaluationSpec
from registry.sources import splits_of_source
from registry.training import training_plan

if TYPE_CHECKING:
    from mplug2.network import Network

# Two batches, the last with a single sample: both sizes have their own mistakes.
SAMPLES, BATCH_SIZE = 3, 2


def try_evaluations(
    spec: Spec, net: Network, *, incomplete: bool = False
) -> tuple[list[Problem], list[Problem]]:
    """Return the problems of evaluations that cannot run on ``net``, and a note on each that was not tried.

    ``net`` has random weights and may be narrower than that of the spec. ``incomplete``: files that the spec
    names are absent, so that unreadable data are reported as a note. Nothing is written.
    """
    problems: list[Problem] = []
    notes: list[Problem] = []
    reported: list[str] = []
    for evaluation in training_plan(spec).evaluations:
        try:
            reason, values = _try(spec, net, evaluation, incomplete)
            reported += values
            if reason:
                described = (
                    f"evaluation '{evaluation.name}'"
                    if evaluation.name
                    else "the evaluation"
                )
                notes.append(
                    Problem(evaluation.place, f"{described} on samples: {reason}")
                )
        except SpecError as error:
            _show_cause(error.__cause__)
            problems += error.problems
        except UserError as error:
            problems.append(Problem(evaluation.place, str(error)))
        except Exception as error:  # of the network, for inputs of the data
            _show_cause(error)
            problems.append(located(error, net.spec))
    if not problems and not notes:
        problems += _best_metric_problems(spec, reported)
    return SpecError(problems).problems, notes


def _best_metric_problems(spec: Spec, reported: list[str]) -> list[Problem]:
    """Return a problem if `train.best_metric` is neither declared nor among the reported values."""
    chosen = spec.train["best_metric"]
    if chosen is None or chosen in reported or chosen in reported_values(spec).names:
        return []
    return [ReportedValues(reported).problem(spec, chosen)]


def _try(
    spec: Spec, net: Network, evaluation: EvaluationSpec, incomplete: bool
) -> tuple[str, list[str]]:
    """Evaluate the first samples of a split.

    Returns why that is not possible here, an empty text if it is, and the names of the reported values.
    Raises `UserError` for a mistake of the evaluation.
    """
    try:
        load_metrics(evaluation.metrics)
    except UserError as error:  # a metric that needs a program that is not installed
        return str(error), []
    available = splits_of_source(evaluation.source, training_plan(spec).sources)
    split = (
        evaluation.split if evaluation.split in available else evaluation.train_split
    )
    if split is None or split not in available:
        return f"there is no split '{evaluation.split}'", []
    absent = absent_of_split(spec, evaluation.source, split)
    if absent:
        return absent[0].message, []
    if net.spec.inputs != spec.inputs:
        return "the network was made narrow, and the data do not fit it", []
    try:
        batches = _read(net, evaluation, split)
    except UserError as error:
        if not incomplete:
            raise
        return str(error), []
    result = evaluate(net, batches, evaluation, decode=batches.decode)
    return "", list(result.reported)


def _read(net: Network, evaluation: EvaluationSpec, split: str) -> FirstBatches:
    """Read the first samples of a split; raise `UserError`."""
    with failures_of(evaluation, f"to read the split '{split}'", None):
        inputs = goal_inputs(net.spec, evaluation_goals(evaluation))
        source = build_source(
            net.spec, net.types, evaluation.source, split, inputs=inputs
        )
        return FirstBatches(source)


def _show_cause(error: BaseException | None) -> None:
    """Print the traceback of an exception that a problem describes, if the user asks for it."""
    if error is not None and os.environ.get("MPLUG2_DEBUG") == "1":
        traceback.print_exception(error)


class FirstBatches:
    """The first batches of a source, read at once; evaluators get it as their loader."""

    def __init__(self, source: Any) -> None:
        few: Any = _FirstSamples(source)
        loader = EvalLoader(
            few, source.collate, batch_size=BATCH_SIZE, max_bad_fraction=1.0
        )
        self.batches = list(loader)
        self.max_batches = len(self.batches)
        self.source, self.decode, self.bad = few, loader.decode, loader.bad

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _FirstSamples:
    """A source that ends after a few samples."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def __len__(self) -> int:
        return min(SAMPLES, len(self._source))

    def requests(self, epoch: int, seed: int) -> Sequence[SampleRequest]:
        """Return the first samples of an epoch."""
        requests = self._source.requests(epoch, seed)
        return [requests[position] for position in range(len(self))]

    def __getattr__(self, name: str) -> Any:
        if name == "num_records":  # that of the complete split
            raise AttributeError(name)
        return getattr(self._source, name)
