"""A diagram as boxes, curves and labels at their places: what the renderers of SVG and PNG have in common."""

from __future__ import annotations

from dataclasses import dataclass, field

from mplug2.build.drawing.diagram import Diagram, Edge, Frozen, Node
from mplug2.build.drawing.layout import lay_out

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
ABOVE, BELOW, BETWEEN = (
    26.0,
    22.0,
    26.0,
)  # room for port names over a node, for shapes under it, and for curves
RIM = 5.0  # between a node and the dashed line around it
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
    ems = sum(
        0.34
        if c in "iljtf.,:;'|()[] !I"
        else 0.92
        if c in "mwMW@"
        else 0.7
        if c.isupper()
        else 0.62
        for c in text
    )
    return ems * size * (1.08 if bold else 1.0)


def wrapped(call: str) -> list[str]:
    """Return a call in lines that end after a comma; what does not fit in `LINES` of them is left out."""
    lines: list[str] = []
    for part in call.split(", "):
        if lines and len(lines[-1]) + len(part) + 2 <= LONGEST:
            lines[-1] += f", {part}"
        else:
            lines.append(part)
    shown = [f"{line}," for line in lines[:-1]] + lines[-1:]
    shown = shown if len(shown) <= LINES else [*shown[: LINES - 1], "…"]
    return [line if len(line) <= LONGEST + 1 else f"{line[:LONGEST]}…" for line in shown]


def build_scene(diagram: Diagram) -> Scene:
    """Return the drawing of a diagram, with a title and a legend."""
    return _Painter(diagram).scene()


