"""A diagram as boxes, curves and labels at their places: what the renderers of SVG and PNG have in common."""

from __future__ import annotations

from mplug2.build.drawing.diagram import Diagram, Edge, Frozen, Node
from mplug2.build.drawing.layout import lay_out
from mplug2.build.drawing.legend import add_legend
from mplug2.build.drawing.shapes import (
    FAINT,
    INK,
    LINE,
    MARGIN,
    MOMENTUM,
    PAD,
    PAPER,
    PLAIN,
    SHARED,
    SMALL,
    TEXT,
    TITLE,
    Box,
    Curve,
    Label,
    Point,
    Scene,
    text_width,
    wrapped,
)

# Room for port names over a node, for shapes under it, and for curves.
ABOVE, BELOW, BETWEEN = 26.0, 22.0, 26.0
RIM = 5.0  # between a node and the dashed line around it
HATCHED: dict[Frozen, float] = {"no": 0.0, "part": 0.06, "all": 1.0}


def build_scene(diagram: Diagram) -> Scene:
    """Return the drawing of a diagram, with a title and a legend."""
    return _Painter(diagram).scene()


class _Painter:
    def __init__(self, diagram: Diagram) -> None:
        self.diagram = diagram
        self.colours: dict[str, str] = {}
        for index, name in enumerate(diagram.shared):
            self.colours[name] = SHARED[index % len(SHARED)]
        # By node; what leaves it also by the name of the stream, since fields leave side by side.
        self.outgoing: dict[str, dict[str, list[Edge]]] = {}
        self.incoming: dict[str, list[Edge]] = {}
        for key in diagram.nodes:
            self.outgoing[key] = {}
            self.incoming[key] = []
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
        """Room for the text in a node, and for the labels of edges side by side below and above it."""
        texts = []
        for text, size, _, bold in self.lines(node):
            texts.append(text_width(text, size, bold) + 2 * PAD)
        shapes = [0.0]
        for edges in self.outgoing[node.key].values():
            shapes.append(text_width(_caption(edges[0]), SMALL) + 10)
        ports = [0.0]
        for edge in self.incoming[node.key]:
            ports.append(text_width(edge.port, SMALL) + 12)
        # Edges are evenly spaced, so each of them gets the room of the widest label.
        below = max(shapes) * (len(shapes) - 1)
        above = max(ports) * (len(ports) - 1)
        return max(*texts, below, above, 70.0)

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
        name = self.diagram.name
        scene.labels.append(
            Label(MARGIN, MARGIN + 4, name, TITLE + 2, bold=True, anchor="start")
        )
        for node in self.diagram.nodes.values():
            self.paint_node(scene, node)
        for edge in self.diagram.edges:
            self.paint_edge(scene, edge)
        # A stream has its shape once, under the node that computes it, however many edges leave there.
        for streams in self.outgoing.values():
            for edges in streams.values():
                x, y = self.leave(edges[0])
                caption, middle = _caption(edges[0]), y + BELOW / 2 + 1
                scene.labels.append(
                    Label(x, middle, caption, SMALL, FAINT, ground=True)
                )
        add_legend(scene, self.diagram, self.colours, self.tops[-1] - BETWEEN - BELOW)
        return scene

    def fill(self, node: Node) -> str:
        if node.kind == "input":
            return "#d1d9e2"
        if node.kind == "goal":
            return "#fff3c4"
        for name in node.modules:
            if name in self.colours:
                return self.colours[name]
        return PLAIN if node.modules else PAPER

    def paint_node(self, scene: Scene, node: Node) -> None:
        run = self.diagram.runs[node.key]
        width, height = self.widths[node.key], self.height(node)
        x, y = self.middle(node.key) - width / 2, self.top(node.key)
        radius = height / 2 if node.kind in ("input", "goal") else 6.0
        if run.momentum:
            # What only the average computes has its line in place of the node's own one, not around it.
            rim = RIM if run.plain else 0.0
            scene.boxes.append(
                Box(
                    x - rim,
                    y - rim,
                    width + 2 * rim,
                    height + 2 * rim,
                    fill=PAPER,
                    stroke=MOMENTUM,
                    radius=radius + rim,
                    dashed=True,
                )
            )
        stroke = LINE if run.plain else "none"
        hatched = HATCHED[node.frozen]
        scene.boxes.append(
            Box(x, y, width, height, self.fill(node), stroke, radius, hatched=hatched)
        )
        self.paint_lines(scene, node, y + height / 2)

    def paint_lines(self, scene: Scene, node: Node, middle: float) -> None:
        """Paint the text of a node, all lines together centred at ``middle``."""
        lines = self.lines(node)
        total = sum(size + 2.5 for _, size, _, _ in lines)
        # Text over hatching is hard to read, so it gets a ground.
        ground = node.frozen == "all"
        x, bottom = self.middle(node.key), middle - total / 2
        for text, size, colour, bold in lines:
            bottom += size + 2.5
            scene.labels.append(
                Label(x, bottom - size / 2 - 1, text, size, colour, bold, ground)
            )

    def leave(self, edge: Edge) -> Point:
        """Where a stream leaves its node: the fields of one side by side."""
        leftmost: dict[str, float] = {}
        for name, edges in self.outgoing[edge.source].items():
            leftmost[name] = min(self.middle(other.target) for other in edges)
        # In the order of their targets, so that edges of one node do not cross each other.
        streams = sorted(leftmost, key=leftmost.__getitem__)
        index, width = streams.index(edge.stream), self.widths[edge.source]
        x = self.middle(edge.source) + _beside(index, len(streams), width)
        return x, self.bottom(edge.source)

    def enter(self, edge: Edge) -> Point:
        """Where an edge meets its target: side by side, in the order in which the edges arrive."""

        def arrival(other: Edge) -> tuple[float, float]:
            start, _ = self.leave(other)
            bends = self.layout.bends(other.source, other.target)
            # A long edge arrives from its last bend.
            last = self.layout.middles[bends[-1]] + MARGIN if bends else start
            return last, start

        edges = sorted(self.incoming[edge.target], key=arrival)
        index, width = edges.index(edge), self.widths[edge.target]
        x = self.middle(edge.target) + _beside(index, len(edges), width)
        # The dashed line of an average is around the node: edges end at it.
        rim = RIM if self.diagram.runs[edge.target].momentum else 0.0
        return x, self.top(edge.target) - rim

    def paint_edge(self, scene: Scene, edge: Edge) -> None:
        run, points = self.diagram.edges[edge], [self.leave(edge)]
        for bend in self.layout.bends(edge.source, edge.target):
            x, y = self.layout.middles[bend] + MARGIN, self.tops[bend[2]]
            # Straight past the nodes of the layer: curves have the room between layers.
            points += [
                (x, y - ABOVE / 2),
                (x, self.tops[bend[2] + 1] - ABOVE - BETWEEN),
            ]
        points.append(self.enter(edge))
        if run.plain:
            scene.curves.append(Curve(tuple(points)))
        if run.momentum:
            # Next to the plain curve, which has the arrow head of both.
            shift = RIM if run.plain else 0.0
            moved = tuple((x + shift, y) for x, y in points)
            scene.curves.append(Curve(moved, MOMENTUM, True, arrow=not run.plain))
        if edge.port:
            x, y = points[-1]
            scene.labels.append(Label(x, y - 17, edge.port, SMALL, INK, ground=True))


def _caption(edge: Edge) -> str:
    """Return the shape of a stream, after the name of its field if it has one."""
    return f"{edge.field}: {edge.shape}" if edge.field else edge.shape


def _beside(index: int, count: int, width: float) -> float:
    """The offset from the middle of the ``index``-th of ``count`` points along a side."""
    return ((index + 0.5) / count - 0.5) * width
