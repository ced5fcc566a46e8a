"""What happens in a clip of the shapes world.

A clip is six beats long and plays on a board of 3 x 3 cells. There are two kinds of scenes:

- ``drift``: one shape glides a cell's width to the left, right, up or down, trembling across its way; up to
  three others rest in cells that it never touches.
- ``turns``: three shapes, each in its own cell, are visible one after the other, two beats each.

No single frame shows motion. All frames in unknown order do not show it either: a drift to the left shows the
same frames as one to the right (one up the same as one down), and every shape of a ``turns`` scene is visible
equally long. No scene has both, for the drift would then be a clock. Hence the best guess of a network that
does not know the order of frames is right in 1 of 2 questions on direction (it may see along which line) and
in 1 of 3 on order; there are four of the latter in a ``turns`` scene and one of the former in a ``drift``.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

BEATS = 6
# A drift in cells: -0.5 to 0.5.
STEPS = tuple(beat / (BEATS - 1) - 0.5 for beat in range(BEATS))
# How often 0, 1, 2 or 3 shapes rest in addition to the drifting one.
RESTING = (0.34, 0.26, 0.22, 0.18)
TREMBLE = 0.4  # how far a mover trembles across its way, as a part of its way
COLOURS = {
    "red": (230, 40, 40),
    "green": (40, 200, 60),
    "blue": (60, 90, 255),
    "yellow": (240, 220, 40),
    "purple": (200, 60, 220),
    "cyan": (40, 220, 220),
}
SHAPES = ("circle", "square", "triangle", "cross", "ring")
DIRECTIONS = ("left", "right", "up", "down")
ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "middle", "right")
NUMBERS = ("one", "two", "three", "four")

Cell = tuple[int, int]  # row, column
Offset = tuple[float, float]  # down, right, in cells

POSITIONS: dict[Cell, str] = {
    (0, 0): "top left",
    (0, 1): "top",
    (0, 2): "top right",
    (1, 0): "left",
    (1, 1): "middle",
    (1, 2): "right",
    (2, 0): "bottom left",
    (2, 1): "bottom",
    (2, 2): "bottom right",
}


@dataclass(frozen=True)
class Thing:
    """A coloured shape and its cell in every beat (None: not visible)."""

    colour: str
    shape: str
    cells: tuple[Cell | None, ...]
    radius: float  # in cells
    shift: Offset  # off the cell's centre
    moves: tuple[Offset, ...] = ((0.0, 0.0),) * BEATS  # off that, in every beat

    @property
    def name(self) -> str:
        """Colour and shape in words."""
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """All things of a clip; in a ``drift`` the first one moves, in ``turns`` they are in order of
    appearance."""

    kind: Literal["drift", "turns", "still"]
    things: tuple[Thing, ...]
    direction: str | None
    background: tuple[int, int, int]


def drift(direction: str, rng: np.random.Generator) -> tuple[Offset, ...]:
    """Return a mover's offsets in every beat: steadily one way along one axis, trembling along the other."""
    steady = STEPS if direction in ("right", "down") else STEPS[::-1]
    trembling = [TREMBLE * STEPS[beat] for beat in rng.permutation(BEATS)]
    if direction in ("left", "right"):
        return tuple(zip(trembling, steady, strict=True))
    return tuple(zip(steady, trembling, strict=True))


def sample_scene(kind: Literal["drift", "turns"], rng: np.random.Generator) -> Scene:
    """Return a random scene of the given kind; colours and shapes are all different within it."""
    return _drift(rng) if kind == "drift" else _turns(rng)


def still_scene(number: int, rng: np.random.Generator) -> Scene:
    """Return a scene of 1 to 4 resting shapes, for images."""
    cells = [divmod(int(cell), 3) for cell in rng.permutation(9)[:number]]
    things = _things([[cell] * BEATS for cell in cells], rng)
    return Scene("still", things, None, _background(rng))


def _drift(rng: np.random.Generator) -> Scene:
    # Of the 2 x 2 cells that the mover has for itself.
    corner = int(rng.integers(2)), int(rng.integers(2))
    direction = str(rng.choice(DIRECTIONS))
    moves = tuple((0.5 + down, 0.5 + right) for down, right in drift(direction, rng))
    free = []
    for row, column in itertools.product(range(3), range(3)):
        is_movers = row - corner[0] in (0, 1) and column - corner[1] in (0, 1)
        if not is_movers:
            free.append((row, column))
    number = int(rng.choice(4, p=RESTING))
    resting = [free[int(i)] for i in rng.permutation(len(free))[:number]]
    mover, *others = _things([[cell] * BEATS for cell in (corner, *resting)], rng)
    things = (replace(mover, moves=moves), *others)
    return Scene("drift", things, direction, _background(rng))


def _turns(rng: np.random.Generator) -> Scene:
    cells = [divmod(int(cell), 3) for cell in rng.permutation(9)[:3]]
    turn = BEATS // 3
    visible = []
    for index, cell in enumerate(cells):
        visible.append(
            [cell if beat // turn == index else None for beat in range(BEATS)]
        )
    return Scene("turns", _things(visible, rng), None, _background(rng))


def _things(
    paths: Sequence[Sequence[Cell | None]], rng: np.random.Generator
) -> tuple[Thing, ...]:
    # Without repetition: a question names a thing by its colour or its shape alone.
    colours, shapes = rng.permutation(list(COLOURS)), rng.permutation(SHAPES)
    things = []
    for colour, shape, path in zip(colours, shapes, paths, strict=False):
        radius = float(rng.uniform(0.38, 0.42))
        shift = float(rng.uniform(-0.04, 0.04)), float(rng.uniform(-0.04, 0.04))
        things.append(Thing(str(colour), str(shape), tuple(path), radius, shift))
    return tuple(things)


def _background(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = rng.integers(5, 20, 3)
    return int(red), int(green), int(blue)
