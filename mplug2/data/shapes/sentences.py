"""Pairs of sentences about the shapes world: does the second follow from the first (text alone)?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mplug2.data.shapes.world import COLOURS, ROWS, SHAPES, still_scene

LABELS = ("entailment", "contradiction", "neutral")
KINDS = ("colour", "row", "row_of_colour", "any_shape", "any_colour")
NUMBERS = (0.5, 0.3, 0.2)  # how often one, two and three shapes are described
STATED = 0.7  # how often a description states a colour, and how often a row
# How often a description speaks of other shapes, where the label leaves it open.
PARTIAL = 0.3
TWICE = 2  # pairs of each label
# A separate random generator, so that no other file of the world depends on it.
_STREAM = 11


@dataclass(frozen=True)
class Described:
    """A shape as the first sentence describes it; a property that it leaves out is None."""

    shape: str
    colour: str | None
    row: str | None

    def __str__(self) -> str:
        words = ["a", *([self.colour] if self.colour else []), self.shape]
        return " ".join(words) + (f" in the {self.row} row" if self.row else "")


def sentence_rows(seed: list[int]) -> list[dict[str, Any]]:
    """Return two pairs of each label, each about another scene.

    The first sentence describes one to three shapes, leaves out some colours and rows, and may end in "and
    other shapes". The second one claims a colour or a row of a shape, or that there is a shape or a colour:
    it follows, contradicts, or speaks of what was left out. All labels use the same second sentences, so they
    alone do not reveal it.
    """
    rng = np.random.default_rng([*seed, _STREAM])
    rows = []
    for label in LABELS * TWICE:
        scene = still_scene(1 + int(rng.choice(3, p=NUMBERS)), rng)
        true = []
        for thing in scene.things:
            cell = thing.cells[0]
            # Everything is visible in a still scene.
            assert cell is not None
            true.append(Described(thing.shape, thing.colour, ROWS[cell[0]]))
        kind = _pick(rng, KINDS)
        make = _presence if kind.startswith("any_") else _attribute
        described, partial, claim = make(true, kind, label, rng)
        parts = [str(part) for part in described]
        if partial:
            parts.append("other shapes")
        row = {"sentence1": " and ".join(parts), "sentence2": claim}
        rows.append({**row, "label": label, "type": kind})
    return rows


def _attribute(
    true: list[Described], kind: str, label: str, rng: np.random.Generator
) -> tuple[list[Described], bool, str]:
    """Return a description, whether it is partial, and a claim on the colour or the row of one shape."""
    described = [_leave_out(thing, rng) for thing in true]
    target = int(rng.integers(len(true)))
    subject, stated = true[target], label != "neutral"
    if kind == "colour":
        value, choices = subject.colour, tuple(COLOURS)
        described[target] = replace(described[target], colour=value if stated else None)
    else:
        value, choices = subject.row, ROWS
        described[target] = replace(described[target], row=value if stated else None)
    # The claim must find its subject by the colour.
    if kind == "row_of_colour":
        described[target] = replace(described[target], colour=subject.colour)
    if label == "contradiction":
        value = _pick(rng, [choice for choice in choices if choice != value])
    elif label == "neutral":
        value = _pick(rng, choices)
    claims = {
        "colour": f"the {subject.shape} is {value}",
        "row": f"the {subject.shape} is in the {value} row",
        "row_of_colour": f"the {subject.colour} shape is in the {value} row",
    }
    return described, bool(rng.random() < PARTIAL), claims[kind]


def _presence(
    true: list[Described], kind: str, label: str, rng: np.random.Generator
) -> tuple[list[Described], bool, str]:
    """Return a description, whether it is partial, and the claim that a shape or a colour is there."""
    described = [_leave_out(thing, rng) for thing in true]
    target = int(rng.integers(len(true)))
    if kind == "any_colour" and label == "entailment":
        described[target] = replace(described[target], colour=true[target].colour)
    # Another colour is absent only if the description states all of them.
    if kind == "any_colour" and label == "contradiction":
        for index, thing in enumerate(true):
            described[index] = replace(described[index], colour=thing.colour)
    there = [
        thing.shape if kind == "any_shape" else str(thing.colour) for thing in true
    ]
    value = there[target]
    if label != "entailment":
        choices = SHAPES if kind == "any_shape" else tuple(COLOURS)
        value = _pick(rng, [choice for choice in choices if choice not in there])
    # Neutral: the shape may be among the others. A contradiction must exclude that.
    partial = label == "neutral"
    if label == "entailment":
        partial = bool(rng.random() < PARTIAL)
    noun = "" if kind == "any_shape" else " shape"
    return described, partial, f"there is a {value}{noun}"


def _leave_out(thing: Described, rng: np.random.Generator) -> Described:
    colour, row = rng.random(2) < STATED
    return Described(
        thing.shape, thing.colour if colour else None, thing.row if row else None
    )


def _pick(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]
