"""What happens in a clip of the shapes world.

A clip is six beats long and plays on a board of 3 x 3 cells. There are two kinds of scenes:

- ``sweep``: one shape visits six cells (two lines of three), a cell a beat, always moving one way along a
  line, then along another line; up to three other shapes rest in the three cells that are left.
- ``turns``: three shapes, each in its own cell, are visible one after the other, two beats each.

Motion cannot be told from single frames, nor from all frames in unknown order: a sweep visits the same six
cells in any of the four directions, and every shape of a ``turns`` scene is visible equally long. No scene
has both, for the sweep would then be a clock. Hence the best guess of a network that does not know the order
of frames is right in 1 of 4 questions on direction and 1 of 3 on order.
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
    """All things of a clip; in a ``sweep`` the first one moves, in ``turns`` they stand in order of
    appearance."""

    kind: Literal["sweep", "turns", "still"]
    things: tuple[Thing, ...]
    direction: str | None
    background: tuple[int, int, int]


def sweep_path(block: np.ndarray, direction: str, rng: np.random.Generator) -> list[Cell]:
    """Return the order in which a sweep visits ``block`` (cells [rows columns 2]): line by line, lines in
    random order."""
    lines = block if direction in ("left", "right") else block.swapaxes(0, 1)
    if direction in ("left", "up"):
        lines = lines[:, ::-1]
    return [(int(row), int(column)) for line in rng.permutation(len(lines)) for row, column in lines[line]]


def sample_scene(kind: Literal["sweep", "turns"], rng: np.random.Generator) -> Scene:
    """Return a random scene of the given kind; colours and shapes are all different within it."""
    return _sweep(rng) if kind == "sweep" else _turns(rng)


def still_scene(number: int, rng: np.random.Generator) -> Scene:
    """Return a scene of 1 to 4 resting shapes, for images."""
    cells = [divmod(int(cell), 3) for cell in rng.permutation(9)[:number]]
    return Scene("still", _things([[cell] * BEATS for cell in cells], rng), None, _background(rng))


def _sweep(rng: np.random.Generator) -> Scene:
    board = np.stack(np.meshgrid(np.arange(3), np.arange(3), indexing="ij"), -1)
    side = int(rng.integers(4))  # where the line of resting shapes lies: top, bottom, left, right
    blocks = (board[1:], board[:-1], board[:, 1:], board[:, :-1])
    lines = (board[0], board[-1], board[:, 0], board[:, -1])
    direction = str(rng.choice(DIRECTIONS))
    path = sweep_path(blocks[side], direction, rng)
    resting = [(int(r), int(c)) for r, c in rng.permutation(lines[side])[: int(rng.integers(4))]]
    things = _things([path, *([cell] * BEATS for cell in resting)], rng)
    return Scene("sweep", things, direction, _background(rng))


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
