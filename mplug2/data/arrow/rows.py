"""Rows of ViLT's and VLMo's tables as the lines of our annotation files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mplug2.data.arrow.table import ArrowTable
from registry.errors import UserError

Line = dict[str, Any]
# VQA's scores, and how many of ten annotators gave an answer with that score: 4 or more for 1.
VOTES = {0.3: 1, 0.6: 2, 0.9: 3, 1.0: 4}


def lines_of(table: ArrowTable) -> Iterator[Line]:
    """Yield the lines of a table; UserError if its columns are those of no program."""
    for columns, lines in _LINES.items():
        if table.columns.issuperset(columns):
            for row in range(len(table)):
                cells = {
                    column: table.value(row, column)
                    for column in table.columns - set(_IMAGES)
                }
                yield from lines(table, row, cells)
            return
    choices = "; or ".join(" and ".join(columns) for columns in _LINES)
    raise UserError(
        f"{table.path} must have the columns {choices}; it has {', '.join(sorted(table.columns))}"
    )


def media_name(table: ArrowTable, row: int, column: str = "image") -> str:
    """Return the name of an image in annotations and results: TABLE/ROW.COLUMN, rows from 0."""
    return f"{table.path.stem}/{row}.{column}"


def _captions(table: ArrowTable, row: int, cells: Mapping[str, Any]) -> Iterator[Line]:
    texts = cells["caption"]
    if texts is None:
        raise UserError(
            f"{table.path}: row {row + 1} must have a list of captions, but 'caption' is null"
        )
    if texts:
        yield {"image": media_name(table, row), "caption": texts}


def _questions(table: ArrowTable, row: int, cells: Mapping[str, Any]) -> Iterator[Line]:
    for number, question in enumerate(cells["questions"]):
        line: Line = {"image": media_name(table, row), "question": question}
        if cells.get("question_id"):
            line["question_id"] = cells["question_id"][number]
        answers = cells["answers"][number]
        if answers:
            scores = cells["answer_scores"][number]
            line["answer"] = {
                answer: VOTES[score]
                for answer, score in zip(answers, scores, strict=True)
                if score in VOTES
            }
        yield line


def _pairs(table: ArrowTable, row: int, cells: Mapping[str, Any]) -> Iterator[Line]:
    images = [media_name(table, row, column) for column in _IMAGES[1:]]
    for sentence, answer in zip(cells["questions"], cells["answers"], strict=True):
        yield {"images": images, "sentence": sentence, "label": answer}


_IMAGES = ("image", "image_0", "image_1")
_LINES: dict[
    tuple[str, ...], Callable[[ArrowTable, int, Mapping[str, Any]], Iterator[Line]]
] = {
    ("image", "caption"): _captions,
    ("image", "questions", "answers", "answer_scores"): _questions,
    ("image_0", "image_1", "questions", "answers"): _pairs,
}
