"""Sentences about a clip that are true, false or undecided: video entailment in the shapes world."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mplug2.data.shapes.world import COLOURS, DIRECTIONS, ROWS, SHAPES, Scene

LABELS = ("yes", "no", "unknown")
PLACES = ("first", "last")

Statement = tuple[str, str, str]  # type, sentence, label


def statements(scene: Scene, rng: np.random.Generator) -> list[Statement]:
    """Return two statements of each label: one on a colour, one on motion (``drift``) or order (``turns``).

    ``no`` contradicts what is seen; ``unknown`` speaks of a shape, or a colour, that the clip does not show.
    All labels use the same sentences, so the words alone do not reveal them. A wrong colour of a shape is one
    that nothing in the clip has: presence decides on colours, time on the rest.
    """
    return _two_a_label(scene, rng, _in_time)


def still_statements(scene: Scene, rng: np.random.Generator) -> list[Statement]:
    """Return two statements of each label about an image: one on a colour, one on a row.

    As in `statements`: ``unknown`` speaks of what is not shown, and the words alone do not reveal it.
    """
    return _two_a_label(scene, rng, _in_row)


def _two_a_label(
    scene: Scene,
    rng: np.random.Generator,
    other: Callable[[Scene, str, list[str], np.random.Generator], Statement],
) -> list[Statement]:
    """One statement on a colour and one of the ``other`` kind, which gets the hidden colours."""
    seen = {thing.shape: thing.colour for thing in scene.things}
    shown, hidden = sorted(seen.values()), sorted(set(COLOURS) - set(seen.values()))
    absent = sorted(set(SHAPES) - set(seen))
    drawn: list[Statement] = []
    for label in LABELS:
        shape = _pick(rng, absent if label == "unknown" else sorted(seen))
        colour = {
            "yes": seen.get(shape, ""),
            "no": _pick(rng, hidden),
            "unknown": _pick(rng, shown),
        }[label]
        drawn += [
            ("colour", f"the {shape} is {colour}", label),
            other(scene, label, hidden, rng),
        ]
    return drawn


def _in_row(
    scene: Scene, label: str, hidden: list[str], rng: np.random.Generator
) -> Statement:
    thing = scene.things[int(rng.integers(len(scene.things)))]
    cell = thing.cells[0]
    assert cell is not None
    row = ROWS[cell[0]]
    about = _pick(rng, hidden) if label == "unknown" else thing.colour
    where = {
        "yes": row,
        "no": _pick(rng, sorted(set(ROWS) - {row})),
        "unknown": _pick(rng, list(ROWS)),
    }
    return "row", f"the {about} shape is in the {where[label]} row", label


def _in_time(
    scene: Scene, label: str, hidden: list[str], rng: np.random.Generator
) -> Statement:
    unseen = _pick(rng, hidden)
    if scene.direction is not None:
        colour = unseen if label == "unknown" else scene.things[0].colour
        others = sorted(set(DIRECTIONS) - {scene.direction})
        wrong, any_one = _pick(rng, others), _pick(rng, list(DIRECTIONS))
        direction = {"yes": scene.direction, "no": wrong, "unknown": any_one}[label]
        return "motion_direction", f"the {colour} shape moves {direction}", label
    place = PLACES[int(rng.integers(2))]
    true = scene.things[0 if place == "first" else -1].colour
    others = sorted(thing.colour for thing in scene.things if thing.colour != true)
    colour = {"yes": true, "no": _pick(rng, others), "unknown": unseen}[label]
    return "motion_order", f"the {colour} shape comes {place}", label


def _pick(rng: np.random.Generator, among: list[str]) -> str:
    return among[int(rng.integers(len(among)))]


def entailment_rows(video: str, scene: Scene, seed: list[int]) -> list[dict[str, Any]]:
    """Return the annotation lines of a clip; their random numbers are their own."""
    rng = np.random.default_rng([*seed, len(LABELS)])
    return [
        {"video_id": video, "sentence": sentence, "label": label, "type": kind}
        for kind, sentence, label in statements(scene, rng)
    ]


def motion_rows(video: str, scene: Scene) -> list[dict[str, Any]]:
    """Return the line of a ``drift`` with its direction as the class; nothing for other clips.

    ``sense`` is the same for left and up, and for right and down. Frames without their order show the line
    of the motion, but nothing about its sense.
    """
    if scene.direction is None:
        return []
    sense = "forward" if scene.direction in ("right", "down") else "backward"
    return [{"video_id": video, "label": scene.direction, "sense": sense}]
