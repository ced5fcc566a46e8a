"""Draw a spec to a file whose suffix says how."""

from __future__ import annotations

from pathlib import Path

from mplug2.drawing.diagram import read_diagram
from mplug2.drawing.mermaid import write_mermaid
from mplug2.drawing.scene import build_scene
from mplug2.drawing.svg import write_svg
from registry import Spec, UserError

SUFFIXES = (".svg", ".png", ".mmd")


def draw(spec: Spec, file: Path) -> None:
    """Write the picture of ``spec`` to a .svg, .png or .mmd file; raise `UserError` for another suffix."""
    if file.suffix not in SUFFIXES:
        raise UserError(f"a picture must be one of {', '.join(SUFFIXES)}, but is '{file}'")
    diagram = read_diagram(spec)
    if not file.parent.is_dir():
        raise UserError(f"there is no folder '{file.parent}' to draw to")
    if file.suffix == ".mmd":
        file.write_text(write_mermaid(diagram), encoding="utf-8")
    elif file.suffix == ".svg":
        file.write_text(write_svg(build_scene(diagram)), encoding="utf-8")
    else:
        from mplug2.drawing.png import write_png  # matplotlib takes a second to import

        write_png(build_scene(diagram), file)
