"""Check stage 3, last part: the tasks of the data supply the inputs of the goals that they feed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from registry.checks.graph import Graph
from registry.errors import Location, Problem, UserError
from registry.language.ports import Port, StreamType
from registry.language.spec import Spec
from registry.planner import plan
from registry.registries import Registries
from registry.sources import SHORT_SOURCE
from registry.training import TrainingPlan, training_plan


def check_supply(
    spec: Spec, names: Registries, graph: Graph, types: Mapping[str, StreamType]
) -> list[Problem]:
    """Return a problem for each input that a task does not supply, or not in that kind.

    `types`: the solved types of the streams.
    """
    problems: dict[str, Problem] = {}
    training = training_plan(spec, names)
    for source, inputs in source_inputs(spec, names, training, graph):
        for task, location in _tasks(spec, training, source):
            for name in inputs:
                problem = _problem(spec, names, name, task, location)
                problem = problem or _wrong_target(spec, names, types, name, task)
                # An input that nothing reads is reported as that.
                if problem is not None and name not in graph.unused:
                    problems.setdefault(name, problem)
    return list(problems.values())


def source_inputs(
    spec: Spec, names: Registries, training: TrainingPlan, graph: Graph
) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield the sources with the inputs that each must supply."""
    if spec.data.get("sources") is None:
        # Inputs of all goals: the source of the short form feeds each of them.
        if spec.data:
            yield SHORT_SOURCE, spec.inputs
        return
    # Goals in a cycle have no plan; the cycle is reported.
    if graph.cycles:
        return
    goals: dict[str, set[str]] = {}
    for batch in training.batches.values():
        goals.setdefault(batch.source, set()).add(batch.goal)
    for step in training.iteration:
        # A step may feed its batches to another goal than they name.
        if step.goal:
            for name in step.batches:
                source = training.batches[name].source
                goals.setdefault(source, set()).add(step.goal)
    for evaluation in training.evaluations:
        if evaluation.goal in spec.goals:
            goals.setdefault(evaluation.source, set()).add(evaluation.goal)
    for source, used in goals.items():
        inputs: dict[str, None] = {}
        for goal in sorted(used):
            try:
                inputs.update(dict.fromkeys(plan(spec, goal, (), names).inputs))
            except UserError:
                continue  # reported by the checks of names and graph
        yield source, inputs


def _tasks(
    spec: Spec, training: TrainingPlan, source: str
) -> Iterator[tuple[str, Location]]:
    """Yield the tasks of a source with the positions where they are set; those of all parts of a mixture."""
    described = training.sources.get(source)
    if described is None:
        return
    if described.mixture is not None:
        for part in described.mixture:
            yield from _tasks(spec, training, part)
    elif described.task is not None:
        path: tuple[str, ...] = ("data", "sources", source)
        if spec.node(*path, "task") is None and spec.node(*path, "kind") is None:
            path = ("data",)
        key = "task" if spec.node(*path, "task") is not None else "kind"
        yield described.task, spec.place(*path, key)


def _problem(
    spec: Spec, names: Registries, name: str, task: str, location: Location
) -> Problem | None:
    """Return the problem of one input that a task must supply, or None."""
    outputs = names.tasks.declaration(task).outputs
    place, expected = spec.key_place("inputs", name), spec.inputs[name]
    port = outputs.get(name)
    if port is None:
        listed = [f"{output}: {other}" for output, other in outputs.items()]
        hint = f"it supplies {', '.join(listed)}"
        fitting = []
        for output, other in outputs.items():
            if expected.kind in other.kinds:
                fitting.append(output)
        # With the only output of that kind, another name was meant.
        if len(fitting) == 1:
            hint = f"did you mean '{fitting[0]}'?"
        message = (
            f"task '{task}' (set at {location.seen_from(place)}) supplies no '{name}'"
        )
        return Problem(place, message, hint)
    if expected.kind in port.kinds and len(expected.axes) == len(port.axes):
        return None
    message = f"wrong kind: task '{task}' supplies '{name}' as {port}, but the input is {expected}"
    return Problem(spec.place("inputs", name), message, f"`{name}: {port}`")


def _wrong_target(
    spec: Spec, names: Registries, types: Mapping[str, StreamType], name: str, task: str
) -> Problem | None:
    """Return the problem of an index input that counts other rows than those that a task counts, or None."""
    outputs: dict[str, Port] = names.tasks.declaration(task).outputs
    port, solved = outputs[name], types[name]
    if port.target is None or solved.target is None:
        return None
    counted: dict[str | int, str] = {}  # the axis in the spec, and an input that has it
    for other, output in outputs.items():
        if output.axes[:1] != (port.target,) or other not in spec.inputs:
            continue
        axes = types[other].axes
        if axes:  # An input without axes is reported where it is read.
            counted.setdefault(axes[0], other)
    if not counted or solved.target in counted:
        return None
    axis, other = next(iter(counted.items()))
    place = spec.place("inputs", name)
    message = (
        f"wrong index: task '{task}' supplies '{name}' as row numbers of '{other}' ({axis}), "
        f"but here it counts rows of {solved.target}"
    )
    fixed = replace(spec.inputs[name], target=axis)
    hint = f"write `{name}: {fixed}`, and use it for rows of {axis}"
    return Problem(place, message, hint)
