"""The contents of a drawing: a node for each input, equation and output, an edge for each use of a stream."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from registry import Plan, Ref, Spec, Step, StreamType, check, plan
from registry.language.freezing import frozen_until
from registry.language.patterns import base, is_negated, matches, may_match

Frozen = Literal["no", "part", "all"]


@dataclass(frozen=True)
class Run:
    """How something is computed: with the weights (``plain``), their averages (``momentum``), or both."""

    plain: bool = False
    momentum: bool = False

    def __or__(self, other: Run) -> Run:
        return Run(self.plain or other.plain, self.momentum or other.momentum)


@dataclass(frozen=True)
class Node:
    """One box: a stream with the call that computes it, an input, or an output of a goal."""

    key: str
    kind: Literal["input", "module", "operation", "goal"]
    title: str
    call: str = ""
    detail: str = ""
    # Those whose weights are used here, called or handed on by `@`.
    modules: tuple[str, ...] = ()
    frozen: Frozen = "no"


@dataclass(frozen=True)
class Edge:
    """A stream on its way from the node that computes it to a port of another."""

    source: str
    target: str
    stream: str  # with its field: both.vision
    shape: str
    port: str = ""

    @property
    def field(self) -> str:
        """The field of the stream, or an empty text."""
        return self.stream.removeprefix(self.source).removeprefix(".")


@dataclass
class Diagram:
    """The nodes, in the order in which they are computed, the edges, and how each of both is run."""

    name: str
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: dict[Edge, Run] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    # The definition that each line of the flow calls.
    calls: dict[str, str] = field(default_factory=dict)

    def call(self, key: str) -> str:
        """Return the call of a definition that a node belongs to, or an empty text."""
        line = key.partition(".")[0]
        return line if line in self.calls else ""

    @property
    def shared(self) -> list[str]:
        """The modules that more than one node uses."""
        users: Counter[str] = Counter()
        for node in self.nodes.values():
            users.update(node.modules)
        return [name for name, count in users.items() if count > 1]


def read_diagram(spec: Spec) -> Diagram:
    """Return the diagram of a spec, all goals in one; raise `SpecError` if the spec is not valid."""
    report = check(spec).raise_if_bad()
    types, spec = report.types, report.spec or spec
    diagram = Diagram(spec.path or "spec")
    for name, line in spec.written.flow.items():
        if line.callee in spec.definitions:
            diagram.calls[name] = line.callee
    for goal in spec.goals:
        steps = plan(spec, goal)
        for name in steps.inputs:
            diagram.nodes.setdefault(name, Node(name, "input", name))
            diagram.runs[name] = Run(plain=True)
        for step in steps.steps:
            _add_step(diagram, spec, types, steps, step)
        for output, ref in steps.outputs.items():
            _add_output(diagram, types, goal, output, ref)
    return diagram


def _add_step(
    diagram: Diagram, spec: Spec, types: dict[str, StreamType], steps: Plan, step: Step
) -> None:
    run = Run(momentum=True) if step.shadow else Run(plain=True)
    diagram.nodes.setdefault(step.name, _node(spec, step))
    diagram.runs[step.name] = diagram.runs.get(step.name, Run()) | run
    streams = []
    for port, argument in step.binding.arguments():
        if isinstance(argument, Ref):
            streams.append((port, argument))
    for port, ref in streams:
        # A variadic port would repeat the same word at each of its streams.
        is_named = len(streams) > 1 and not step.declaration.inputs[port].variadic
        label = port if is_named else ""
        edge = Edge(ref.stream, step.name, ref.name, str(types[ref.name]), label)
        # A step with the weights themselves may read what an average computed.
        reads_average = not step.shadow and steps.key(ref)[1]
        read = Run(momentum=True) if reads_average else run
        diagram.edges[edge] = diagram.edges.get(edge, Run()) | read


def _node(spec: Spec, step: Step) -> Node:
    equation = step.equation
    handed = [ref.name for ref in equation.modules()]
    # Streams are the edges of the diagram: the call shows what is not a stream.
    arguments = [f"@{name}" for name in handed]
    for name, value in step.binding.options.items():
        arguments.append(f"{name}={value!r}")
    call = equation.callee
    if arguments:
        call = f"{equation.callee}({', '.join(arguments)})"
    called = (equation.callee, *handed)
    used = tuple(name for name in called if name in spec.modules)
    frozen = _frozen(spec, used)
    title = equation.name
    entry = spec.modules.get(equation.callee)
    if entry is None:
        return Node(equation.name, "operation", title, call, "", used, frozen)
    details = [entry.use]
    for key in ("depth", "width"):
        if key in entry.arguments:
            details.append(f"{key} {entry.arguments[key]}")
    return Node(equation.name, "module", title, call, ", ".join(details), used, frozen)


def _add_output(
    diagram: Diagram, types: dict[str, StreamType], goal: str, output: str, ref: Ref
) -> None:
    key = f"{goal}:{output}"
    diagram.nodes[key] = Node(key, "goal", f"{goal}: {output}")
    diagram.runs[key] = Run(plain=True)
    diagram.edges[Edge(ref.stream, key, ref.name, str(types[ref.name]))] = Run(
        plain=True
    )


def _frozen(spec: Spec, modules: tuple[str, ...]) -> Frozen:
    """Return how much of the modules is frozen, as far as patterns show without the parameters' names."""
    if not modules:
        return "no"
    # A word that no pattern contains represents any parameter of the module.
    parameters = [f"{name}.\0" for name in modules]
    complete = [frozen_until(spec.freeze, parameter) > 0 for parameter in parameters]
    inside = []  # patterns of a part of a module
    for pattern in spec.freeze:
        is_complete = any(matches(base(pattern), parameter) for parameter in parameters)
        if may_match(pattern, modules) and not is_complete:
            inside.append(pattern)
    if all(complete):
        return "part" if any(is_negated(pattern) for pattern in inside) else "all"
    is_touched = any(not is_negated(pattern) for pattern in inside)
    return "part" if any(complete) or is_touched else "no"
