"""Sentences about a clip that hold, do not hold, or cannot be told: video entailment in the shapes world."""

from __future__ import annotations

from typing import Any

import numpy as np

from mplug2.data.shapes.world import COLOURS, DIRECTIONS, SHAPES, Scene

LABELS = ("yes", "no", "unknown")
PLACES = ("first", "last")

Statement = tuple[str, str, str]  # type, sentence, label


def statements(scene: Scene, rng: np.random.Generator) -> list[Statement]:
    """Return two statements of each label: one on a colour, one on motion (``drift``) or order (``turns``).

    ``no`` contradicts what is seen, ``unknown`` speaks of a shape that the clip does not show. All labels use
    the same sentences, so that the words alone tell nothing.
    """
    seen = {thing.shape: thing.colour for thing in scene.things}
    absent = sorted(set(SHAPES) - set(seen))
    told: list[Statement] = []
    for label in LABELS:
        shape = _pick(rng, absent if label == "unknown" else sorted(seen))
        told.append(("colour", _colour(shape, _value(rng, label, seen.get(shape), list(COLOURS))), label))
        told.append(_motion(scene, label, _pick(rng, absent), rng))
    return told


def _motion(scene: Scene, label: str, absent: str, rng: np.random.Generator) -> Statement:
    if scene.direction is not None:
        shape = absent if label == "unknown" else scene.things[0].shape
        direction = _value(rng, label, scene.direction, list(DIRECTIONS))
        return "motion_direction", f"the {shape} moves {direction}", label
    place = PLACES[int(rng.integers(2))]
    first_or_last = scene.things[0 if place == "first" else -1].shape
    others = sorted(thing.shape for thing in scene.things if thing.shape != first_or_last)
    shape = {"yes": first_or_last, "no": _pick(rng, others), "unknown": absent}[label]
    return "motion_order", f"the {shape} comes {place}", label


def _colour(shape: str, colour: str) -> str:
    return f"the {shape} is {colour}"


def _value(rng: np.random.Generator, label: str, true: str | None, known: list[str]) -> str:
    """The true value, another one, or any."""
    if label == "yes" and true is not None:
        return true
    return _pick(rng, [one for one in known if one != true] if label == "no" else known)


def _pick(rng: np.random.Generator, among: list[str]) -> str:
    return among[int(rng.integers(len(among)))]


def entailment_rows(video: str, scene: Scene, seed: list[int]) -> list[dict[str, Any]]:
    """Return the annotation lines of a clip; their random numbers are their own."""
    rng = np.random.default_rng([*seed, len(LABELS)])
    return [
        {"video_id": video, "sentence": sentence, "label": label, "type": kind}
        for kind, sentence, label in statements(scene, rng)
    ]
