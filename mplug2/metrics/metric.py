"""The protocol of a metric: values over rows, one row for each sample."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

from registry import METRICS

Row = dict[str, Any]
TrainRecords = Callable[[], Iterable[Row] | None]
Function = TypeVar("Function", bound=Callable[..., Mapping[str, float]])


class Metric(Protocol):
    """Values of rows: each row is the record of a sample with its ``prediction`` and ``score``.

    A metric may also have:

    - ``smaller_is_better``: the names of the values that improve as they fall, such as ``("perplexity",)``;
    - ``needs``: fields of rows that are costly and made only on request, such as ``("probabilities",)``;
    - ``resampled``: False if ``compute`` is too slow to be called hundreds of times: its values get no
      interval;
    - ``score_row(row) -> Row``: fields to add to a row before ``compute``, for the file of predictions;
    - ``tables(values, rows, train_records) -> Sequence[ResultTable]``: tables to print. ``train_records()``
      returns the records of the training split, or None if it is not available.
    """

    inputs: Mapping[
        str, str
    ]  # the measured output of the goal and its port: {"answer": "sequences Q n"}
    outputs: Mapping[
        str, str
    ]  # its values, the main one first; "?" marks values that some data lack

    def compute(self, rows: Sequence[Row]) -> Mapping[str, float]:
        """Return the values over all rows, the main one first; NaN if there is nothing to measure."""
        ...


@dataclass(frozen=True)
class ResultTable:
    """A table about an evaluation, as plain data.

    ``formats`` has a format for the cells of each column: empty for text, `.1%` for a fraction. A line is
    drawn above each row of ``sections``. ``values`` names the values that the table shows in full.
    """

    title: str
    columns: tuple[str, ...]
    formats: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    sections: tuple[int, ...] = ()
    values: tuple[str, ...] = ()


def metric(
    *,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    smaller_is_better: Sequence[str] = (),
    needs: Sequence[str] = (),
) -> Callable[[Function], Function]:
    """Make a metric of a function ``rows -> values``; see `Metric` for the arguments, which are literals."""

    def attach(function: Function) -> Function:
        declared = {
            "inputs": inputs,
            "outputs": outputs,
            "smaller_is_better": tuple(smaller_is_better),
            "needs": tuple(needs),
            "compute": function,
        }
        for name, value in declared.items():
            setattr(function, name, value)
        return function

    return attach


def load_metric(name: str) -> Metric:
    """Return a new metric of the registered name; raise `UserError` if it does not exist or cannot run."""
    registered = METRICS.load(name)
    return cast(Metric, registered() if inspect.isclass(registered) else registered)


def needed_fields(metrics: Iterable[Metric]) -> frozenset[str]:
    """Return the costly fields of rows that some metric asks for."""
    fields: set[str] = set()
    for metric in metrics:
        fields.update(getattr(metric, "needs", ()))
    return frozenset(fields)


def score_rows(metrics: Sequence[Metric], rows: Iterable[Row]) -> None:
    """Add to each row the fields that metrics compute for single rows."""
    scorers = [metric.score_row for metric in metrics if hasattr(metric, "score_row")]
    for row in rows:
        for score_row in scorers:
            row.update(score_row(row))
