"""Which classes are taken for which: counts of true and predicted classes, and what follows for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mplug2.metrics.metric import ResultTable, Row

OTHERS = "(others)"
UNREADABLE = "(cannot be read)"  # what an undecodable file is counted as
MAX_LINES = 50  # classes of a printed table


@dataclass(frozen=True)
class Confusion:
    """How many rows of each true class got each predicted class: ``counts`` [classes classes], int64."""

    classes: tuple[str, ...]
    counts: np.ndarray

    def merged(self, most: int) -> Confusion:
        """Return the counts of the ``most - 1`` most frequent classes, and of all others as one class."""
        if len(self.classes) <= most:
            return self
        frequency = self.counts.sum(axis=1) + self.counts.sum(axis=0)
        frequent = np.argsort(-frequency, kind="stable")[: most - 1]
        kept = sorted(frequent.tolist())
        # Each class has its number among the kept ones; those that are not kept share the last.
        group = np.full(len(self.classes), len(kept))
        group[kept] = np.arange(len(kept))
        counts = np.zeros((most, most), dtype=np.int64)
        np.add.at(counts, (group[:, None], group[None, :]), self.counts)
        names = [self.classes[index] for index in kept]
        return Confusion((*names, OTHERS), counts)

    def lines(self) -> list[dict[str, Any]]:
        """Return for each class its samples, predictions, precision, recall and F1.

        None is a recall without samples or a precision without predictions; F1 is 0 there, as
        in scikit-learn, unless the class has neither.
        """
        lines = []
        hits = self.counts.diagonal().tolist()
        samples = self.counts.sum(axis=1).tolist()
        predictions = self.counts.sum(axis=0).tolist()
        for index, name in enumerate(self.classes):
            num_samples, num_predicted = samples[index], predictions[index]
            line = {
                "class": name,
                "samples": num_samples,
                "predicted": num_predicted,
                "precision": _share(hits[index], num_predicted),
                "recall": _share(hits[index], num_samples),
                "f1": _share(2 * hits[index], num_samples + num_predicted),
            }
            lines.append(line)
        return lines


def confusion_of(rows: Sequence[Row]) -> Confusion | None:
    """Return the counts over all rows with one answer and a predicted text; None if there are none.

    Classes are in the order of the network's outputs if the rows have it (``classes``), else in that of the
    alphabet.
    """
    pairs: Counter[tuple[str, str]] = Counter()
    names: dict[str, None] = {}
    for row in rows:
        prediction = row.get("prediction")
        if len(row.get("answers", ())) != 1 or not isinstance(prediction, str):
            continue
        pairs[row["answers"][0], UNREADABLE if row.get("bad") else prediction] += 1
        if not names:
            names.update(dict.fromkeys(row.get("classes", ())))
    if not pairs:
        return None
    occurring = {name for pair in pairs for name in pair}
    names.update(dict.fromkeys(sorted(occurring - names.keys())))
    numbers = {name: number for number, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    for (true, predicted), count in pairs.items():
        counts[numbers[true], numbers[predicted]] = count
    return Confusion(tuple(names), counts)


def class_table(confusion: Confusion) -> ResultTable:
    """Return a table with a line for each class; of many classes those with the lowest F1."""
    lines = confusion.lines()
    title = "by class"
    if len(lines) > MAX_LINES:
        title = f"by class: the {MAX_LINES} with the lowest F1 of {len(lines)}"
        lines = sorted(lines, key=lambda line: line["f1"] or 0.0)[:MAX_LINES]
    columns = tuple(lines[0])
    rows = []
    for line in lines:
        rows.append(tuple(_cell(value) for value in line.values()))
    # Numbers are written here, since a share may be missing; any format aligns them to the right.
    return ResultTable(title, columns, ("", *(">" for _ in columns[1:])), tuple(rows))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.1%}" if isinstance(value, float) else str(value)


def _share(part: int, total: int) -> float | None:
    return part / total if total else None
