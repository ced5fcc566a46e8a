"""The checks that need no torch: names, then the graph with its kinds and sizes, then what data and metrics supply."""

from __future__ import annotations

from dataclasses import dataclass, field

from registry.axes import check_axes
from registry.errors import Problem, SpecError, UserError
from registry.graph import check_graph
from registry.names import check_names
from registry.ports import StreamType
from registry.registry import CATALOGUE, Catalogue
from registry.spec import Spec


@dataclass(frozen=True)
class Report:
    """What the checks found: the problems of the last stage that ran (`stage`), or the solved types of all streams."""

    problems: list[Problem] = field(default_factory=list)
    types: dict[str, StreamType] = field(default_factory=dict)
    stage: int = 3

    @property
    def good(self) -> bool:
        """Whether nothing was found."""
        return not self.problems

    def raise_if_bad(self) -> Report:
        """Raise `SpecError` with all problems, or return the report."""
        if self.problems:
            raise SpecError(self.problems)
        return self


def check(spec: Spec, names: Catalogue = CATALOGUE) -> Report:
    """Return the report of stages 2 (names) and 3 (graph, kinds, sizes); stage 1 is `read_spec` itself.

    A stage with problems suppresses the next.
    """
    problems = check_names(spec, names)
    if problems:
        return Report(SpecError(problems).problems, {}, 2)
    problems, order = check_graph(spec)
    found, types = check_axes(spec, names, order)
    problems += found + _supply(spec, names) + _results(spec, names, types)
    return Report(SpecError(problems).problems, types, 3)


def _supply(spec: Spec, names: Catalogue) -> list[Problem]:
    """Return a problem for each input that the reader of `data` does not supply, or not in that kind."""
    kind = spec.data.get("kind")
    if not isinstance(kind, str):
        return []
    outputs = names.readers.declaration(kind).outputs
    problems = []
    for name, wanted in spec.inputs.items():
        place = spec.key_place("inputs", name)
        port = outputs.get(name)
        if port is None:
            fitting = [one for one, other in outputs.items() if wanted.kind in other.kinds]
            listed = ", ".join(f"{one}: {other}" for one, other in outputs.items())
            hint = f"did you mean '{fitting[0]}'?" if len(fitting) == 1 else f"it supplies {listed}"
            set_at = spec.place("data", "kind").seen_from(place)
            message = f"reader '{kind}' (set at {set_at}) supplies no '{name}'"
            problems.append(Problem(place, message, hint))
        elif wanted.kind not in port.kinds or len(wanted.axes) != len(port.axes):
            message = f"wrong kind: reader '{kind}' supplies '{name}' as {port}, but the input is {wanted}"
            problems.append(Problem(spec.place("inputs", name), message, f"`{name}: {port}`"))
    return problems


def _results(spec: Spec, names: Catalogue, types: dict[str, StreamType]) -> list[Problem]:
    """Return the problems of goals: a loss that is no scalar, and metrics that do not fit what they measure."""
    problems = []
    loss = spec.goals.get("train", {}).get("loss")
    if loss is not None and loss.name in types and types[loss.name].kind != "scalar":
        problems.append(
            Problem(loss.place, f"'loss' must be a scalar, but stream '{loss.name}' is {types[loss.name]}")
        )
    outputs = spec.goals.get(spec.eval["goal"], {})
    for at, metric in enumerate(spec.eval["metrics"]):
        place = spec.place("eval", "metrics", at)
        try:
            wanted = names.metrics.declaration(metric).inputs
        except UserError as error:
            problems.append(Problem(place, str(error)))
            continue
        for name, port in wanted.items():
            ref = outputs.get(name)
            if ref is None and not port.optional:
                have = ", ".join(outputs) or "none"
                message = f"metric '{metric}' measures output '{name}' ({port}), which goal '{spec.eval['goal']}' has not"
                problems.append(Problem(place, message, f"outputs of the goal: {have}"))
            elif ref is not None and ref.name in types and types[ref.name].kind not in port.kinds:
                message = f"metric '{metric}' measures '{name}' as {port.kind}, but stream '{ref.name}'"
                problems.append(
                    Problem(place, f"{message} (goal '{spec.eval['goal']}') is {types[ref.name]}")
                )
    return problems
