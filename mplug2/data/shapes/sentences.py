"""Pairs of sentences about the shapes world: does the second follow from the first (text alone)?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mplug2.data.shapes.world import COLOURS, ROWS, Scene, still_scene

LABELS = ("entailment", "contradiction", "neutral")
KINDS = ("colour", "row", "row_of_colour")
STATED = 0.7  # how often a description states a colour, and how often a row
TWICE = 2  # pairs of each label
_STREAM = 11  # random numbers of its own, so that no other file of the world depends on them


@dataclass(frozen=True)
class Described:
    """A shape as the first sentence describes it; what it leaves out is None."""

    shape: str
    colour: str | None
    row: str | None

    def __str__(self) -> str:
        words = ["a", *([self.colour] if self.colour else []), self.shape]
        return " ".join(words) + (f" in the {self.row} row" if self.row else "")


def sentence_rows(seed: list[int]) -> list[dict[str, Any]]:
    """Return two pairs of each label, each about a scene of its own.

    The first sentence describes two to four shapes and leaves out some colours and rows. The second one
    claims a colour or a row: it follows, contradicts, or speaks of what was left out. All labels use the same
    second sentences, so that they alone tell nothing.
    """
    rng = np.random.default_rng([*seed, _STREAM])
    rows = []
    for label in LABELS * TWICE:
        scene = still_scene(int(rng.integers(2, 5)), rng)
        rows.append(_pair(scene, label, rng))
    return rows


def _pair(scene: Scene, label: str, rng: np.random.Generator) -> dict[str, Any]:
    kind = _pick(rng, KINDS)
    true = []
    for thing in scene.things:
        cell = thing.cells[0]
        assert cell is not None  # everything is visible in a still scene
        true.append(Described(thing.shape, thing.colour, ROWS[cell[0]]))
    described = [_leave_out(thing, rng) for thing in true]
    target = int(rng.integers(len(true)))
    subject, attribute = true[target], "colour" if kind == "colour" else "row"

    # State what the claim is about, or leave it out.
    stated = label != "neutral"
    if attribute == "colour":
        described[target] = replace(described[target], colour=subject.colour if stated else None)
    else:
        described[target] = replace(described[target], row=subject.row if stated else None)
    if kind == "row_of_colour":  # the claim must find its subject by the colour
        described[target] = replace(described[target], colour=subject.colour)

    value = getattr(subject, attribute)
    if label == "contradiction":
        choices = COLOURS if attribute == "colour" else ROWS
        value = _pick(rng, [choice for choice in choices if choice != value])
    elif label == "neutral":
        value = _pick(rng, list(COLOURS if attribute == "colour" else ROWS))
    claims = {
        "colour": f"the {subject.shape} is {value}",
        "row": f"the {subject.shape} is in the {value} row",
        "row_of_colour": f"the {subject.colour} shape is in the {value} row",
    }
    premise = " and ".join(str(thing) for thing in described)
    return {"sentence1": premise, "sentence2": claims[kind], "label": label, "type": kind}


def _leave_out(thing: Described, rng: np.random.Generator) -> Described:
    colour, row = rng.random(2) < STATED
    return Described(thing.shape, thing.colour if colour else None, thing.row if row else None)


def _pick(rng: np.random.Generator, choices: Any) -> str:
    return str(choices[int(rng.integers(len(choices)))])
