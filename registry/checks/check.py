"""The checks that need no torch: names; then the graph, kinds and sizes, and what data and metrics supply."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from registry.checks.graph import Graph, read_graph
from registry.checks.initial import missing_files
from registry.checks.names import check_names
from registry.checks.types import Misfit, check_axes
from registry.errors import Place, Problem, SpecError, UserError
from registry.language.declaration import Declaration
from registry.language.ports import StreamType
from registry.language.schema import NAMED_GOALS
from registry.language.spec import Spec
from registry.registries import CATALOGUE, Catalogue


@dataclass(frozen=True)
class Report:
    """What the checks found: the problems of the last stage that ran (`stage`), and the solved types."""

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


def check(spec: Spec, names: Catalogue = CATALOGUE, files: bool = False) -> Report:
    """Return the report of stages 2 (names) and 3 (graph, kinds, sizes); stage 1 is `read_spec` itself.

    A stage with problems suppresses the next. `files`: what `init` names must exist, too.
    """
    problems = check_names(spec, names) + (missing_files(spec) if files else [])
    if problems:
        return Report(SpecError(problems).problems, {}, 2)
    graph = read_graph(spec)
    misfits, types = check_axes(spec, names, graph.order)
    problems = _without_consequences(misfits + _results(spec, names, types), graph, types)
    problems += graph.circles + graph.uncalled + _supply(spec, names, graph)
    return Report(SpecError(problems).problems, types, 3)


def _without_consequences(misfits: list[Misfit], graph: Graph, types: dict[str, StreamType]) -> list[Problem]:
    """Return the misfits, and what is never used for another reason than that a misfit stands in its place.

    A stream that nobody uses, of the kind that a misfit lacks, is what was meant there.
    """
    unused = {} if graph.circles else dict(graph.unused)
    problems = []
    for misfit in misfits:
        meant = next((name for name in unused if name in types and types[name].kind in misfit.kinds), None)
        if meant is None:
            problems.append(misfit.problem)
        else:
            del unused[meant]
            problems.append(replace(misfit.problem, hint=f"did you mean '{meant}', which nothing uses?"))
    return problems + list(unused.values())


def _supply(spec: Spec, names: Catalogue, graph: Graph) -> list[Problem]:
    """Return a problem for each input that the reader of `data` does not supply, or not in that kind."""
    kind = spec.data.get("kind")
    if not isinstance(kind, str):
        return []
    outputs = names.tasks.declaration(kind).outputs
    problems = []
    for name, wanted in spec.inputs.items():
        if name in graph.unused:
            continue
        place = spec.key_place("inputs", name)
        port = outputs.get(name)
        if port is None:
            fitting = [one for one, other in outputs.items() if wanted.kind in other.kinds]
            listed = ", ".join(f"{one}: {other}" for one, other in outputs.items())
            hint = f"did you mean '{fitting[0]}'?" if len(fitting) == 1 else f"it supplies {listed}"
            set_at = spec.place("data", "kind").seen_from(place)
            message = f"task '{kind}' (set at {set_at}) supplies no '{name}'"
            problems.append(Problem(place, message, hint))
        elif wanted.kind not in port.kinds or len(wanted.axes) != len(port.axes):
            message = f"wrong kind: task '{kind}' supplies '{name}' as {port}, but the input is {wanted}"
            problems.append(Problem(spec.place("inputs", name), message, f"`{name}: {port}`"))
    return problems


def _results(spec: Spec, names: Catalogue, types: dict[str, StreamType]) -> list[Misfit]:
    """Return the misfits of goals: a loss that is no scalar, metrics that do not fit what they measure."""
    misfits = []
    measured: dict[str, str] = {}  # outputs of `eval.goal`, and the first metric of each
    for loss in (outputs["loss"] for outputs in spec.goals.values() if "loss" in outputs):
        if loss.name in types and types[loss.name].kind != "scalar":
            message = f"'loss' must be a scalar, but stream '{loss.name}' is {types[loss.name]}"
            misfits.append(Misfit(Problem(loss.place, message), ("scalar",)))
    for at, metric in enumerate(spec.eval["metrics"]):
        place = spec.place("eval", "metrics", at)
        try:
            declaration = names.metrics.declaration(metric)
            problems = _measured(spec, declaration, metric, place, types)
            for name in declaration.inputs.keys() - set(NAMED_GOALS):
                measured.setdefault(name, metric)
        except UserError as error:
            problems = [Problem(place, str(error))]
        misfits += [Misfit(problem, ()) for problem in problems]
    if len(measured) > 1 and not misfits:
        told = " and ".join(f"'{metric}' '{name}'" for name, metric in measured.items())
        message = f"metrics must measure one output of goal '{spec.eval['goal']}', but {told}"
        hint = "name the metrics of one; evaluate again with those of the other"
        misfits.append(Misfit(Problem(spec.place("eval", "metrics"), message, hint), ()))
    return misfits


def _measured(
    spec: Spec, declaration: Declaration, metric: str, place: Place, types: dict[str, StreamType]
) -> list[Problem]:
    """Return a problem for each output that a metric measures and its goal has not, or not in that kind."""
    goal = spec.eval["goal"]
    outputs = spec.goals.get(goal, {})
    problems = []
    for name, port in declaration.inputs.items():
        ref = outputs.get(name)
        if name in NAMED_GOALS and name in spec.goals:  # its outputs may have any names
            found = [one for one in spec.goals[name].values() if one.name in types]
            if sum(types[one.name].kind in port.kinds for one in found) != 1:
                message = f"metric '{metric}' measures one {port.kind} of goal '{name}', which gives "
                given = ", ".join(f"'{one}' ({types[one.name]})" for one in found) or "none"
                problems.append(Problem(spec.key_place("goals", name), message + given))
        elif ref is None and not port.optional:
            message = f"metric '{metric}' measures output '{name}' ({port}), which goal '{goal}' has not"
            hint = f"outputs of the goal: {', '.join(outputs) or 'none'}"
            if name in NAMED_GOALS:
                message = f"metric '{metric}' measures goal '{name}' ({port}), but there is no such goal"
                hint = f"goals: {', '.join(spec.goals)}"
            problems.append(Problem(place, message, hint))
        elif ref is not None and ref.name in types and types[ref.name].kind not in port.kinds:
            stream = f"stream '{ref.name}' (goal '{goal}') is {types[ref.name]}"
            message = f"metric '{metric}' measures '{name}' as {port.kind}, but {stream}"
            problems.append(Problem(place, message))
    return problems
