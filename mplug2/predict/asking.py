"""Check the text of a user: it must have at least one word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modules.streams import Text
from mplug2.data.text_cleaning import clean_caption
from registry import MODULES, UserError

if TYPE_CHECKING:
    from registry import Spec


def check_text(text: Any, what: str) -> None:
    """Raise UserError unless a network can read ``text``: letters and words, not punctuation alone."""
    if not isinstance(text, str):
        raise UserError(f"{what} must be a text, but is {text!r}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"{what} must be valid text (UTF-8), but is {text!a}") from None
    if not clean_caption(text, 1).strip():
        raise UserError(f"{what} must have at least one word, but is {text!r}")


def check_length(spec: Spec, name: str, text: Text) -> None:
    """UserError where texts are longer than a module that reads the input ``name`` has positions for."""
    for equation in spec.flow.values():
        entry = spec.modules.get(equation.callee)
        if entry is None or name not in {ref.stream for ref in equation.refs()}:
            continue
        declared = MODULES.declaration(entry.use).arguments.get("max_positions")
        most = entry.arguments.get(
            "max_positions", declared.default if declared is not None else None
        )
        if isinstance(most, int) and text.ids.shape[1] > most:
            raise UserError(
                f"input '{name}' must be at most {most} tokens long, the positions of '{entry.name}', but is "
                f"{text.ids.shape[1]}: shorten it, or have it cut (data.{name}_tokens={most})"
            )
