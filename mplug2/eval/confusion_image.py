"""An image of confused classes: a row for each true class, a column for each predicted one."""

from __future__ import annotations

from pathlib import Path

from mplug2.build.drawing.png import write_png
from mplug2.build.drawing.shapes import (
    FAINT,
    INK,
    MARGIN,
    PAPER,
    SMALL,
    TEXT,
    TITLE,
    Box,
    Label,
    Scene,
    text_width,
)
from mplug2.eval.confusion import Confusion
from registry.errors import visible

MOST_CLASSES = 40  # in an image; the others are one class
LONGEST_NAME = 28  # characters
HEIGHT, NARROWEST, WIDEST = 26.0, 34.0, 96.0  # of a cell
HEADER = 58.0  # the title and the names of the columns
RIGHT, WRONG = (
    (29, 99, 190),
    (217, 83, 25),
)  # red, green and blue of a cell with all of a row


def confusion_scene(confusion: Confusion, title: str) -> Scene:
    """Return the drawing: cells are the darker, the more of their row they hold, correct ones are blue."""
    confusion = confusion.merged(MOST_CLASSES)
    names = [_short(name) for name in confusion.classes]
    widest = max(text_width(name, SMALL) for name in names)
    # Columns have names where these fit over the cells, else the numbers that the rows have.
    named = widest + 8 <= WIDEST and len(names) <= 12
    cell = max(NARROWEST, widest + 8) if named else NARROWEST
    left = MARGIN + widest + 44
    top = MARGIN + HEADER
    size = len(names)
    width = max(left + size * cell, MARGIN + text_width(title, TITLE, True)) + MARGIN
    scene = Scene(width, top + size * HEIGHT + MARGIN)
    heading = Label(MARGIN, MARGIN + 2, title, TITLE, bold=True, anchor="start")
    axes = "rows: true class, columns: predicted class"
    legend = Label(MARGIN, MARGIN + 22, axes, SMALL, FAINT, anchor="start")
    scene.labels += [heading, legend]
    for number, name in enumerate(names):
        y = top + (number + 0.5) * HEIGHT
        row_name = name if named else f"{number + 1}  {name}"
        scene.labels.append(Label(MARGIN, y, row_name, SMALL, anchor="start"))
        column_name = name if named else str(number + 1)
        x = left + (number + 0.5) * cell
        scene.labels.append(Label(x, top - 10, column_name, SMALL))
        _paint_row(scene, confusion, number, (left, top, cell))
    return scene


def write_confusion(confusion: Confusion, title: str, path: Path) -> None:
    """Write the image as a PNG file."""
    write_png(confusion_scene(confusion, title), path)


def _paint_row(
    scene: Scene, confusion: Confusion, row: int, grid: tuple[float, float, float]
) -> None:
    left, top, cell = grid
    counts = confusion.counts[row].tolist()
    total = max(sum(counts), 1)
    for column, count in enumerate(counts):
        share = count / total
        fill = _tinted(RIGHT if row == column else WRONG, share)
        x, y = left + column * cell, top + row * HEIGHT
        scene.boxes.append(Box(x, y, cell, HEIGHT, fill, "#d7dce2", radius=0.0))
        if count:
            ink = PAPER if share > 0.6 else INK
            middle = y + HEIGHT / 2
            text = _amount(count)
            scene.labels.append(Label(x + cell / 2, middle, text, TEXT - 1, ink))


def _tinted(colour: tuple[int, int, int], share: float) -> str:
    """Return a colour between white and ``colour``; a single row of many is still seen."""
    weight = 0.0 if share == 0 else 0.08 + 0.92 * share
    parts = [round(255 + weight * (part - 255)) for part in colour]
    return "#" + "".join(f"{part:02x}" for part in parts)


def _amount(count: int) -> str:
    return str(count) if count < 10_000 else f"{count // 1000}k"


def _short(name: str) -> str:
    text = visible(name)
    return (
        text
        if len(text) <= LONGEST_NAME
        else f"{text[: LONGEST_NAME - 1]}\N{HORIZONTAL ELLIPSIS}"
    )
