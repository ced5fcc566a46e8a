"""What holds of every drawing."""

from __future__ import annotations

from itertools import combinations

from mplug2.build.drawing.diagram import read_diagram
from mplug2.build.drawing.scene import build_scene
from registry import Spec


def assert_nothing_overlaps(spec: Spec) -> None:
    """Assert that boxes lie apart and inside the page, and that curves run downwards."""
    diagram = read_diagram(spec)
    scene = build_scene(diagram)
    boxes = [
        box for box in scene.boxes if not box.dashed
    ]  # a dashed rim lies around a box
    for left, right in combinations(boxes, 2):
        apart_x = left.x + left.width <= right.x or right.x + right.width <= left.x
        apart_y = left.y + left.height <= right.y or right.y + right.height <= left.y
        assert apart_x or apart_y
    for box in scene.boxes:
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= scene.width
        assert box.y + box.height <= scene.height
    assert len(scene.curves) == sum(
        run.plain + run.momentum for run in diagram.edges.values()
    )
    for curve in scene.curves:
        heights = [height for _, height in curve.points]
        assert heights == sorted(heights)
