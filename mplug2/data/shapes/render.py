"""Scenes to pixels, with smooth edges."""

from __future__ import annotations

import numpy as np

from mplug2.data.shapes.world import BEATS, COLOURS, Scene, Thing

Box = tuple[
    int, int, int, int
]  # left, top, right, bottom in pixels, right and bottom beyond the last one


def render(scene: Scene, size: int, frames: int) -> np.ndarray:
    """Return the clip as uint8 [frames size size 3]; every beat is shown equally long."""
    beats = np.stack([render_beat(scene, size, beat) for beat in range(BEATS)])
    return np.repeat(beats, frames // BEATS, axis=0)


def render_beat(scene: Scene, size: int, beat: int) -> np.ndarray:
    """Return one image of a scene as uint8 [size size 3]."""
    picture = np.broadcast_to(
        np.array(scene.background, dtype=np.float32), (size, size, 3)
    ).copy()
    for thing in scene.things:
        if thing.cells[beat] is not None:
            cover = _cover(thing, size, beat)[..., None]
            picture += (
                np.array(COLOURS[thing.colour], dtype=np.float32) - picture
            ) * cover
    return picture.round().astype(np.uint8)


def box(thing: Thing, size: int, beat: int) -> Box | None:
    """Return the box around a thing, or None while it is not visible."""
    if thing.cells[beat] is None:
        return None
    rows, columns = np.nonzero(_cover(thing, size, beat) > 0.5)
    return (
        int(columns.min()),
        int(rows.min()),
        int(columns.max()) + 1,
        int(rows.max()) + 1,
    )


def _cover(thing: Thing, size: int, beat: int) -> np.ndarray:
    """How much of each pixel a thing covers [size size], 0 to 1, from the distance to its outline in
    pixels."""
    cell, unit = thing.cells[beat], size / 3
    assert cell is not None
    centre = [
        (cell[axis] + 0.5 + thing.shift[axis] + thing.moves[beat][axis]) * unit
        for axis in (0, 1)
    ]
    y = np.arange(size, dtype=np.float32)[:, None] + 0.5 - centre[0]
    x = np.arange(size, dtype=np.float32)[None, :] + 0.5 - centre[1]
    return np.clip(0.5 - _outline(thing.shape, x, y, thing.radius * unit), 0, 1)


def _outline(shape: str, x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    """Distance of each pixel to the outline, negative inside."""
    if shape == "circle":
        return np.hypot(x, y) - radius
    if shape == "ring":
        return np.abs(np.hypot(x, y) - radius * 0.75) - radius * 0.25
    if shape == "square":
        return np.maximum(abs(x), abs(y)) - radius * 0.88
    if shape == "triangle":  # pointing up
        return np.maximum(y - radius * 0.8, abs(x) * 0.87 - y * 0.5 - radius * 0.5)
    if shape == "cross":
        long, short = radius, radius * 0.32
        return np.minimum(
            np.maximum(abs(x) - long, abs(y) - short),
            np.maximum(abs(x) - short, abs(y) - long),
        )
    raise ValueError(f"unknown shape {shape!r}")
