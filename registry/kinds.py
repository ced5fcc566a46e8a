"""The kinds of streams: one table of what flows between modules. Everything that depends on kinds reads it.

The half of a kind that needs torch (`modules/kinds.py`) is named here and loaded when it is used, so that
checks need no torch.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from typing import Any

from registry.errors import UserError, require
from registry.name_table import Entry, NameTable, check_attributes, import_target

NAME = re.compile(r"[a-z][a-z0-9_]*")
# The methods and attributes of a torch half, see `modules.kinds.TorchHalf`.
TORCH_HALF = (
    *("value_class", "blank", "random", "shape", "describe", "tensors"),
    *("cast", "to_device", "detach", "concat", "select"),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """How `mplug2 predict` shows a goal output of a kind.

    `guesses` is `"package.module:function"`, called as `function(value, records, reads, decode, top)`: it
    returns a tuple of `mplug2.predict.result.Prediction` for each row, best first.
    """

    noun: str  # "a class"
    guesses: str


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of stream."""

    name: str
    meaning: str  # one sentence, for `mplug2 list` and messages
    # "package.module:Class" of the half that needs torch, made without arguments.
    torch_half: str = ""
    has_axes: bool = True  # the first axis counts rows
    # Values carry a padding mask, so rows of different lengths can be joined.
    has_mask: bool = False
    # Real numbers: values from outside the network are cast by the torch half.
    real: bool = False
    # The last axis counts channels, and may be made narrow to try a network.
    channels_last: bool = False
    blank_length: int = 1  # size of a free axis after the first one in the dry run
    ports_only: bool = False  # a kind of ports, which no stream has
    # Values are row numbers of another stream, whose axis follows `->`.
    counts_rows: bool = False
    answer: Answer | None = None  # set if prediction can show an output with two axes

    def __post_init__(self) -> None:
        """Raise `UserError` for a name that a port cannot write, or a kind without a torch half."""
        require(self.name, str, "the name of a kind")
        if not NAME.fullmatch(self.name):
            raise UserError(
                f"a kind must be named by a lower-case word (got '{self.name}')"
            )
        if not self.torch_half and not self.ports_only:
            raise UserError(
                f"kind '{self.name}' must name its torch half: torch_half='package.module:Class'"
            )


class KindTable(NameTable):
    """All kinds by name; other packages add theirs by entry points of the group `mplug2.kinds`."""

    def __init__(self) -> None:
        """Make an empty table."""
        super().__init__("kind", "mplug2.kinds")
        self._halves: dict[Kind, Any] = {}

    def add(self, kind: Kind) -> Kind:
        """Register a kind under its own name and return it.

        A second owner of a name, which is another Python module, is refused by `UserError`.
        """
        require(kind, Kind, "a kind")
        caller = sys._getframe(1)
        owner = f"{os.path.relpath(caller.f_code.co_filename)}:{caller.f_lineno}"
        target = f"{caller.f_globals['__name__']}:{kind.name}"
        self._add(kind.name, Entry(target, owner, kind))
        return kind

    def __getitem__(self, name: str) -> Kind:
        """Return the kind of that name; raise `UserError`."""
        kind: Kind = self.load(name)
        return kind

    def summary(self, name: str) -> str:
        """Return the meaning of a kind in one sentence; raise `UserError`."""
        return self[name].meaning

    def half(self, name: str) -> Any:
        """Return the torch half of a kind (`modules.kinds.TorchHalf`), made at its first use.

        Raises `UserError` if it cannot be imported or lacks a method.
        """
        kind = self[name]
        if kind not in self._halves:
            owner = f"the torch half of kind '{name}'"
            if not kind.torch_half:
                raise UserError(
                    f"{owner} does not exist: '{name}' is a kind of ports only"
                )
            half = import_target(kind.torch_half, owner)()
            check_attributes(owner, half, TORCH_HALF)
            self._halves[kind] = half
        return self._halves[kind]

    def _check_protocol(self, name: str, thing: object) -> None:
        """Raise `UserError` if an entry point names something other than the `Kind` of that name."""
        if not isinstance(thing, Kind):
            raise UserError(
                f"kind '{name}' must be a registry.Kind (got {type(thing).__name__})"
            )
        if thing.name != name:
            raise UserError(
                f"kind '{name}' must have that name, but its `name` is '{thing.name}'"
            )


KINDS = KindTable()

_REAL = "modules.kinds:RealValues"
_FULL = "modules.kinds:FullPrecisionValues"

_BUILT_IN = (
    Kind(
        "frames",
        "Pixels of videos, channels first: frames B 3 T H W.",
        _REAL,
        real=True,
    ),
    Kind("image", "Pixels of images, channels first: image B 3 H W.", _REAL, real=True),
    Kind(
        "regions",
        "Features of image regions with their boxes and padding mask: regions B R width.",
        "modules.padded_kinds:RegionValues",
        has_mask=True,
        real=True,
    ),
    Kind(
        "vector",
        "One feature vector for each row: vector B width.",
        _REAL,
        real=True,
        channels_last=True,
    ),
    Kind(
        "tokens",
        "Hidden states with their padding mask: tokens B L width.",
        "modules.padded_kinds:TokenValues",
        has_mask=True,
        real=True,
        channels_last=True,
    ),
    Kind(
        "text",
        "Token ids with their padding mask: text B L.",
        "modules.padded_kinds:TextValues",
        has_mask=True,
        blank_length=8,
    ),
    Kind(
        "sequences",
        "Generated or ranked token ids with their scores, best first: sequences B n.",
        "modules.padded_kinds:SequenceValues",
        answer=Answer("a text", "mplug2.predict.answers:text_guesses"),
    ),
    Kind(
        "logits",
        "Unnormalized scores of classes or tokens: logits B classes.",
        _FULL,
        real=True,
        answer=Answer("a class", "mplug2.predict.answers:class_guesses"),
    ),
    Kind(
        "scores",
        "Real numbers in full precision, such as targets of a regression: scores B.",
        _FULL,
        real=True,
    ),
    Kind(
        "boxes",
        "Left, top, right, bottom as fractions of the image: boxes B 4.",
        "modules.kinds:BoxValues",
        real=True,
        answer=Answer("a box", "mplug2.predict.answers:box_guesses"),
    ),
    Kind(
        "weight",
        "Weights of rows in a loss: weight B.",
        "modules.kinds:WeightValues",
        real=True,
    ),
    Kind("labels", "Class numbers, from 0: labels B.", "modules.kinds:LabelValues"),
    Kind(
        "index",
        "Row numbers of another stream, from 0; for each of A entries its row of B: index A -> B.",
        "modules.kinds:IndexValues",
        counts_rows=True,
    ),
    Kind(
        "mask",
        "Booleans, True for an element that counts: mask B L.",
        "modules.padded_kinds:MaskValues",
        has_mask=True,
    ),
    Kind(
        "strings",
        "A list of texts for each row: strings B.",
        "modules.kinds:StringValues",
    ),
    Kind(
        "scalar",
        "One real number, such as a loss: scalar.",
        _FULL,
        has_axes=False,
        real=True,
    ),
    Kind(
        "module",
        "A module that an operation is handed: @name.",
        has_axes=False,
        ports_only=True,
    ),
)
for _kind in _BUILT_IN:
    KINDS.add(_kind)
