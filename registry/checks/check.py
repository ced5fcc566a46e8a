"""The checks that need no torch: names; then the graph, kinds and sizes, and what data and metrics supply."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from registry.checks.conditions import check_conditions
from registry.checks.graph import Graph, read_graph
from registry.checks.inference import completed
from registry.checks.initial import missing_files
from registry.checks.measured import check_measured
from registry.checks.misfits import Misfit
from registry.checks.names import check_names
from registry.checks.supply import check_supply
from registry.checks.text_sizes import settle_positions
from registry.checks.types import check_axes
from registry.errors import Problem, SpecError, require
from registry.language.ports import StreamType
from registry.language.spec import Spec
from registry.registries import REGISTRIES, Registries


@dataclass(frozen=True)
class Report:
    """What the checks found: the problems of the last stage that ran (`stage`), and the solved types."""

    problems: list[Problem] = field(default_factory=list)
    types: dict[str, StreamType] = field(default_factory=dict)
    stage: int = 3
    # The spec with the arguments that it leaves out, if nothing is wrong.
    spec: Spec | None = None
    # What stays open until there is data.
    notes: list[Problem] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing was found."""
        return not self.problems

    def raise_if_bad(self) -> Report:
        """Raise `SpecError` with all problems, or return the report."""
        if self.problems:
            raise SpecError(self.problems)
        return self

    def complete_spec(self) -> Spec:
        """Return the spec with the arguments that it leaves out; raise `SpecError` if one is open, too."""
        self.raise_if_bad()
        if self.notes:
            raise SpecError(self.notes)
        assert self.spec is not None
        return self.spec


def check(spec: Spec, names: Registries = REGISTRIES, files: bool = False) -> Report:
    """Return the report of stages 2 (names) and 3 (graph, kinds, sizes); stage 1 is `read_spec` itself.

    A stage with problems suppresses the next. `files`: what `init` names must exist, too.
    """
    require(spec, Spec, "spec")
    problems = check_names(spec, names) + (missing_files(spec, names) if files else [])
    if problems:
        return Report(SpecError(problems).problems, {}, 2)
    graph = read_graph(spec)
    solution = check_axes(spec, names, graph.order)
    misfits, types = solution.misfits, solution.types
    misfits += _losses(spec, types) + check_measured(spec, names, types)
    problems = _without_consequences(misfits, graph, types)
    if (
        not misfits
    ):  # What is not read may have been meant where something does not fit.
        problems += graph.unused_lines
    problems += graph.cycles + graph.uncalled + check_supply(spec, names, graph, types)
    if problems:  # a stream that does not fit may be what leaves a size open
        return Report(SpecError(problems).problems, types, 3)
    positions = settle_positions(spec, names, types, solution.sizes)
    waiting = solution.waiting | positions.waiting
    result = completed(spec, names, solution.sizes, waiting)
    problems = result.problems
    if result.spec.inferred:  # What follows must meet the conditions, too.
        problems = problems + check_conditions(result.spec, names)
    return Report(problems, types, 3, result.spec, result.notes)


def complete(spec: Spec, names: Registries = REGISTRIES) -> Spec:
    """Return a spec with the arguments that the wiring or the data settles; raise `SpecError`."""
    return check(spec, names).complete_spec()


def _without_consequences(
    misfits: list[Misfit], graph: Graph, types: dict[str, StreamType]
) -> list[Problem]:
    """Return the misfits, and the unused streams that no misfit explains.

    An unused stream of the kind that a misfit needs was probably meant there.
    """
    unused = {} if graph.cycles else dict(graph.unused)
    problems = []
    for misfit in misfits:
        fitting = [
            name
            for name in unused
            if name in types and types[name].kind in misfit.kinds
        ]
        if not fitting:
            problems.append(misfit.problem)
            continue
        # Each unused stream explains one misfit.
        meant = fitting[0]
        del unused[meant]
        hint = f"did you mean '{meant}', which nothing uses?"
        problems.append(replace(misfit.problem, hint=hint))
    return problems + list(unused.values())


def _losses(spec: Spec, types: dict[str, StreamType]) -> list[Misfit]:
    """Return a misfit for each loss of a goal that is not a scalar."""
    misfits = []
    for outputs in spec.goals.values():
        loss = outputs.get("loss")
        # A stream without a type is in a cycle, which is reported as such.
        if loss is None or loss.name not in types:
            continue
        solved = types[loss.name]
        if solved.kind != "scalar":
            message = f"'loss' must be a scalar, but stream '{loss.name}' is {solved}"
            misfits.append(Misfit(Problem(loss.place, message), ("scalar",)))
    return misfits
