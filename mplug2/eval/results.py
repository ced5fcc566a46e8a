"""Result files that evaluation servers take: answers as VQA's, captions as COCO's, tables as GLUE's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mplug2.data.rows import fields, names, read_rows, shown
from mplug2.runtime.atomic_write import atomic_write
from mplug2.runtime.jsonl import json_line
from registry import METRICS, TASKS, Spec, UserError
from registry.evaluations import EvaluationSpec
from registry.training import training_plan

_FORM = "a line must be a JSON object that names its image or video"
# The kinds of what metrics measure.
_TEXT_KINDS = ("sequences",)
_TABLE_KINDS = ("logits", "scores")
# File names of COCO end in the number of the image.
_COCO = re.compile(r"(?:COCO_\w+_)?(\d{12})\.\w+")


QUESTIONS = "an integer  'question_id' in every line"
IMAGES = (
    "the number of every image: in its file's name as COCO has it (12 digits), or an integer 'question_id' "
    "in its line"
)


@dataclass(frozen=True)
class Results:
    """What a split's predictions become: ``[{"question_id", "answer"}]``, or, where the ``images`` by their
    names have numbers, ``[{"image_id", "caption"}]``."""

    images: dict[str, int] | None = None

    @property
    def noun(self) -> str:
        """What the rows of the file are, for messages."""
        return "answers" if self.images is None else "captions"

    def write(self, predictions: Path, path: Path) -> int:
        """Write a result file from the predictions that `mplug2 eval --out` wrote; return how many rows."""
        entries = []
        for where, row in read_rows(predictions, _FORM, half_characters=True):
            prediction = row["prediction"]
            if self.images is None:
                entry = {"question_id": row["question_id"], "answer": prediction}
            else:
                number = self.images[_name(row, where)]
                entry = {"image_id": number, "caption": prediction}
            entries.append(entry)
        with atomic_write(path) as file:
            file.write(json_line(entries))
        return len(entries)


@dataclass(frozen=True)
class TableResults:
    """A split's predictions as GLUE's server takes them: lines ``index<TAB>prediction`` under a header.

    ``labels`` holds the value that the data files write for the name of a class. Numbers are cut to
    ``value_range``, and written with three digits.
    """

    labels: Mapping[str, str]
    value_range: Sequence[float] | None = None
    noun = "predictions"

    def write(self, predictions: Path, path: Path) -> int:
        """Write a table from the predictions that `mplug2 eval --out` wrote; return how many rows."""
        num_rows = 0
        with atomic_write(path) as file:
            file.write("index\tprediction\n")
            for _, row in read_rows(predictions, _FORM, half_characters=True):
                file.write(f"{row['question_id']}\t{self._value(row['prediction'])}\n")
                num_rows += 1
        return num_rows

    def _value(self, prediction: str | float) -> str:
        if isinstance(prediction, str):
            return self.labels.get(prediction, prediction)
        if self.value_range is not None:
            least, greatest = self.value_range
            prediction = min(max(prediction, least), greatest)
        return f"{prediction:.3f}"


def results_of(spec: Spec, evaluation: EvaluationSpec) -> Results | TableResults:
    """Return how the predictions of an evaluation become a result file; UserError if they cannot.

    The task must have a ``submission``: `answers` or `captions` if the metrics measure generated text and the
    annotation file numbers its questions or images, `table` if they measure classes or numbers.
    """
    source = training_plan(spec).sources.get(evaluation.source)
    task = source.task if source is not None else None
    submission = (
        getattr(TASKS.load(task), "submission", None) if task is not None else None
    )
    ports = [
        port
        for name in evaluation.metrics
        for port in METRICS.declaration(name).inputs.values()
    ]
    kinds = _TABLE_KINDS if submission == "table" else _TEXT_KINDS
    if (
        source is None
        or submission is None
        or any(port.kind not in kinds for port in ports)
    ):
        raise UserError(
            f"{spec.place('data', 'kind')}: --submission must have answers or captions in words (data.kind "
            f"question_answer or caption, and metrics of such), but data.kind is {task} and eval.metrics are "
            f"{', '.join(evaluation.metrics)}; --out FILE.jsonl writes predictions of any kind"
        )
    arguments = source.arguments | source.splits.get(evaluation.split, {})
    if submission == "table":
        return TableResults(
            _values_of_labels(arguments.get("labels")), arguments.get("value_range")
        )
    path = arguments.get("path")
    if not isinstance(path, str):
        raise UserError(
            f"{spec.place('data')}: data.{evaluation.split}.path must name an annotation file, but is not set"
        )
    if submission == "captions":
        return Results(_images(Path(path)))
    _numbers(
        (
            (at, at, row.get("question_id", row.get("id")))
            for at, row in _rows(Path(path))
        ),
        QUESTIONS,
    )
    return Results()


def _values_of_labels(labels: Any) -> dict[str, str]:
    """Return the first value in the data files of each class; empty if they write the names themselves."""
    values: dict[str, str] = {}
    if isinstance(labels, dict):
        for value, name in labels.items():
            values.setdefault(name, str(value))
    return values


def _images(path: Path) -> dict[str, int]:
    """The numbers of the images by their names."""
    first: dict[str, tuple[str, str, Any]] = {}
    for where, row in _rows(path):
        name = _name(row, where)
        match = _COCO.fullmatch(PurePosixPath(name).name)
        first.setdefault(
            name,
            (where, name, row.get("question_id", int(match[1]) if match else None)),
        )
    return _numbers(first.values(), IMAGES)


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for where, row in read_rows(path, _FORM):
        fields(row, where, _FORM)
        yield where, row


def _name(row: dict[str, Any], where: str) -> str:
    return names(row, where)[1][0]


def _numbers(given: Iterable[tuple[str, str, Any]], need: str) -> dict[str, int]:
    """Numbers by name; raise UserError if a number is missing or occurs twice."""
    numbers: dict[str, int] = {}
    places: dict[int, str] = {}
    for where, name, number in given:
        if isinstance(number, bool) or not isinstance(number, int):
            what = "has none" if number is None else f"has {shown(number)}"
            raise UserError(f"{where}: --submission needs {need}, but this one {what}")
        if number in places:
            raise UserError(
                f"{where}: --submission needs {need}, but {number} is at {places[number]}, too"
            )
        places[number], numbers[name] = where, number
    return numbers
