"""What happens in a clip of the shapes world.

A clip is six beats long and plays on a board of 3 x 3 cells. There are two kinds of scenes:

- ``crossing``: one shape crosses the board from one edge to the other in a wave (say left, top, centre,
  centre, bottom, right), a cell a beat; up to three others rest in the corners.
- ``turns``: three shapes, each in its own cell, are visible one after the other, two beats each.

Motion cannot be told from single frames, nor from all frames in unknown order: a crossing visits the same
cells, the centre twice, in any of the four directions, and every shape of a ``turns`` scene is visible
equally long. No scene has both, for the crossing would then be a clock. Hence the best guess of a network
that does not know the order of frames is right in 1 of 4 questions on direction and 1 of 3 on order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

BEATS = 6
COLOURS = {
    "red": (230, 40, 40),
    "green": (40, 200, 60),
    "blue": (60, 90, 255),
    "yellow": (240, 220, 40),
    "purple": (200, 60, 220),
    "cyan": (40, 220, 220),
    "white": (245, 245, 245),
}
SHAPES = ("circle", "square", "triangle", "cross", "ring")
DIRECTIONS = ("left", "right", "up", "down")
ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "middle", "right")
NUMBERS = ("one", "two", "three", "four")

Cell = tuple[int, int]  # row, column

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
    shift: tuple[float, float]  # off the cell's centre, down and right, in cells

    @property
    def name(self) -> str:
        """Colour and shape, as one says it."""
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """All things of a clip; in a ``crossing`` the first one moves, in ``turns`` they stand in order of
    appearance."""

    kind: Literal["crossing", "turns", "still"]
    things: tuple[Thing, ...]
    direction: str | None
    background: tuple[int, int, int]


def crossing_path(direction: str, over: bool) -> list[Cell]:
    """Return the cells of a crossing; ``over`` chooses on which side of the middle line it passes first."""
    line: list[Cell] = (
        [(1, 0), (1, 1), (1, 2)] if direction in ("left", "right") else [(0, 1), (1, 1), (2, 1)]
    )
    start, centre, end = line if direction in ("right", "down") else line[::-1]
    sides: list[Cell] = [(column, row) for row, column in line[::2]]  # the ends of the other middle line
    first, second = sides if over else sides[::-1]
    return [start, first, centre, centre, second, end]


def sample_scene(kind: Literal["crossing", "turns"], rng: np.random.Generator) -> Scene:
    """Return a random scene of the given kind; colours and shapes are all different within it."""
    return _crossing(rng) if kind == "crossing" else _turns(rng)


def still_scene(number: int, rng: np.random.Generator) -> Scene:
    """Return a scene of 1 to 4 resting shapes, for images."""
    cells = [divmod(int(cell), 3) for cell in rng.permutation(9)[:number]]
    return Scene("still", _things([[cell] * BEATS for cell in cells], rng), None, _background(rng))


def _crossing(rng: np.random.Generator) -> Scene:
    direction = str(rng.choice(DIRECTIONS))
    path = crossing_path(direction, bool(rng.integers(2)))
    corners = [(0, 0), (0, 2), (2, 0), (2, 2)]
    resting = [corners[corner] for corner in rng.permutation(4)[: int(rng.integers(4))]]
    things = _things([path, *([cell] * BEATS for cell in resting)], rng)
    return Scene("crossing", things, direction, _background(rng))


def _turns(rng: np.random.Generator) -> Scene:
    cells = [divmod(int(cell), 3) for cell in rng.permutation(9)[:3]]
    turn = BEATS // 3
    visible = [
        [cell if beat // turn == index else None for beat in range(BEATS)] for index, cell in enumerate(cells)
    ]
    return Scene("turns", _things(visible, rng), None, _background(rng))


def _things(paths: Sequence[Sequence[Cell | None]], rng: np.random.Generator) -> tuple[Thing, ...]:
    colours, shapes = rng.permutation(list(COLOURS)), rng.permutation(SHAPES)
    return tuple(
        Thing(
            str(colour),
            str(shape),
            tuple(path),
            float(rng.uniform(0.32, 0.42)),
            (float(rng.uniform(-0.08, 0.08)), float(rng.uniform(-0.08, 0.08))),
        )
        for colour, shape, path in zip(colours, shapes, paths, strict=False)
    )


def _background(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = rng.integers(5, 20, 3)
    return int(red), int(green), int(blue)
