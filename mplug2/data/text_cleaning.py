"""Texts as the released models were trained on them: cleaned, cut to words, and mirrored with their images."""

from __future__ import annotations

import re

_REMOVED = re.compile(r"[,.'!?\"()*#:;~]")
_SIDES = {"left": "right", "right": "left"}
# Leftmost, right-hand, top-left and the like, but neither upright, bright nor leftovers
_SIDED = re.compile(
    r"\b((?:top|bottom|upper|lower|far)?)(left|right)((?:most|hand|handed|side|er|est|wards?|s)?)\b",
    re.IGNORECASE,
)


def _clean(text: str) -> str:
    return _REMOVED.sub("", text.lower()).replace("-", " ").replace("/", " ")


def clean_question(text: str, max_words: int) -> str:
    """Return a question in lower case without punctuation, cut to ``max_words`` words (double spaces count as
    words)."""
    return " ".join(_clean(text).rstrip(" ").split(" ")[:max_words])


def clean_caption(text: str, max_words: int) -> str:
    """Return a caption in lower case without punctuation, white space squeezed, cut to ``max_words``
    words."""
    # Captions of CC12M have `<person>` in place of names.
    text = _clean(text).replace("<person>", "person")
    text = re.sub(r"\s{2,}", " ", text).rstrip("\n").strip(" ")
    return " ".join(text.split(" ")[:max_words])


def swap_sides(text: str) -> str:
    """Return a cleaned text with the words left and right swapped, and no other words, for images that change
    places (as released for NLVR2)."""
    return " ".join(_SIDES.get(word, word) for word in text.split(" "))


def mirrored_words(text: str) -> str:
    """Return a text as it holds of the mirrored image: left and right swapped, also as parts of words.

    A capital letter stays one.
    """
    return _SIDED.sub(_swap_side, text)


def _swap_side(match: re.Match[str]) -> str:
    side = match[2]
    swapped = _SIDES[side.lower()]
    if side.isupper():
        swapped = swapped.upper()
    elif side[0].isupper():
        swapped = swapped.capitalize()
    return match[1] + swapped + match[3]
