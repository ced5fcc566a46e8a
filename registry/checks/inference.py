"""Arguments that a spec leaves out, since the wiring or the data settles them: `width`, `classes`.

A required argument may be left out if an axis of the module's ports has its name: then it is the size that
the streams have there. The number of classes also follows from the labels that the data lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from registry.checks.sizes import Size
from registry.errors import NOWHERE, Place, Problem
from registry.language.binding import bind
from registry.language.declaration import Declaration
from registry.language.equation import Ref
from registry.language.spec import ModuleEntry, Spec
from registry.planner import declaration_of
from registry.registries import Catalogue
from registry.training import SourceSpec, training_plan

LOGITS = "logits"  # the kind whose last axis counts classes

OpenSizes = Mapping[tuple[str, str], Size]  # by module and argument


@dataclass(frozen=True)
class ClassCount:
    """How many classes the labels of an input have, and where the data lists them."""

    count: int
    place: Place


def may_be_left_out(declaration: Declaration, argument: str) -> bool:
    """Return whether a required argument of a module can follow from its streams: an axis has its name."""
    ports = [*declaration.inputs.values(), *declaration.outputs.values()]
    return any(argument in port.names for port in ports)


def class_counts(spec: Spec, names: Catalogue) -> dict[str, ClassCount]:
    """Return for each input of class numbers how many classes `data` lists; the largest of all sources."""
    counts: dict[str, ClassCount] = {}
    for source in training_plan(spec, names).sources.values():
        if source.task is None or source.task not in names.tasks:
            continue
        for name, argument in names.tasks.declaration(source.task).class_names.items():
            for listed, place in _class_lists(spec, source, argument):
                count = len(dict.fromkeys(listed))
                if name in spec.inputs and (name not in counts or counts[name].count < count):
                    counts[name] = ClassCount(count, place)
    return counts


def _class_lists(spec: Spec, source: SourceSpec, argument: str) -> Iterator[tuple[list[str], Place]]:
    """Yield the lists of classes that a source and its splits set, as text, with their places."""
    paths: list[tuple[str, ...]] = [("data",), ("data", "sources", source.name)]
    for base in list(paths):
        paths += [(*base, split) for split in source.splits]
    for path in paths:
        node = spec.node(*path, argument)
        value = None if node is None else node.plain()
        if isinstance(value, dict):
            value = list(value.values())
        if node is not None and isinstance(value, list):
            yield [str(label) for label in value], node.place


def count_classes(spec: Spec, names: Catalogue, sizes: OpenSizes, last_axes: Mapping[str, Size]) -> None:
    """Set the open number of classes of logits that are compared with labels which the data lists.

    `last_axes`: the last axis of each stream of logits.
    """
    still_open = {id(size.root()) for size in sizes.values() if size.root().value is None}
    if not still_open:
        return
    counts = class_counts(spec, names)
    for input_name, logits in _compared(spec, names, counts):
        size = last_axes.get(logits)
        if size is not None and id(size.root()) in still_open and size.root().value is None:
            size.root().value = counts[input_name].count
            size.root().origin = counts[input_name].place


def _compared(spec: Spec, names: Catalogue, inputs: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the inputs of class numbers with the streams that a call, or a goal, compares them with."""
    for equation in spec.flow.values():
        binding, _ = bind(equation, declaration_of(spec, equation, names))
        streams = [filling.name for _, filling in binding.arguments() if isinstance(filling, Ref)]
        for name in inputs:
            if name in streams:
                yield from ((name, stream) for stream in streams)
    for outputs in spec.goals.values():
        for name in inputs:
            if name in outputs:
                yield name, outputs[name].name


def completed(spec: Spec, names: Catalogue, sizes: OpenSizes) -> tuple[Spec, list[Problem]]:
    """Return the spec with the arguments that were left out, and a problem for each that nothing settles."""
    problems: list[Problem] = []
    modules = dict(spec.modules)
    inferred = dict(spec.inferred)
    order = list(spec.modules)
    for (module, argument), size in sorted(sizes.items(), key=lambda item: order.index(item[0][0])):
        root = size.root()
        entry = modules[module]
        if root.value is None:
            problems.append(_unsettled(entry, argument, names))
            continue
        origin = root.origin if isinstance(root.origin, Place) else NOWHERE
        modules[module] = replace(
            entry,
            arguments={**entry.arguments, argument: root.value},
            places={**entry.places, argument: origin if origin.file else entry.place},
        )
        inferred[f"{module}.{argument}"] = size.set_at(entry.place).strip(" ()")
    return replace(spec, modules=modules, inferred=inferred), problems


def _unsettled(entry: ModuleEntry, argument: str, names: Catalogue) -> Problem:
    parameter = names.modules.declaration(entry.use).arguments[argument]
    message = f"module '{entry.name}' ({entry.use}) must set '{argument}', since nothing else settles it"
    hint = f"add `{argument}: ...` ({parameter.annotation or 'any value'})"
    return Problem(entry.place, message, hint)
