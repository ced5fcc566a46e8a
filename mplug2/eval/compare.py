"""Compare the reports of several runs on the same samples: is a difference more than chance?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mplug2.data.files import read_bytes
from mplug2.data.json_text import JsonError, parse_json
from mplug2.data.rows import read_rows, shown
from mplug2.eval.bootstrap import Difference, paired_difference, resampled_values
from mplug2.eval.report import FORMAT, PREDICTIONS, REPORT, file_of
from mplug2.metrics.metric import Metric, Row, load_metric
from registry import METRICS, UserError

MAX_REPORT = 256 << 20  # bytes; confusion of 1,000 classes takes a few megabytes
_FORM = "a line must be a JSON object, a row that `mplug2 eval --report` wrote"
# What two runs must agree in, where their rows have it: which sample it is, and what is right.
_SAMPLE_FIELDS = (
    "question_id",
    "query",
    "video_id",
    "image",
    "images",
    "question",
    "answers",
    "references",
    "value",
)


@dataclass(frozen=True)
class MeasuredRun:
    """The report of a run: its folder, and the entry of each evaluation by name."""

    folder: Path
    entries: dict[str, dict[str, Any]]

    def rows(self, evaluation: str) -> list[Row]:
        """Return the predictions of an evaluation."""
        path = file_of(self.folder, PREDICTIONS, evaluation)
        rows = []
        for where, row in read_rows(path, _FORM, half_characters=True):
            if not isinstance(row, dict):
                raise UserError(f"{where}: {_FORM} (got {shown(row)}). Write it again")
            rows.append(row)
        return rows


@dataclass(frozen=True)
class Comparison:
    """One value of one evaluation in a run, compared with the same value in the first run."""

    evaluation: str
    value: str
    run: int
    difference: Difference


def read_run(folder: Path) -> MeasuredRun:
    """Read the report in a folder, or in its folder `report`; UserError if there is none or it is damaged."""
    candidates = (folder / REPORT, folder / "report" / REPORT)
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        raise UserError(
            f"{folder}: must hold {REPORT}, but does not. Write it: "
            f"mplug2 eval SPEC -c CHECKPOINT --report {folder}"
        )
    try:
        report = parse_json(read_bytes(path, MAX_REPORT).decode("utf-8"))
    except (UnicodeDecodeError, JsonError) as error:
        raise UserError(f"{path}: must be a report in JSON ({error})") from None
    entries = {}
    for entry in _entries(report, path):
        entries[entry["name"]] = entry
    return MeasuredRun(path.parent, entries)


def compare_runs(runs: Sequence[MeasuredRun]) -> list[Comparison]:
    """Return how the values of each further run differ from those of the first, by the paired bootstrap.

    Evaluations that all runs have are compared, by the metrics that can be computed again from the files.
    UserError if a run was measured on other samples.
    """
    first, *others = runs
    comparisons = []
    for name in first.entries:
        if any(name not in other.entries for other in others):
            continue
        metrics = comparable_metrics(first.entries[name])
        first_rows = first.rows(name)
        first_values = resampled_values(metrics, first_rows)
        first_result = _result(metrics, first_rows)
        for number, other in enumerate(others, 1):
            rows = other.rows(name)
            _check_same_samples(first, other, name, first_rows, rows)
            values, result = resampled_values(metrics, rows), _result(metrics, rows)
            for value in first_values.keys() & values.keys():
                observed = result[value] - first_result[value]
                difference = paired_difference(
                    first_values[value], values[value], observed
                )
                if difference is not None and math.isfinite(observed):
                    comparisons.append(Comparison(name, value, number, difference))
    order = {value: number for number, value in enumerate(_value_names(first))}
    comparisons.sort(key=lambda row: (row.run, row.evaluation, order.get(row.value, 0)))
    return comparisons


def comparable_metrics(entry: dict[str, Any]) -> list[Metric]:
    """Return the metrics of an evaluation that the written rows are enough for, and that are fast."""
    metrics = []
    for name in entry["metrics"]:
        registered = METRICS.load(name)
        # What a metric needs is not written, unless it reduced it to a field of each row.
        is_enough = not getattr(registered, "needs", ()) or hasattr(
            registered, "score_row"
        )
        if is_enough and getattr(registered, "resampled", True):
            metrics.append(load_metric(name))
    return metrics


def _value_names(run: MeasuredRun) -> list[str]:
    names: dict[str, None] = {}
    for entry in run.entries.values():
        names.update(dict.fromkeys(entry["values"]))
    return list(names)


def _result(metrics: Sequence[Metric], rows: Sequence[Row]) -> dict[str, float]:
    values: dict[str, float] = {}
    for metric in metrics:
        values.update(metric.compute(rows))
    return values


def _check_same_samples(
    first: MeasuredRun,
    other: MeasuredRun,
    evaluation: str,
    first_rows: Sequence[Row],
    rows: Sequence[Row],
) -> None:
    """Raise UserError if two runs were not measured on the same samples."""
    label = f"evaluation '{evaluation}'" if evaluation else "evaluation"
    problem = ""
    if len(first_rows) != len(rows):
        problem = f"{len(rows)} samples, not {len(first_rows)}"
    for number, (left, right) in enumerate(zip(first_rows, rows, strict=False), 1):
        if problem:
            break
        for field in _SAMPLE_FIELDS:
            if left.get(field) != right.get(field):
                here, there = shown(right.get(field)), shown(left.get(field))
                problem = f"'{field}' of row {number} is {here}, not {there}"
                break
    if problem:
        raise UserError(
            f"{other.folder}: the {label} must be over the samples of {first.folder} (got {problem}). "
            "Measure both on one split"
        )


def _entries(report: Any, path: Path) -> list[dict[str, Any]]:
    """Return the entries of a report; UserError if it is not one."""
    entries = report.get("evaluations") if isinstance(report, dict) else None
    is_report = isinstance(entries, list) and report.get("format") == FORMAT
    if not is_report or not all(map(_is_entry, entries or ())):
        raise UserError(
            f"{path}: must be a report of format {FORMAT}, but is not. "
            "Write it again with `mplug2 eval --report`"
        )
    return list(entries or ())


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        return False
    metrics, values = entry.get("metrics"), entry.get("values")
    if not isinstance(metrics, list) or not isinstance(values, dict):
        return False
    named = all(isinstance(name, str) for name in metrics)
    return named and all(map(_is_value, values.values()))


def _is_value(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    numbers = [value.get(key) for key in ("value", "low", "high")]
    return all(number is None or isinstance(number, float | int) for number in numbers)
