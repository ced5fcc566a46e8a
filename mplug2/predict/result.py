"""The prediction for a file, in Python, as JSON and as text."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from mplug2.runtime.jsonl import json_line

Box = tuple[
    float, float, float, float
]  # left, top, right, bottom in pixels of the file


@dataclass(frozen=True)
class Prediction:
    """One answer, caption or class with its score, or a box.

    The score of a written text is the search's (beam search: scaled log-probability, at most 0), that of a
    class its probability.
    """

    text: str
    score: float | None = None
    box: Box | None = None

    def row(self) -> dict[str, Any]:
        """Return it as JSON: ``{"text", "score"}`` or ``{"box"}``."""
        if self.box is not None:
            return {"box": list(self.box)}
        return {"text": self.text, "score": self.score}

    def __repr__(self) -> str:
        if self.box is not None:
            return f"Prediction(box={self.box})"
        return f"Prediction({self.text!r}, {self.score:.3f})"

    def __str__(self) -> str:
        if self.box is not None:
            return "box " + " ".join(f"{value:.0f}" for value in self.box)
        return f"{self.text or '(nothing)'} ({self.score:.3f})"


@dataclass(frozen=True)
class Look:
    """The size of a file in pixels, and a few JPEG images of it if they were requested."""

    width: int
    height: int
    pictures: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Result:
    """The prediction for one file, a pair, or a text; ``guesses`` are best first.

    ``text``, ``score`` and ``box`` are those of the best. A file that cannot be read has no guess; ``error``
    is the reason.
    """

    media: tuple[str, ...]
    key: str  # "video", "image", "images", or "text" where there are no files
    guesses: tuple[Prediction, ...]
    question: str | None = None
    error: str | None = None
    looks: tuple[Look, ...] = field(default=(), compare=False)
    # What the network did not know or see: unknown words of the question, parts of a long video.
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The best answer, caption or class; empty for a box and where there is none."""
        return self.guesses[0].text if self.guesses else ""

    @property
    def score(self) -> float | None:
        """The best one's score."""
        return self.guesses[0].score if self.guesses else None

    @property
    def box(self) -> Box | None:
        """The box that was found: left, top, right, bottom in pixels of the file."""
        return self.guesses[0].box if self.guesses else None

    @property
    def numbers(self) -> bool:
        """Whether all scores and boxes are finite numbers: they are not where weights are damaged."""
        given = [
            one
            for guess in self.guesses
            for one in (guess.score, *(guess.box or ()))
            if one is not None
        ]
        return all(map(math.isfinite, given))

    @property
    def alternatives(self) -> tuple[Prediction, ...]:
        """The next best ones."""
        return self.guesses[1:]

    @property
    def name(self) -> str:
        """The file's path, or both of a pair, for display: without control characters."""
        return printable(" + ".join(self.media))

    def row(self) -> dict[str, Any]:
        """Return it as JSON: its file and question with ``answers`` (best first), ``box`` or ``error``, and
        ``notes`` if there are any."""
        row: dict[str, Any] = {}
        if self.media:
            row[self.key] = list(self.media) if len(self.media) > 1 else self.media[0]
        if self.error is not None:
            return row | {"error": self.error}
        if self.question is not None:
            row["question" if self.media else self.key] = self.question
        if self.notes:
            row["notes"] = list(self.notes)
        if self.box is not None:
            return row | {"box": list(self.box)}
        return row | {"answers": [guess.row() for guess in self.guesses]}

    def __str__(self) -> str:
        return (
            f"cannot be read: {self.error}"
            if self.error is not None
            else str(self.guesses[0])
        )

    def __repr__(self) -> str:
        said = [f"{self.key}={', '.join(self.media)!r}"] if self.media else []
        if self.question is not None:
            said.append(f"question={self.question!r}")
        if self.error is not None:
            said.append(f"error={self.error!r}")
        elif self.box is not None:
            said.insert(0, f"box={tuple(round(value, 1) for value in self.box)}")
        else:
            said[:0] = [repr(self.text), f"score={self.score:.3f}"]
        return f"Result({', '.join(said)})"


def line(result: Result, encoding: str = "utf-8") -> str:
    """Return a result as one line of JSON; what ``encoding`` cannot write is escaped, and a number that is
    none is null."""
    return json_line(result.row(), encoding)


def printable(text: str) -> str:
    """Return a text that cannot move the cursor, colour the terminal or break a file's encoding."""
    return "".join(
        one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text
    )
