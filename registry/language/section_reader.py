"""The sections of a spec, from the tree of its YAML: inputs, modules, flow, goals and settings, with what is wrong."""

from __future__ import annotations

from typing import Any

from registry.errors import Location, Problem, SpecError
from registry.kinds import KINDS
from registry.language.adapting import Adapt, read_adapt
from registry.language.entries import ModuleEntry
from registry.language.equation import Equation, Ref, name_problem
from registry.language.freezing import Freeze, read_freeze
from registry.language.line_reader import is_torn, read_equation, read_ref
from registry.language.ports import StreamType, read_type
from registry.language.schema import SETTINGS, with_defaults, with_evaluations
from registry.yaml.tree import Node

# Their names are those of streams and modules in flow lines.
NAMES_IN_LINES = ("inputs", "modules", "flow")
# Here an empty value is a value: a goal without outputs, a setting with its default.
MAY_BE_EMPTY = ("goals", *SETTINGS)


class SectionReader:
    """Reads the sections one by one and collects what has the wrong form."""

    def __init__(self, tree: Node) -> None:
        self.tree = tree
        self.problems: list[Problem] = []

    def wrong(self, place: Location, message: str, hint: str = "") -> None:
        """Add a problem at a position."""
        self.problems.append(Problem(place, message, hint))

    def section(self, name: str, form: str) -> dict[str, Node]:
        """Return the entries of a section, or none where it is empty or no mapping."""
        node = self.tree.value.get(name)
        if node is None or node.value is None:
            return {}
        if not isinstance(node.value, dict):
            message = f"'{name}' must be a mapping, but is {_what(node)}"
            self.wrong(node.place, message, form)
            return {}
        torn = name == "flow" and any(is_torn(entry) for entry in node.value.values())
        entries: dict[str, Node] = {}
        for key, entry in node.value.items():
            if torn and entry.value is None and not key.isidentifier():
                continue  # the rest of a line that a comma in { } tore apart
            problem = self.entry_problem(name, key, entry)
            if problem is None:
                entries[key] = entry
            else:
                self.problems.append(problem)
        return entries

    def entry_problem(self, section: str, key: str, entry: Node) -> Problem | None:
        """Return what is wrong with the key of an entry, or with an entry that is empty."""
        place = entry.key or entry.place
        is_name = section in NAMES_IN_LINES or section == "goals"
        if is_name and not key.isidentifier():
            message = f"a name in '{section}' must be one word, but is '{key}'"
            return Problem(place, message)
        if section in NAMES_IN_LINES and (message := name_problem(key)):
            return Problem(place, message, "choose another name")
        # Merging has applied the empty values that delete; this one had nothing to delete.
        if entry.value is None and section not in MAY_BE_EMPTY:
            message = (
                f"'{section}.{key}' is empty, which deletes, but nothing set it before"
            )
            return Problem(place, message)
        return None

    def inputs(self) -> dict[str, StreamType]:
        """Return the type of each input."""
        types: dict[str, StreamType] = {}
        entries = self.section("inputs", "`inputs: {video: frames B 3 T H W}`")
        for name, node in entries.items():
            if not isinstance(node.value, str):
                message = (
                    f"input '{name}' must be a kind with axes, but is {_what(node)}"
                )
                self.wrong(node.place, message, "`text B L`")
                continue
            try:
                types[name] = read_type(node.value)
            except ValueError as error:
                message = f"input '{name}': {error}"
                self.wrong(node.place, message, _type_hint(node.value))
        return types

    def modules(self) -> dict[str, ModuleEntry]:
        """Return the modules with their arguments."""
        modules: dict[str, ModuleEntry] = {}
        example = "`vision: {use: video_vit, width: 768}`"
        entries = self.section("modules", f"`modules: {{{example[1:-1]}}}`")
        for name, node in entries.items():
            place = node.key or node.place
            if not isinstance(node.value, dict):
                message = f"module '{name}' must be a mapping, but is {_what(node)}"
                self.wrong(node.place, message, example)
                continue
            use = node.value.get("use")
            if use is None or not isinstance(use.value, str):
                message = f"module '{name}' must name what to `use`"
                if use:
                    message += f", but {_what(use)} is there"
                self.wrong(use.place if use else place, message, example)
                continue
            arguments = {key: argument.plain() for key, argument in node.value.items()}
            del arguments["use"]
            places = {key: argument.place for key, argument in node.value.items()}
            modules[name] = ModuleEntry(name, use.value, arguments, place, places)
        return modules

    def flow(self) -> dict[str, Equation]:
        """Return the lines of the flow, as the file has them."""
        equations: dict[str, Equation] = {}
        for name, node in self.section(
            "flow", "`flow: {patches: vision(video)}`"
        ).items():
            try:
                equations[name] = read_equation(name, node)
            except SpecError as error:
                self.problems.extend(error.problems)
        return equations

    def goals(self) -> dict[str, Ref | dict[str, Ref]]:
        """Return the outputs of each goal; a goal that is one name has the parts of that call."""
        goals: dict[str, Ref | dict[str, Ref]] = {}
        for goal, node in self.section(
            "goals", "`goals: {train: {loss: loss}}`"
        ).items():
            if isinstance(node.value, str):
                # Which parts the call returns is known when definitions are expanded.
                ref = self.ref(node)
                if ref is not None:
                    goals[goal] = ref
            elif node.value is None or isinstance(node.value, dict):
                goals[goal] = self.outputs(goal, node.value or {})
            else:
                message = (
                    f"goal '{goal}' must be a mapping of outputs, but is {_what(node)}"
                )
                self.wrong(node.place, message, "`{loss: loss}`")
        return goals

    def outputs(self, goal: str, nodes: dict[str, Node]) -> dict[str, Ref]:
        """Return the streams of a goal by the names of its outputs."""
        outputs: dict[str, Ref] = {}
        for name, node in nodes.items():
            # A name with a dot would look like the field of a stream.
            if not name.isidentifier():
                message = (
                    f"an output of goal '{goal}' must be one word, but is {name!r}"
                )
                self.wrong(node.key or node.place, message)
                continue
            ref = self.ref(node)
            if ref is not None:
                outputs[name] = ref
        return outputs

    def ref(self, node: Node) -> Ref | None:
        """Return the stream that a node names, or None where it names none."""
        try:
            return read_ref(node)
        except SpecError as error:
            self.problems.extend(error.problems)
            return None

    def freeze(self) -> Freeze:
        """Return what does not train."""
        freeze, problems = read_freeze(self.tree.value.get("freeze"))
        self.problems += problems
        return freeze

    def adapt(self) -> Adapt:
        """Return the low-rank adapters."""
        adapt, problems = read_adapt(self.tree.value.get("adapt"))
        self.problems += problems
        return adapt

    def strings(self, name: str) -> dict[str, str]:
        """Return a section whose values are texts: `init` and `tie`."""
        texts: dict[str, str] = {}
        for key, node in self.section(name, f"`{name}: {{...}}`").items():
            if isinstance(node.value, str):
                texts[key] = node.value
            else:
                message = f"'{name}.{key}' must be text, but is {_what(node)}"
                self.wrong(node.place, message)
        return texts

    def settings(self, name: str) -> dict[str, Any]:
        """Return a settings section with its defaults."""
        entries = self.section(name, f"`{name}: {{...}}`")
        node = self.tree.value.get(name)
        if name in ("momentum", "data") and (node is None or node.value is None):
            # Empty deletes here, too: `momentum: {}` is what asks for the defaults.
            return {}
        values = {key: entry.plain() for key, entry in entries.items()}
        if name == "eval":
            values = with_evaluations(values)
        return with_defaults(name, values)


def _type_hint(text: str) -> str:
    """Return a hint for the type of an input that cannot be read."""
    words = text.split()
    kind = words[0] if words else ""
    if kind in KINDS:  # then its axes are wrong
        return "`text B L`"
    if suggestion := KINDS.suggest(kind):
        return f"did you mean '{text.replace(kind, suggestion, 1)}'?"
    return f"kinds: {' '.join(KINDS.names())}"


def _what(node: Node) -> str:
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    return "empty" if node.value is None else repr(node.value)
