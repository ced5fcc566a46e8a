"""Lines of annotation files, and questions in the released format, with file and line of every mistake."""

from __future__ import annotations

import json
import reprlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mplug2.data.files import read_text
from mplug2.data.json_text import JsonError, parse_json
from registry.errors import UserError

_FORM = (
    "a line must be a JSON object with 'video_id' (or 'image'), 'question' and 'answer'"
)
_KINDS = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "a number",
    float: "a number",
}
_JSON = json.JSONEncoder(default=reprlib.repr)


@dataclass(frozen=True)
class Question:
    """One question about one video or image, and how often each of its answers was given."""

    id: int | str
    media: tuple[str, ...]
    text: str
    answers: tuple[str, ...]
    counts: tuple[float, ...]
    kind: str | None = None
    key: str = "video_id"
    weight: float = 1.0  # weight of the question in training

    @property
    def weights(self) -> tuple[float, ...]:
        """The weight of each answer: its fraction of the question's weight."""
        total = sum(self.counts)
        return tuple(self.weight * count / total for count in self.counts)

    def record(self, **more: Any) -> dict[str, Any]:
        """Return what evaluation writes down about a question."""
        record: dict[str, Any] = {"question_id": self.id}
        if self.media:
            record[self.key] = self.media[0]
        record |= {"question": self.text, "answers": list(self.answers)}
        if len(self.answers) > 1:
            record["counts"] = list(self.counts)
        if self.kind is not None:
            record["type"] = self.kind
        return record | more


def read_questions(
    path: Path, answers: Literal["needed", "absent too"] = "needed"
) -> list[Question]:
    """Return the questions of an annotation file: JSON lines (one list of objects is read, too), plain or
    .gz.

    ``{"video_id" | "image": ..., "question": ..., "answer": "text" | ["text", ...] | {"text": votes},
    "type"?, "question_id"?, "weight"?}``; without an id, a question's id is its number in the file, from 0.
    Several answers weigh as often as they were given, all together 1, or ``weight``. ``absent too``: a file
    may have no answers at all (test splits whose answers only a server knows).
    """
    rows = list(read_rows(path, _FORM))
    # A file with some answers must have all: a line without one is then a mistake, not a test split.
    has_answers = any(isinstance(row, dict) and "answer" in row for _, row in rows)
    required: tuple[str, ...] = ("question",)
    if has_answers or answers == "needed":
        required = ("question", "answer")
    questions = []
    for index, (where, row) in enumerate(rows):
        questions.append(_question(row, index, where, required))
    return questions


def read_rows(
    path: Path, form: str, *, half_characters: bool = False
) -> Iterator[tuple[str, Any]]:
    """Yield the place and the JSON value of each line of a file, plain or .gz; ``form`` describes a line
    in messages. ``half_characters`` are accepted in files of predictions."""
    text = read_text(path)
    if text.lstrip().startswith("["):
        try:
            rows = parse_json(text, half_characters=half_characters)
        except JsonError as error:
            raise UserError(f"{path}: the list of annotations {error}") from None
        for number, row in enumerate(rows, 1):
            yield f"{path}: entry {number}", row
        return
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield f"{path}:{number}", parse_json(line, half_characters=half_characters)
        except JsonError as error:
            raise UserError(f"{path}:{number}: {form}, but {error}") from None


def fields(row: Any, where: str, form: str, *required: str) -> dict[str, Any]:
    """Return a line that is an object with the ``required`` keys (``a|b``: one of them) and names its media.

    Raise UserError with the names of missing keys.
    """
    if not isinstance(row, dict):
        raise UserError(f"{where}: {form}, but is {kind_of(row)}")
    missing = []
    for choices in ("video_id|image|images|left", *required):
        keys = choices.split("|")
        if row.keys().isdisjoint(keys):
            missing.append(repr(keys[0]))
    if missing:
        raise UserError(f"{where}: {form}, but has no {' and no '.join(missing)}")
    return row


