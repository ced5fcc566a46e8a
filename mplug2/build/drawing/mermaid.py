"""A diagram as Mermaid text, which GitHub and many editors draw by themselves."""

from __future__ import annotations

from mplug2.build.drawing.diagram import Diagram, Node
from mplug2.build.drawing.shapes import MOMENTUM, PLAIN, SHARED

BRACKETS = {
    "input": ("([", "])"),
    "goal": ("([", "])"),
    "operation": ("[", "]"),
    "module": ("[", "]"),
}


def write_mermaid(diagram: Diagram) -> str:
    """Return the diagram as a Mermaid flow chart."""
    # Numbers, since names of streams may have dots, or be words of Mermaid such as `end`.
    ids = {key: f"n{i}" for i, key in enumerate(diagram.nodes)}
    lines = [f"%% {diagram.name}", "flowchart TD"]
    # The nodes of each call of a definition; "" has the others.
    groups: dict[str, list[str]] = {}
    for key, node in diagram.nodes.items():
        opening, closing = BRACKETS[node.kind]
        box = f'  {ids[key]}{opening}"{_text(node)}"{closing}'
        groups.setdefault(diagram.call(key), []).append(box)
    lines += groups.pop("", [])
    for index, (name, boxes) in enumerate(groups.items()):
        lines.append(
            f'  subgraph call{index}["{_plain(name)}: {_plain(diagram.calls[name])}"]'
        )
        lines += [f"  {box}" for box in boxes]
        lines.append("  end")
    for edge, run in diagram.edges.items():
        label = _plain(f"{edge.shape} : {edge.port}" if edge.port else edge.shape)
        if run.plain:
            lines.append(f'  {ids[edge.source]} -->|"{label}"| {ids[edge.target]}')
        if run.momentum:
            lines.append(f'  {ids[edge.source]} -.->|"momentum"| {ids[edge.target]}')
    shared = diagram.shared
    for i, name in enumerate(shared):
        users = [
            ids[key] for key, node in diagram.nodes.items() if name in node.modules
        ]
        lines += [
            f"  classDef shared{i} fill:{SHARED[i % len(SHARED)]}",
            f"  class {','.join(users)} shared{i}",
        ]
    once, frozen = [], []
    for key, node in diagram.nodes.items():
        if node.modules and set(shared).isdisjoint(node.modules):
            once.append(ids[key])
        if node.frozen != "no":
            frozen.append(ids[key])
    again = [ids[key] for key, run in diagram.runs.items() if run.momentum]
    for group, users, style in (
        ("once", once, f"fill:{PLAIN}"),
        ("frozen", frozen, "stroke-width:4px"),
        ("momentum", again, f"stroke:{MOMENTUM},stroke-dasharray:6 4"),
    ):
        if users:
            lines += [
                f"  classDef {group} {style}",
                f"  class {','.join(users)} {group}",
            ]
    return "\n".join(lines) + "\n"


def _text(node: Node) -> str:
    frozen = {"no": "", "part": "frozen in part", "all": "frozen"}[node.frozen]
    lines = [node.title, node.call, node.detail, frozen]
    return "<br/>".join(_plain(line) for line in lines if line)


def _plain(text: str) -> str:
    """Write what Mermaid would read as markup as character codes."""
    return "".join(f"#{ord(c)};" if c in '"#<>&;@|' else c for c in text)
