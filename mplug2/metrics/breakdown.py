"""Accuracy by type of question, compared with the most frequent answer of each type."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mplug2.metrics.metric import ResultTable, Row, TrainRecords

ALL = "all"
TRAIN, THIS = "the training split", "this split"


@dataclass(frozen=True)
class Line:
    """One type of question: its samples, and the fractions that predictions and the majority get right."""

    type: str
    samples: int
    accuracy: float
    majority: float


def question_type(row: Row) -> str:
    """Return the record's own type, or the first word of its question (what, who, how).

    Released results on video question answering are broken down in this way.
    """
    own_type = row.get("type")
    if own_type:
        return str(own_type)
    words = str(row.get("question", "")).split()
    return words[0].lower() if words else "?"


def most_frequent(rows: Iterable[Row]) -> dict[str, str]:
    """Return the most frequent answer of each type; of equally frequent ones the first in the alphabet."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        answers = [str(answer) for answer in row.get("answers", ())]
        counts[question_type(row)].update(answers)
    frequent = {}
    for kind, counter in counts.items():
        if counter:
            frequent[kind] = min(counter, key=lambda answer: (-counter[answer], answer))
    return frequent


def by_type(rows: Sequence[Row], prior: Mapping[str, str]) -> list[Line]:
    """Return a line for each type in alphabetical order, then one over all rows.

    Only rows with answers and a ``correct`` mark count (boxes have no answers). The list may be empty.
    """
    rows = [row for row in rows if row.keys() >= {"correct", "answers"}]
    if not rows:
        return []
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[question_type(row)].append(row)
    lines = [_line(kind, groups[kind], prior) for kind in sorted(groups)]
    return [*lines, _line(ALL, rows, prior)]


def accuracy_by_type(
    rows: Sequence[Row], train_records: TrainRecords
) -> list[ResultTable]:
    """Return the table of `by_type`, or nothing; majority answers come from training if it is available."""
    if not any(row.keys() >= {"correct", "answers"} for row in rows):
        return []
    records = train_records()
    baseline = THIS if records is None else TRAIN
    lines = by_type(rows, most_frequent(rows if records is None else records))
    cells = []
    for line in lines:
        cells.append((line.type, line.samples, line.accuracy, line.majority))
    return [
        ResultTable(
            title=f"accuracy by type; majority: the most frequent answer per type of {baseline}",
            columns=("type", "samples", "accuracy", "majority"),
            formats=("", "d", ".1%", ".1%"),
            rows=tuple(cells),
            # A rule before the last line, which is over all types.
            sections=(len(lines) - 1,),
        )
    ]


def _line(kind: str, rows: Sequence[Row], prior: Mapping[str, str]) -> Line:
    correct = majority_correct = 0
    for row in rows:
        correct += row["correct"]
        answers = [str(answer) for answer in row["answers"]]
        # A type that the training split lacks has no most frequent answer.
        majority_correct += prior.get(question_type(row)) in answers
    return Line(kind, len(rows), correct / len(rows), majority_correct / len(rows))
