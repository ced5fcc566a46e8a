"""The form of a recipe: the public files of a data set, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mplug2.data.formats.entry import Row


@dataclass(frozen=True)
class Output:
    """One file to write, ``split`` (train, val, test, testA, answers ...), and the public files it is made
    of, by name.

    ``rows`` takes the found files in that order. ``a|b`` is either name.
    """

    split: str
    files: tuple[str, ...]
    rows: Callable[..., Iterable[Any]]


@dataclass(frozen=True)
class Recipe:
    """A data set: what it is, a spec that reads it, what can be made of it, and where that goes.

    Of several outputs of one split the first whose files are there is made.
    """

    about: str
    spec: str
    outputs: tuple[Output, ...]
    folder: str
    prefix: str = ""
    media: str = "image"  # or video: names then have no suffix


def parts(rows: Callable[..., Iterable[Row]], **files: str) -> tuple[Output, ...]:
    """Return one output of one file for each split."""
    return tuple(Output(split, (file,), rows) for split, file in files.items())
