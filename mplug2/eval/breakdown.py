"""Accuracy by type of question, beside what a constant answer per type would reach; recall both ways."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

Row = Mapping[str, Any]
ALL = "all"


@dataclass(frozen=True)
class Line:
    """One type of question: how many, the share answered right, and the share that the most frequent answer
    gets right."""

    type: str
    samples: int
    accuracy: float
    majority: float


def question_type(row: Row) -> str:
    """The record's own type, or the first word of its question (what, who, how), as released results are
    broken down."""
    own = row.get("type")
    words = str(row.get("question", "")).split()
    return str(own) if own else words[0].lower() if words else "?"


def most_frequent(rows: Iterable[Row]) -> dict[str, str]:
    """The most frequent answer of each type; of equally frequent ones the first in the alphabet."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        counts[question_type(row)].update(str(answer) for answer in row.get("answers", ()))
    return {kind: min(c, key=lambda answer: (-c[answer], answer)) for kind, c in counts.items() if c}


def by_type(rows: Sequence[Row], prior: Mapping[str, str]) -> list[Line]:
    """A line per type, in alphabetical order, and one over all, of the rows with a ``correct`` mark and
    answers (boxes have none); empty where there is no such row."""
    rows = [row for row in rows if row.keys() >= {"correct", "answers"}]
    if not rows:
        return []
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[question_type(row)].append(row)
    lines = [_line(kind, groups[kind], prior) for kind in sorted(groups)]
    return [*lines, _line(ALL, rows, prior)]


def table(lines: Sequence[Line], baseline: str) -> Table:
    """The lines as a table to print."""
    shown = Table(
        "type", title=f"accuracy by type; majority: the most frequent answer per type of {baseline}"
    )
    for heading in ("samples", "accuracy", "majority"):
        shown.add_column(heading, justify="right")
    for line in lines:
        if line.type == ALL:
            shown.add_section()
        shown.add_row(line.type, str(line.samples), f"{line.accuracy:.1%}", f"{line.majority:.1%}")
    return shown


def recall_table(metrics: Mapping[str, float]) -> Table | None:
    """R@1, R@5 and R@10 both ways as a table; by similarity alone, too, where it was re-ranked. None without
    recall."""
    if "tr_r1" not in metrics:
        return None
    shown = Table("a query", "finds", "ordered by", title="recall")
    for depth in (1, 5, 10):
        shown.add_column(f"R@{depth}", justify="right")
    orders = {"": "re-ranking", "sim_": "similarity"} if "sim_tr_r1" in metrics else {"": "similarity"}
    for direction, *names in (
        ("tr", "image or video", "its captions"),
        ("ir", "caption", "its image or video"),
    ):
        for prefix, order in orders.items():
            values = [f"{metrics[f'{prefix}{direction}_r{depth}']:.1%}" for depth in (1, 5, 10)]
            shown.add_row(*names, order, *values)
    return shown


def _line(kind: str, rows: Sequence[Row], prior: Mapping[str, str]) -> Line:
    guessed = sum(prior.get(question_type(row)) in [str(a) for a in row.get("answers", ())] for row in rows)
    return Line(kind, len(rows), sum(row["correct"] for row in rows) / len(rows), guessed / len(rows))
