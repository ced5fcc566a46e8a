"""What a person may ask: a text with at least one word in it."""

from __future__ import annotations

from typing import Any

from mplug2.data.text import clean_caption
from registry.errors import UserError


def judge_text(text: Any, what: str) -> None:
    """UserError unless a network can be told ``text``: letters and words, not punctuation alone."""
    if not isinstance(text, str):
        raise UserError(f"{what} must be a text, but is {text!r}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"{what} must be valid text (UTF-8), but is {text!a}") from None
    if not clean_caption(text, 1).strip():
        raise UserError(f"{what} must have at least one word, but is {text!r}")
