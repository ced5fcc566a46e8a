"""JSON from data files: what it may hold is bounded, and every refusal is a clause for a message."""

from __future__ import annotations

import json
from typing import Any

DIGITS = 18  # of an integer: 64 bits hold all of these
LONGEST_TEXT = 100_000  # characters


class JsonError(ValueError):
    """Why a text is refused, as a clause: "is nested too deeply"."""


def parse_json(text: str, *, half_characters: bool = False) -> Any:
    """Return the value of a JSON text.

    Raises JsonError if it is not JSON, is nested too deeply, or holds a larger integer than 64 bits, half a
    character, or a text above ``LONGEST_TEXT`` characters. ``half_characters`` are accepted in predictions:
    a network that writes bytes can produce them.
    """
    try:
        value = json.loads(text, parse_int=_integer)
    except RecursionError:
        raise JsonError("is nested too deeply") from None
    except JsonError:
        raise
    except ValueError as error:
        raise JsonError(f"is not valid JSON ({error})") from None
    # Only escapes such as \ud83d make half characters: the file itself is UTF-8.
    if len(text) > LONGEST_TEXT or "\\u" in text:
        _check_texts(value, half_characters)
    return value


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > DIGITS:
        raise JsonError(
            f"holds an integer of {len(digits.lstrip('-'))} digits (at most {DIGITS}): write it as a text"
        )
    return int(digits)


def _check_texts(value: Any, half_characters: bool) -> None:
    pending = [value]
    while pending:
        entry = pending.pop()
        if isinstance(entry, dict):
            pending += entry.keys()
            pending += entry.values()
        elif isinstance(entry, list):
            pending += entry
        elif isinstance(entry, str):
            _check_text(entry, half_characters)


def _check_text(text: str, half_characters: bool) -> None:
    if len(text) > LONGEST_TEXT:
        raise JsonError(
            f"holds a text of {len(text)} characters (at most {LONGEST_TEXT})"
        )
    if half_characters:
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = ascii(text[error.start])[1:-1]
        raise JsonError(
            f"holds half a character ({half} without its other half)"
        ) from None
