"""Compare the data with the network, as far as the spec alone allows: lengths of texts, and numbers of
classes.

A task declares by `token_limits` which of its arguments bounds an output, a module which of its arguments
bounds a port. `class_names` of a task is the argument that names the classes of an output. A network may be
built without these checks, since it may be fed by other data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from registry.checks.conditions import argument_value
from registry.checks.task_settings import TaskSetting, task_settings
from registry.errors import Location, Problem, SpecError
from registry.language.binding import bind
from registry.language.equation import Equation, Ref
from registry.language.ports import StreamType
from registry.language.spec import Spec
from registry.planner import declaration_of
from registry.registries import REGISTRIES, Registries

Types = Mapping[str, StreamType]


def check_data_limits(
    spec: Spec, types: Types, names: Registries = REGISTRIES
) -> list[Problem]:
    """Return texts that may be longer than the positions of a module, and classes that the network lacks.

    ``types`` are the solved types of `check`, which must have found no problem.
    """
    problems: list[Problem] = []
    for setting, inputs in task_settings(spec, names):
        for name in inputs:
            problems += _too_long(spec, types, names, name, setting)
            problems += _too_few_classes(spec, types, names, name, setting)
    return SpecError(problems).problems


def _too_long(
    spec: Spec, types: Types, names: Registries, name: str, setting: TaskSetting
) -> Iterator[Problem]:
    """Yield a problem for each module that has fewer positions than an input may have tokens."""
    argument = setting.declaration.token_limits.get(name, "")
    longest = setting.value(argument)
    if not isinstance(longest, int) or name not in types:
        return
    readers = text_readers(spec, types, names, name, spec.flow.values())
    for module, positions_argument in readers:
        positions = argument_value(spec, names, module, positions_argument)
        if isinstance(positions, int) and longest > positions:
            message = (
                f"{argument} must be at most the {positions_argument} of module '{module}', which reads "
                f"'{name}' (got {argument} {longest}, {positions_argument} {positions})"
            )
            where = spec.place("modules", module, positions_argument)
            hint = f"`{argument}: {positions}`, or `{positions_argument}: {longest}` in '{module}' ({where})"
            yield Problem(setting.place(spec, argument), message, hint)


def text_readers(
    spec: Spec,
    types: Types,
    names: Registries,
    name: str,
    equations: Iterable[Equation],
) -> Iterator[tuple[str, str]]:
    """Yield the modules that read a text as long as an input, with the argument that bounds their port.

    ``equations``: the lines to look at, all of the flow or those of a goal. A stream is as long as the input
    if it has the same letter on the axis of tokens, as after `mask_tokens`.
    """
    letter = _length(types[name])
    for equation in equations:
        if equation.callee not in spec.modules:
            continue
        declaration = declaration_of(spec, equation, names)
        binding, _ = bind(equation, declaration)
        for port, argument in binding.arguments():
            if port not in declaration.token_limits or not isinstance(argument, Ref):
                continue
            stream = types.get(argument.name)
            same_length = letter and stream is not None and _length(stream) == letter
            if argument.name == name or same_length:
                yield equation.callee, declaration.token_limits[port]


def _length(stream: StreamType) -> str:
    """Return the letter of a stream's axis of tokens; '' if it has none."""
    axis = stream.axes[1] if len(stream.axes) > 1 else ""
    return axis if isinstance(axis, str) else ""


def _too_few_classes(
    spec: Spec, types: Types, names: Registries, name: str, setting: TaskSetting
) -> Iterator[Problem]:
    """Yield a problem for each stream of logits with fewer classes than an input has."""
    argument = setting.declaration.class_names.get(name, "")
    value = setting.value(argument)
    if not isinstance(value, list | dict):
        return
    # Several labels may mean one class, and YAML reads `1` and `true` as values of their types.
    listed = value.values() if isinstance(value, dict) else value
    labels = dict.fromkeys(str(label) for label in listed)
    for logits in dict.fromkeys(_logits_for(spec, types, names, name)):
        classes = types[logits].axes[-1]
        # More classes than labels are allowed: a head may have spare ones.
        if not isinstance(classes, int) or classes >= len(labels):
            continue
        place, hint = _class_place(spec, names, logits, len(labels))
        where = setting.place(spec, argument).seen_from(place)
        message = (
            f"stream '{logits}' must have a class for each of data.{argument} (got {classes} classes, "
            f"{len(labels)} labels at {where})"
        )
        yield Problem(place, message, hint)


def _logits_for(
    spec: Spec, types: Types, names: Registries, name: str
) -> Iterator[str]:
    """Yield the logits that a call compares with a class input, or that a goal gives by its name."""
    for equation in spec.flow.values():
        binding, _ = bind(equation, declaration_of(spec, equation, names))
        logits = []
        reads_input = False
        for _, argument in binding.arguments():
            if isinstance(argument, Ref):
                reads_input = reads_input or argument.name == name
                if _is_logits(types, argument):
                    logits.append(argument.name)
        if reads_input:
            yield from logits
    for outputs in spec.goals.values():
        if name in outputs and _is_logits(types, outputs[name]):
            yield outputs[name].name


def _is_logits(types: Types, ref: Ref) -> bool:
    return ref.name in types and types[ref.name].kind == "logits"


def _class_place(
    spec: Spec, names: Registries, logits: str, count: int
) -> tuple[Location, str]:
    """Return where the number of classes of a stream is set, and what to write there."""
    equation = spec.flow.get(logits.split(".")[0])
    if equation is None:
        return spec.place("inputs", logits), ""
    module = spec.modules.get(equation.callee)
    if module is None:
        return equation.place, ""
    arguments = names.modules.declaration(module.use).arguments
    if "classes" not in arguments:
        return equation.place, ""
    place = module.places.get("classes", module.place)
    return place, f"`classes: {count}` in module '{module.name}'"
