"""The shapes of a drawing, which the renderers of SVG and PNG paint: boxes, curves, labels, colours, text sizes."""

from __future__ import annotations

from dataclasses import dataclass, field

INK, FAINT, PAPER = "#1f2933", "#66727f", "#ffffff"
LINE, MOMENTUM = "#52606d", "#c2410c"
PLAIN = "#e9edf2"  # a module that is called once
SHARED = (
    "#bfdbfe",
    "#bbf7d0",
    "#fde68a",
    "#fbcfe8",
    "#ddd6fe",
    "#a5f3fc",
    "#fecaca",
    "#d9f99d",
)
TITLE, TEXT, SMALL = 15.0, 12.0, 10.5
MARGIN, PAD = 28.0, 14.0
LONGEST = 38  # characters in a line of a call
LINES = 4  # of a call

Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A rectangle, a pill where ``radius`` is half its height; ``hatched`` is the share that is hatched."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    stroke: str = LINE
    radius: float = 6.0
    dashed: bool = False
    hatched: float = 0.0


@dataclass(frozen=True)
class Curve:
    """A line through points, vertical at each of them; the last one has an arrow head."""

    points: tuple[Point, ...]
    colour: str = LINE
    dashed: bool = False
    arrow: bool = True


@dataclass(frozen=True)
class Label:
    """Text, centred at a point unless ``anchor`` is 'start'; on paper-coloured ground where ``ground``."""

    x: float
    y: float
    text: str
    size: float = TEXT
    colour: str = INK
    bold: bool = False
    ground: bool = False
    anchor: str = "middle"


@dataclass
class Scene:
    """All shapes in the order in which they are painted, and the size of the paper."""

    width: float
    height: float
    curves: list[Curve] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)


def text_width(text: str, size: float, bold: bool = False) -> float:
    """Return about how wide a text is in a sans-serif font."""
    # The widths of three groups of letters are enough: boxes have room to spare.
    ems = 0.0
    for character in text:
        if character in "iljtf.,:;'|()[] !I":
            ems += 0.34
        elif character in "mwMW@":
            ems += 0.92
        else:
            ems += 0.7 if character.isupper() else 0.62
    return ems * size * (1.08 if bold else 1.0)


def wrapped(call: str) -> list[str]:
    """Return a call in lines that end after a comma; what does not fit in `LINES` of them is left out."""
    lines: list[str] = []
    for part in call.split(", "):
        if lines and len(lines[-1]) + len(part) + 2 <= LONGEST:
            lines[-1] += f", {part}"
        else:
            lines.append(part)
    # A comma at the end of a line shows that the call continues.
    shown = [f"{line}," for line in lines[:-1]] + lines[-1:]
    if len(shown) > LINES:
        shown = [*shown[: LINES - 1], "…"]
    for index, line in enumerate(shown):
        # A single argument may be longer than a line; the comma is not counted.
        if len(line) > LONGEST + 1:
            shown[index] = f"{line[:LONGEST]}…"
    return shown
