"""Questions about videos in the released annotation format, read with file and line of every mistake."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.errors import UserError

_FORM = "a line must be a JSON object with 'video_id', 'question' and 'answer'"


@dataclass(frozen=True)
class Question:
    """One question about one video; the weights of its answers sum to 1."""

    id: int | str
    video: str
    text: str
    answers: tuple[str, ...]
    weights: tuple[float, ...]
    kind: str | None = None

    def record(self, **more: Any) -> dict[str, Any]:
        """Return what evaluation writes down about a question."""
        known = {
            "question_id": self.id,
            "video_id": self.video,
            "question": self.text,
            "answers": list(self.answers),
        }
        return known | ({"type": self.kind} if self.kind is not None else {}) | more


def read_questions(path: Path) -> list[Question]:
    """Return the questions of an annotation file: JSON lines (one list of objects is read, too), plain or
    .gz.

    ``{"video_id": ..., "question": ..., "answer": "text" | ["text", ...] | {"text": votes}, "type"?,
    "question_id"?}``; without an id, a question's id is its number in the file, from 0. Several answers weigh
    as often as they were given.
    """
    return [_question(row, index, where) for index, (where, row) in enumerate(read_rows(path, _FORM))]


def read_rows(path: Path, form: str) -> Iterator[tuple[str, Any]]:
    """Yield the place and the JSON value of each line of a file; ``form`` is what a message says of a
    line."""
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8") as file
        ):
            text = file.read()
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise UserError(
            f"the annotation file {path} cannot be read ({error}); it must be UTF-8 JSON lines"
        ) from None
    if text.lstrip().startswith("["):
        try:
            rows = json.loads(text)
        except ValueError as error:
            raise UserError(f"{path}: the list of questions is no valid JSON ({error})") from None
        yield from ((f"{path}: entry {number}", row) for number, row in enumerate(rows, 1))
        return
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield f"{path}:{number}", json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}:{number}: {form}, but is no valid JSON ({error})") from None


def _question(row: Any, index: int, where: str) -> Question:
    if not isinstance(row, dict):
        raise UserError(f"{where}: {_FORM}, but is {_kind(row)}")
    missing = [name for name in ("video_id", "question", "answer") if name not in row]
    if missing:
        raise UserError(f"{where}: {_FORM}, but has no {' and no '.join(repr(name) for name in missing)}")
    video, text = row["video_id"], row["question"]
    if not isinstance(video, str | int) or isinstance(video, bool) or not str(video):
        raise UserError(f"{where}: 'video_id' must be a name, but is {_kind(video)}")
    if not isinstance(text, str):
        raise UserError(f"{where}: 'question' must be a text, but is {_kind(text)}")
    counts = _votes(row["answer"], where)
    total = sum(counts.values())
    return Question(
        id=row["question_id"] if "question_id" in row else row.get("id", index),
        video=str(video),
        text=text,
        answers=tuple(counts),
        weights=tuple(count / total for count in counts.values()),
        kind=row.get("type"),
    )


def _votes(answer: Any, where: str) -> dict[str, float]:
    if isinstance(answer, str | int | float) and not isinstance(answer, bool):
        return {str(answer): 1}
    if isinstance(answer, list) and answer and all(isinstance(one, str) for one in answer):
        return dict(Counter(answer))
    if (
        isinstance(answer, dict)
        and answer
        and all(isinstance(n, int | float) and n > 0 for n in answer.values())
    ):
        return answer
    raise UserError(
        f"{where}: 'answer' must be a text, a list of texts or texts with votes, but is {_kind(answer)}"
    )


def _kind(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
