"""Arguments that a spec leaves out, since the wiring or the data settles them: `width`, `classes`.

A required argument may be left out if an axis of the module's ports has its name: then it is the size that
the streams have there. The number of classes also follows from the labels that the data lists, and the sizes
of vocabularies and positions from its texts (`text_sizes`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from registry.checks.sizes import Size
from registry.checks.text_sizes import follows_from_texts
from registry.errors import Location, Problem
from registry.language.binding import bind
from registry.language.declaration import Declaration
from registry.language.equation import Ref
from registry.language.spec import ModuleEntry, Spec
from registry.planner import declaration_of
from registry.registries import Registries
from registry.sources import SourceSpec
from registry.training import training_plan

LOGITS = "logits"  # the kind whose last axis counts classes
LABELS = "labels"  # the kind of class numbers

NO_LABELS = "no data names the classes"

OpenSizes = Mapping[tuple[str, str], Size]  # by module and argument


@dataclass(frozen=True)
class ClassCount:
    """How many classes the labels of an input have, and where the data lists them."""

    count: int
    place: Location


def may_be_left_out(declaration: Declaration, argument: str) -> bool:
    """Return whether a required argument of a module can follow: from its streams, as an axis has its name,
    or from the texts that it reads."""
    ports = [*declaration.inputs.values(), *declaration.outputs.values()]
    is_axis = any(argument in port.names for port in ports)
    return is_axis or follows_from_texts(declaration, argument)


def class_counts(spec: Spec, names: Registries) -> dict[str, ClassCount]:
    """Return for each input of class numbers how many classes `data` lists; the largest of all sources."""
    counts: dict[str, ClassCount] = {}
    for source in training_plan(spec, names).sources.values():
        if source.task is None or source.task not in names.tasks:
            continue
        for name, argument in names.tasks.declaration(source.task).class_names.items():
            if name not in spec.inputs:
                continue
            for listed, place in _class_lists(spec, source, argument):
                count = len(dict.fromkeys(listed))
                if name not in counts or counts[name].count < count:
                    counts[name] = ClassCount(count, place)
    return counts


def _class_lists(
    spec: Spec, source: SourceSpec, argument: str
) -> Iterator[tuple[list[str], Location]]:
    """Yield the lists of classes that a source and its splits set, as text, with their places."""
    paths: list[tuple[str, ...]] = [("data",), ("data", "sources", source.name)]
    for base in list(paths):
        paths += [(*base, split) for split in source.splits]
    for path in paths:
        node = spec.node(*path, argument)
        value = None if node is None else node.plain()
        # `labels: {yes: 0, no: 1}` maps words of the annotations to classes.
        if isinstance(value, dict):
            value = list(value.values())
        if node is not None and isinstance(value, list):
            yield [str(label) for label in value], node.place


def count_classes(
    spec: Spec, names: Registries, sizes: OpenSizes, last_axes: Mapping[str, Size]
) -> dict[tuple[str, str], str]:
    """Set the open number of classes of logits that are compared with labels which the data lists.

    `last_axes`: the last axis of each stream of logits. Returns the arguments that stay open, though other
    data could settle them, with the reason.
    """
    # By identity: unknown sizes that must be equal have one root.
    still_open: dict[int, tuple[str, str]] = {}
    for key, size in sizes.items():
        if size.root().value is None:
            still_open[id(size.root())] = key
    if not still_open:
        return {}
    counts = class_counts(spec, names)
    labels = [name for name, declared in spec.inputs.items() if declared.kind == LABELS]
    waiting: set[tuple[str, str]] = set()
    for input_name, logits in _compared(spec, names, labels):
        last_axis = last_axes.get(logits)
        if last_axis is None or id(last_axis.root()) not in still_open:
            continue
        root = last_axis.root()
        if input_name in counts and root.value is None:
            root.value, root.origin = counts[input_name].count, counts[input_name].place
        waiting.add(still_open[id(root)])
    return {key: NO_LABELS for key in waiting if sizes[key].root().value is None}


def _compared(
    spec: Spec, names: Registries, inputs: Iterable[str]
) -> Iterator[tuple[str, str]]:
    """Yield the inputs of class numbers with the streams that a call, or a goal, compares them with."""
    for equation in spec.flow.values():
        binding, _ = bind(equation, declaration_of(spec, equation, names))
        streams = []
        for _, filling in binding.arguments():
            if isinstance(filling, Ref):
                streams.append(filling.name)
        for name in inputs:
            if name in streams:
                # All streams of the call: those that are not logits have no count to settle.
                for stream in streams:
                    yield name, stream
    for outputs in spec.goals.values():
        for name in inputs:
            if name in outputs:
                yield name, outputs[name].name


@dataclass(frozen=True)
class Completed:
    """A spec with the arguments that it leaves out, a problem for each that nothing settles, and a note for
    each that stays open until there is data."""

    spec: Spec
    problems: list[Problem]
    notes: list[Problem]


def completed(
    spec: Spec,
    names: Registries,
    sizes: OpenSizes,
    waiting: Mapping[tuple[str, str], str],
) -> Completed:
    """Return a spec with the arguments that were left out; `waiting` are those that data could settle, with
    the reason why it does not."""
    problems: list[Problem] = []
    notes: list[Problem] = []
    modules = dict(spec.modules)
    inferred = dict(spec.inferred)
    order = list(spec.modules)
    # In the order of the file, whatever line settled a size first.
    in_order = sorted(sizes.items(), key=lambda item: order.index(item[0][0]))
    for (module, argument), size in in_order:
        root = size.root()
        entry = modules[module]
        if root.value is None and (module, argument) in waiting:
            notes.append(_waiting(entry, argument, waiting[module, argument]))
        elif root.value is None:
            problems.append(_unsettled(entry, argument, names))
        else:
            modules[module] = _with_argument(entry, argument, root.value, root.origin)
            inferred[f"{module}.{argument}"] = size.set_at(entry.place).strip(" ()")
    return Completed(replace(spec, modules=modules, inferred=inferred), problems, notes)


def _with_argument(
    entry: ModuleEntry, argument: str, value: int, origin: Location | str
) -> ModuleEntry:
    """Return a module with one more argument, set where its size was set."""
    place = origin if isinstance(origin, Location) and origin.file else entry.place
    arguments = {**entry.arguments, argument: value}
    return replace(entry, arguments=arguments, places={**entry.places, argument: place})


def _unsettled(entry: ModuleEntry, argument: str, names: Registries) -> Problem:
    parameter = names.modules.declaration(entry.use).arguments[argument]
    message = f"module '{entry.name}' ({entry.use}) must set '{argument}', since nothing else settles it"
    hint = f"add `{argument}: ...` ({parameter.annotation or 'any value'})"
    return Problem(entry.place, message, hint)


def _waiting(entry: ModuleEntry, argument: str, reason: str) -> Problem:
    message = f"'{argument}' of module '{entry.name}' ({entry.use}) is open: {reason}"
    hint = f"add `{argument}: ...`"
    if reason == NO_LABELS:
        hint += ", or `data: {labels: [...]}`"
    return Problem(entry.place, message, hint)