class _Painter:
    def __init__(self, diagram: Diagram) -> None:
        self.diagram = diagram
        self.colours = {
            name: SHARED[i % len(SHARED)] for i, name in enumerate(diagram.shared)
        }
        self.outgoing: dict[str, dict[str, list[Edge]]] = {
            key: {} for key in diagram.nodes
        }
        self.incoming: dict[str, list[Edge]] = {key: [] for key in diagram.nodes}
        for edge in diagram.edges:
            self.outgoing[edge.source].setdefault(edge.stream, []).append(edge)
            self.incoming[edge.target].append(edge)
        self.widths = {key: self.width(node) for key, node in diagram.nodes.items()}
        arrows = [(edge.source, edge.target) for edge in diagram.edges]
        late = [key for key, node in diagram.nodes.items() if node.kind == "input"]
        self.layout = lay_out(self.widths, arrows, late)
        self.tops = self.rows()

    def lines(self, node: Node) -> list[tuple[str, float, str, bool]]:
        """The text in a node: text, size, colour, bold."""
        lines = [(node.title, TITLE if node.kind != "goal" else TEXT + 1, INK, True)]
        if node.call:
            lines += [(line, TEXT, INK, False) for line in wrapped(node.call)]
        if node.detail:
            lines.append((node.detail, SMALL, FAINT, False))
        return lines

    def width(self, node: Node) -> float:
        text = (
            max(text_width(text, size, bold) for text, size, _, bold in self.lines(node))
            + 2 * PAD
        )
        shapes = [
            text_width(_caption(edges[0]), SMALL) + 10
            for edges in self.outgoing[node.key].values()
        ]
        ports = [text_width(edge.port, SMALL) + 12 for edge in self.incoming[node.key]]
        return max(
            text,
            max(shapes, default=0.0) * len(shapes),
            max(ports, default=0.0) * len(ports),
            70.0,
        )

    def height(self, node: Node) -> float:
        return 16.0 + 14.0 * len(self.lines(node))

    def rows(self) -> list[float]:
        """The top of each layer, and the end of the last one."""
        layers = self.layout.layers
        tall = [0.0] * (max(layers.values(), default=0) + 1)
        for key, layer in layers.items():
            tall[layer] = max(tall[layer], self.height(self.diagram.nodes[key]))
        tops = [MARGIN + 34.0]
        for height in tall:
            tops.append(tops[-1] + height + ABOVE + BELOW + BETWEEN)
        return tops

    def top(self, key: str) -> float:
        return self.tops[self.layout.layers[key]]

    def bottom(self, key: str) -> float:
        return self.top(key) + self.height(self.diagram.nodes[key])

    def middle(self, key: str) -> float:
        return self.layout.middles[key] + MARGIN

    def scene(self) -> Scene:
        scene = Scene(self.layout.width + 2 * MARGIN, 0.0)
        scene.labels.append(
            Label(
                MARGIN,
                MARGIN + 4,
                self.diagram.name,
                TITLE + 2,
                INK,
                True,
                anchor="start",
            )
        )
        for node in self.diagram.nodes.values():
            self.paint_node(scene, node)
        for edge in self.diagram.edges:
            self.paint_edge(scene, edge)
        for edges in (
            edges for fields in self.outgoing.values() for edges in fields.values()
        ):
            x, y = self.leave(edges[0])
            scene.labels.append(
                Label(x, y + BELOW / 2 + 1, _caption(edges[0]), SMALL, FAINT, ground=True)
            )
        self.legend(scene)
        return scene

    def fill(self, node: Node) -> str:
        if node.kind == "input":
            return "#d1d9e2"
        if node.kind == "goal":
            return "#fff3c4"
        own = next(
            (self.colours[name] for name in node.modules if name in self.colours), None
        )
        return own or (PLAIN if node.modules else PAPER)

    def paint_node(self, scene: Scene, node: Node) -> None:
        run, width, height = (
            self.diagram.runs[node.key],
            self.widths[node.key],
            self.height(node),
        )
        x, y = self.middle(node.key) - width / 2, self.top(node.key)
        radius = height / 2 if node.kind in ("input", "goal") else 6.0
        if run.momentum:
            rim = RIM if run.plain else 0.0
            scene.boxes.append(
                Box(
                    x - rim,
                    y - rim,
                    width + 2 * rim,
                    height + 2 * rim,
                    PAPER,
                    MOMENTUM,
                    radius + rim,
                    True,
                )
            )
        stroke = LINE if run.plain else "none"
        scene.boxes.append(
            Box(
                x,
                y,
                width,
                height,
                self.fill(node),
                stroke,
                radius,
                False,
                HATCHED[node.frozen],
            )
        )
        lines = self.lines(node)
        at = y + height / 2 - sum(size + 2.5 for _, size, _, _ in lines) / 2
        for text, size, colour, bold in lines:
            at += size + 2.5
            ground = node.frozen == "all"
            scene.labels.append(
                Label(
                    self.middle(node.key),
                    at - size / 2 - 1,
                    text,
                    size,
                    colour,
                    bold,
                    ground,
                )
            )

    def leave(self, edge: Edge) -> Point:
        """Where a stream leaves its node: the fields of one side by side."""
        streams = list(self.outgoing[edge.source])
        streams.sort(
            key=lambda name: min(
                self.middle(one.target) for one in self.outgoing[edge.source][name]
            )
        )
        x = self.middle(edge.source) + _beside(
            streams.index(edge.stream), len(streams), self.widths[edge.source]
        )
        return x, self.bottom(edge.source)

    def enter(self, edge: Edge) -> Point:
        """Where an edge meets its target: side by side, in the order in which the edges arrive."""

        def arrival(one: Edge) -> tuple[float, float]:
            bends = self.layout.bends(one.source, one.target)
            last = (
                self.layout.middles[bends[-1]] + MARGIN if bends else self.leave(one)[0]
            )
            return last, self.leave(one)[0]

        edges = sorted(self.incoming[edge.target], key=arrival)
        x = self.middle(edge.target) + _beside(
            edges.index(edge), len(edges), self.widths[edge.target]
        )
        rim = RIM if self.diagram.runs[edge.target].momentum else 0.0
        return x, self.top(edge.target) - rim

    def paint_edge(self, scene: Scene, edge: Edge) -> None:
        run, points = self.diagram.edges[edge], [self.leave(edge)]
        for bend in self.layout.bends(edge.source, edge.target):
            x, y = self.layout.middles[bend] + MARGIN, self.tops[bend[2]]
            points += [(x, y - ABOVE / 2), (x, self.tops[bend[2] + 1] - ABOVE - BETWEEN)]
        points.append(self.enter(edge))
        if run.plain:
            scene.curves.append(Curve(tuple(points)))
        if run.momentum:
            shift = RIM if run.plain else 0.0
            moved = tuple((x + shift, y) for x, y in points)
            scene.curves.append(Curve(moved, MOMENTUM, True, arrow=not run.plain))
        if edge.port:
            x, y = points[-1]
            scene.labels.append(Label(x, y - 17, edge.port, SMALL, INK, ground=True))

    def legend(self, scene: Scene) -> None:
        """Return one line for each meaning of a colour or a stroke that occurs."""
        entries: list[tuple[Box, str]] = []

        def swatch(
            fill: str, stroke: str = LINE, dashed: bool = False, hatched: float = 0.0
        ) -> Box:
            return Box(0, 0, 26, 16, fill, stroke, 4.0, dashed, hatched)

        users = [name for node in self.diagram.nodes.values() for name in node.modules]
        for name, colour in self.colours.items():
            entries.append(
                (
                    swatch(colour),
                    f"{name}: the same weights in {users.count(name)} places",
                )
            )
        if any(
            node.modules and not set(node.modules) & set(self.colours)
            for node in self.diagram.nodes.values()
        ):
            entries.append((swatch(PLAIN), "module used once"))
        if any(
            node.kind == "operation" and not node.modules
            for node in self.diagram.nodes.values()
        ):
            entries.append((swatch(PAPER), "operation without weights"))
        if any(run.momentum for run in self.diagram.runs.values()):
            entries.append(
                (
                    swatch(PAPER, MOMENTUM, True),
                    "run again with averaged weights (momentum)",
                )
            )
        frozen = {node.frozen for node in self.diagram.nodes.values()}
        entries += [
            (swatch(PLAIN, hatched=1.0 if f == "all" else 0.4), NAMED[f])
            for f in ("part", "all")
            if f in frozen
        ]
        x, y = MARGIN, self.tops[-1] - BETWEEN - BELOW
        for box, text in entries:
            width = 26 + 8 + text_width(text, TEXT) + 24
            if x + width > scene.width and x > MARGIN:
                x, y = MARGIN, y + 26
            scene.width = max(scene.width, x + width)
            scene.boxes.append(
                Box(x, y, 26, 16, box.fill, box.stroke, 4.0, box.dashed, box.hatched)
            )
            scene.labels.append(Label(x + 34, y + 8, text, TEXT, FAINT, anchor="start"))
            x += width
        scene.height = y + 16 + MARGIN


HATCHED: dict[Frozen, float] = {"no": 0.0, "part": 0.06, "all": 1.0}
NAMED: dict[Frozen, str] = {"no": "", "part": "frozen in part", "all": "frozen"}


def _caption(edge: Edge) -> str:
    """Return the shape of a stream, after the name of its field if it has one."""
    return f"{edge.field}: {edge.shape}" if edge.field else edge.shape


def _beside(index: int, count: int, width: float) -> float:
    """The offset from the middle of the ``index``-th of ``count`` points along a side."""
    return ((index + 0.5) / count - 0.5) * width
