"""A scene as a PNG file, painted by matplotlib."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path as File
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path
from PIL import Image

from mplug2.build.drawing.shapes import PAPER, Box, Curve, Label, Scene

DPI = 100
POINTS = 72 / DPI  # a unit of the scene is a pixel of this resolution


def write_png(scene: Scene, file: File, scale: float = 1.5) -> None:
    """Write the scene to ``file``, ``scale`` pixels for each of its units."""
    figure = Figure(
        figsize=(scene.width / DPI, scene.height / DPI), dpi=DPI, facecolor=PAPER
    )
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, scene.width)
    # The scene counts from the top.
    axes.set_ylim(scene.height, 0)
    axes.axis("off")
    for curve in scene.curves:
        for line in _curve(curve):
            axes.add_patch(line)
    for order, box in enumerate(scene.boxes):
        for patch in _box(box):
            patch.set_zorder(2 + order / 1000)
            axes.add_patch(patch)
    for label in scene.labels:
        _label(axes, label)
    painted = BytesIO()
    figure.savefig(painted, dpi=DPI * scale)
    # Flat colours: a palette is a quarter of the size; without date or version, the same file each time.
    image = Image.open(painted).convert("RGB")
    image.quantize(128, dither=Image.Dither.NONE).save(file, optimize=True)


def _curve(curve: Curve) -> list[PathPatch | Polygon]:
    (x, y), *others = curve.points
    points, codes = [(x, y)], [Path.MOVETO]
    for to_x, to_y in others:
        # Vertical at both ends: the control points are above and below them.
        half = (y + to_y) / 2
        points += [(x, half), (to_x, half), (to_x, to_y)]
        codes += [Path.CURVE4] * 3
        x, y = to_x, to_y
    path, style = Path(points, codes), "--" if curve.dashed else "-"
    line = PathPatch(
        path,
        fill=False,
        edgecolor=curve.colour,
        linewidth=1.5 * POINTS,
        linestyle=style,
        zorder=1,
    )
    if not curve.arrow:
        return [line]
    head = Polygon(
        [(x - 4.5, y - 9.5), (x + 4.5, y - 9.5), (x, y)],
        color=curve.colour,
        linewidth=0,
        zorder=1,
    )
    return [line, head]


def _box(box: Box) -> list[FancyBboxPatch]:
    def rounded(width: float, **style: Any) -> FancyBboxPatch:
        radius = min(box.radius, width / 2, box.height / 2)
        shape = f"round,pad=0,rounding_size={radius}"
        corner = (box.x, box.y)
        return FancyBboxPatch(corner, width, box.height, boxstyle=shape, **style)

    line = {
        "edgecolor": box.stroke,
        "linewidth": 1.3 * POINTS,
        "linestyle": "--" if box.dashed else "-",
    }
    patches = [rounded(box.width, facecolor=box.fill, **line)]
    if box.hatched:
        patches.append(
            rounded(
                box.width * box.hatched,
                facecolor="none",
                edgecolor="#8492a3",
                linewidth=0,
                hatch="////",
            )
        )
    return patches


def _label(axes: object, label: Label) -> None:
    ground = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.0}
    # A dollar sign in a call is not the start of a formula: no `parse_math`.
    axes.text(  # type: ignore[attr-defined]
        label.x,
        label.y,
        label.text,
        fontsize=label.size * POINTS,
        color=label.colour,
        weight="bold" if label.bold else "normal",
        ha="left" if label.anchor == "start" else "center",
        va="center_baseline",
        zorder=4,
        parse_math=False,
        bbox=ground if label.ground else None,
    )
