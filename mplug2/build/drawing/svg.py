"""A scene as SVG text."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from mplug2.build.drawing.shapes import PAPER, Box, Curve, Label, Scene, text_width

FONT = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif"
DASH = 'stroke-dasharray="6 4"'


def write_svg(scene: Scene) -> str:
    """Return the scene as an SVG document."""
    size = f'width="{scene.width:.0f}" height="{scene.height:.0f}"'
    view = f'viewBox="0 0 {scene.width:.0f} {scene.height:.0f}"'
    colours = dict.fromkeys(curve.colour for curve in scene.curves)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {view} font-family={quoteattr(FONT)}>',
        "<defs>",
        '<pattern id="hatch" width="7" height="7" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)">'
        '<line x1="0" y1="0" x2="0" y2="7" stroke="#8492a3" stroke-width="2"/></pattern>',
        *(
            f'<marker id="{_arrow(colour)}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0 0.6 L8 4 L0 7.4 z" fill="{colour}"/></marker>'
            for colour in colours
        ),
        "</defs>",
        f'<rect width="100%" height="100%" fill="{PAPER}"/>',
        *map(_curve, scene.curves),
        *(line for box in scene.boxes for line in _box(box)),
        *(line for label in scene.labels for line in _label(label)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _arrow(colour: str) -> str:
    return f"arrow{colour.lstrip('#')}"


def _curve(curve: Curve) -> str:
    (x, y), *others = curve.points
    path = [f"M{x:.1f} {y:.1f}"]
    for to_x, to_y in others:
        half = (y + to_y) / 2
        path.append(f"C{x:.1f} {half:.1f} {to_x:.1f} {half:.1f} {to_x:.1f} {to_y:.1f}")
        x, y = to_x, to_y
    dash = f" {DASH}" if curve.dashed else ""
    head = f' marker-end="url(#{_arrow(curve.colour)})"' if curve.arrow else ""
    return f'<path d="{" ".join(path)}" fill="none" stroke="{curve.colour}" stroke-width="1.5"{dash}{head}/>'


def _box(box: Box) -> Iterator[str]:
    def rect(width: float, style: str) -> str:
        place = f'x="{box.x:.1f}" y="{box.y:.1f}" width="{width:.1f}" height="{box.height:.1f}"'
        return f'<rect {place} rx="{box.radius:.1f}" {style}/>'

    dash = f" {DASH}" if box.dashed else ""
    outline = f'stroke="{box.stroke}" stroke-width="1.3"{dash}'
    yield rect(box.width, f'fill="{box.fill}" {outline}')
    if box.hatched:
        yield rect(box.width * box.hatched, 'fill="url(#hatch)"')


def _label(label: Label) -> Iterator[str]:
    if label.ground:
        width, height = (
            text_width(label.text, label.size, label.bold) + 4,
            label.size + 3,
        )
        place = f'x="{label.x - width / 2:.1f}" y="{label.y - height / 2:.1f}"'
        yield f'<rect {place} width="{width:.1f}" height="{height:.1f}" fill="{PAPER}"/>'
    weight = ' font-weight="bold"' if label.bold else ""
    style = f'font-size="{label.size:g}" fill="{label.colour}" text-anchor="{label.anchor}"{weight}'
    yield f'<text x="{label.x:.1f}" y="{label.y + 0.35 * label.size:.1f}" {style}>{escape(label.text)}</text>'
