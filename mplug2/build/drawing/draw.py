"""Draw a spec to a file; its suffix selects the format."""

from __future__ import annotations

import os
from pathlib import Path

from mplug2.build.drawing.diagram import read_diagram
from mplug2.build.drawing.mermaid import write_mermaid
from mplug2.build.drawing.scene import build_scene
from mplug2.build.drawing.svg import write_svg
from mplug2.runtime.atomic_write import atomic_write
from registry import Spec, UserError

SUFFIXES = (".svg", ".png", ".mmd")


def draw(spec: Spec, file: Path) -> None:
    """Write the drawing of ``spec`` to a .svg, .png or .mmd file; raise `UserError` for another suffix."""
    if file.suffix not in SUFFIXES:
        raise UserError(
            f"a drawing must be one of {', '.join(SUFFIXES)}, but is '{file}'"
        )
    diagram = read_diagram(spec)
    if not os.path.isdir(file.parent):
        raise UserError(f"there is no folder '{file.parent}' to draw to")
    if os.path.exists(file) and not os.path.isfile(file):
        raise UserError(
            f"a drawing must be written to a file, but '{file}' is a folder"
        )
    if file.suffix == ".png":
        from mplug2.build.drawing.png import (
            write_png,
        )  # matplotlib takes a second to import

        try:
            write_png(build_scene(diagram), file)
        except OSError as error:
            raise UserError(f"{file} cannot be written ({error})") from None
        return
    text = (
        write_mermaid(diagram)
        if file.suffix == ".mmd"
        else write_svg(build_scene(diagram))
    )
    with atomic_write(file) as stream:
        stream.write(text)
