"""The legend of a drawing: a line for each meaning of a colour or a stroke that occurs in it."""

from __future__ import annotations

from collections.abc import Mapping

from mplug2.build.drawing.diagram import Diagram
from mplug2.build.drawing.shapes import (
    FAINT,
    LINE,
    MARGIN,
    MOMENTUM,
    PAPER,
    PLAIN,
    TEXT,
    Box,
    Label,
    Scene,
    text_width,
)

Entry = tuple[Box, str]  # a swatch, and what it means


def add_legend(
    scene: Scene, diagram: Diagram, colours: Mapping[str, str], top: float
) -> None:
    """Paint the legend from ``top`` on, in as many rows as the width needs, and set the scene's height.

    ``colours``: those of the modules that several nodes use.
    """
    x, y = MARGIN, top
    for box, text in _entries(diagram, colours):
        width = 26 + 8 + text_width(text, TEXT) + 24
        # An entry that is wider than the paper has a row for itself, and widens the paper.
        if x + width > scene.width and x > MARGIN:
            x, y = MARGIN, y + 26
        scene.width = max(scene.width, x + width)
        scene.boxes.append(
            Box(x, y, 26, 16, box.fill, box.stroke, 4.0, box.dashed, box.hatched)
        )
        scene.labels.append(Label(x + 34, y + 8, text, TEXT, FAINT, anchor="start"))
        x += width
    scene.height = y + 16 + MARGIN


def _swatch(
    fill: str, stroke: str = LINE, dashed: bool = False, hatched: float = 0.0
) -> Box:
    return Box(0, 0, 26, 16, fill, stroke, 4.0, dashed, hatched)


def _entries(diagram: Diagram, colours: Mapping[str, str]) -> list[Entry]:
    """Return an entry for each meaning that occurs."""
    nodes = diagram.nodes.values()
    users = [name for node in nodes for name in node.modules]
    entries: list[Entry] = []
    for name, colour in colours.items():
        num_places = users.count(name)
        entries.append(
            (_swatch(colour), f"{name}: the same weights in {num_places} places")
        )
    if any(node.modules and colours.keys().isdisjoint(node.modules) for node in nodes):
        entries.append((_swatch(PLAIN), "module used once"))
    if any(node.kind == "operation" and not node.modules for node in nodes):
        entries.append((_swatch(PAPER), "operation without weights"))
    if any(run.momentum for run in diagram.runs.values()):
        dashed = _swatch(PAPER, MOMENTUM, True)
        entries.append((dashed, "run again with averaged weights (momentum)"))
    frozen = {node.frozen for node in nodes}
    if "part" in frozen:
        entries.append((_swatch(PLAIN, hatched=0.4), "frozen in part"))
    if "all" in frozen:
        entries.append((_swatch(PLAIN, hatched=1.0), "frozen"))
    return entries