def names(row: dict[str, Any], where: str) -> tuple[str, tuple[str, ...]]:
    """Return the key under which a line names its media, and the names, which stay inside the media
    folder."""
    key = next(key for key in ("video_id", "image", "images", "left") if key in row)
    if key == "images":
        listed = row[key]
    elif key == "left":
        listed = [row["left"], row.get("right")]
    else:
        listed = [row[key]]
    if isinstance(listed, list) and listed and all(map(_is_name, listed)):
        inside = tuple(media_name(str(name), where) for name in listed)
        return "images" if len(listed) > 1 else key, inside
    what = "a name" if key in ("video_id", "image") else "two names"
    raise UserError(
        f"{where}: '{key}' must be {what}, but is {shown(listed[0] if what == 'a name' else listed)}"
    )


def _is_name(value: Any) -> bool:
    # Numbers are names, too (COCO's image ids); true and false are integers in Python only.
    is_text = isinstance(value, str | int) and not isinstance(value, bool)
    return is_text and bool(str(value))


def media_name(name: str, where: str) -> str:
    """Return a file name of an annotation, which must not lead out of the media folder."""
    if "\\" in name:
        raise UserError(
            f"{where}: a file name must be written with / instead of \\, but is {shown(name)}"
        )
    # Annotations may come from anywhere: a name must not read files outside the media folder.
    leaves = name.startswith("/") or ".." in name.split("/")
    if not name or leaves or not name.isprintable():
        raise UserError(
            f"{where}: a file name must stay inside the media folder (no '..', no leading '/'), "
            f"but is {shown(name)}"
        )
    return name


def text(row: dict[str, Any], key: str, where: str) -> str:
    """Return the text under ``key``; raise UserError if it is not a text."""
    if not isinstance(row[key], str):
        raise UserError(f"{where}: '{key}' must be a text, but is {shown(row[key])}")
    return row[key]


def kind_of(value: Any) -> str:
    """Return what a JSON value is, in words: of a file that is not an annotation file, nothing is quoted."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    return _KINDS.get(type(value), type(value).__name__)


def shown(value: Any) -> str:
    """Return a value as a message quotes it: JSON, cut short; a value that is not JSON in Python's form."""
    quoted = ""
    try:
        # In parts: a huge value is not written to its end.
        for part in _JSON.iterencode(value):
            quoted += part
            if len(quoted) > 40:
                break
    except (TypeError, ValueError, RecursionError):
        # Keys that are not texts, and recursive values.
        quoted = reprlib.repr(value)
    return quoted if len(quoted) <= 40 else f"{quoted[:37]}..."


def _question(row: Any, index: int, where: str, needed: tuple[str, ...]) -> Question:
    fields(row, where, _FORM, *needed)
    key, media = names(row, where)
    asked = text(row, "question", where)
    counts = _votes(row["answer"], where) if "answer" in needed else {}
    return Question(
        id=row["question_id"] if "question_id" in row else row.get("id", index),
        media=media,
        text=asked,
        answers=tuple(counts),
        counts=tuple(counts.values()),
        kind=row.get("type"),
        key=key,
        weight=_weight(row.get("weight", 1.0), where),
    )


def _positive(value: Any) -> bool:
    """Whether a value is a number that sums and shares can be made of."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 1e-9 < value < 1e9


def _weight(value: Any, where: str) -> float:
    if not _positive(value):
        raise UserError(
            f"{where}: 'weight' must be a positive number, but is {shown(value)}"
        )
    return float(value)


def _votes(answer: Any, where: str) -> dict[str, float]:
    votes = _all_votes(answer, where)
    filled = {text: count for text, count in votes.items() if text.strip()}
    if not filled:
        raise UserError(
            f"{where}: 'answer' must be a text, but is empty. Remove the line, or answer it"
        )
    return filled


def _all_votes(answer: Any, where: str) -> dict[str, float]:
    if isinstance(answer, str | int | float) and not isinstance(answer, bool):
        return {str(answer): 1}
    # A list has the answer of each annotator: one that was given more often weighs more.
    if isinstance(answer, list) and answer:
        if all(isinstance(item, str) for item in answer):
            return dict(Counter(answer))
    elif isinstance(answer, dict) and answer and all(map(_positive, answer.values())):
        return answer
    raise UserError(
        f"{where}: 'answer' must be a text, a list of texts or texts with votes, but is {shown(answer)}"
    )
