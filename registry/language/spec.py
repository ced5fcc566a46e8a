"""A composition spec, typed: what a batch holds, which modules exist, what happens, what is wanted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.errors import Location, Problem, SpecError, require
from registry.kinds import KINDS
from registry.language.adapting import Adapt, read_adapt
from registry.language.entries import ModuleEntry, Written
from registry.language.equation import (
    Equation,
    Ref,
    name_problem,
    read_equation,
    read_ref,
)
from registry.language.expansion import Expander, Expansion
from registry.language.freezing import Freeze, read_freeze
from registry.language.ports import StreamType, read_type
from registry.language.renames import Rename, Renames, warn
from registry.language.schema import (
    EVALUATIONS,
    SETTINGS,
    with_defaults,
    with_evaluations,
)
from registry.language.spec_value import SpecValue
from registry.language.subflows import Definition, read_definitions
from registry.yaml.merge import read_tree
from registry.yaml.parse import parse
from registry.yaml.tree import Node, Source


@dataclass(frozen=True)
class Spec(SpecValue):
    """A spec that was read; settings sections are plain mappings with their defaults filled in.

    `momentum` and `data` are empty where the spec has no such section. `tree` is what was read, with places.
    `flow` and `goals` are expanded: the line `x` of the call `losses` is the stream `losses.x`. `written` has
    them as the file does, `definitions` what they call, and `expansion` the calls.
    """

    inputs: dict[str, StreamType]
    modules: dict[str, ModuleEntry]
    flow: dict[str, Equation]
    goals: dict[str, dict[str, Ref]]
    momentum: dict[str, Any]
    freeze: Freeze
    init: dict[str, str]
    tie: dict[str, str]
    data: dict[str, Any]
    train: dict[str, Any]
    eval: dict[str, Any]
    adapt: Adapt = field(default_factory=dict)
    path: str = field(default="", compare=False)
    # Arguments that were left out and settled (`head.width`), with what settled them.
    inferred: dict[str, str] = field(default_factory=dict, compare=False)
    tree: Node = field(
        default_factory=lambda: Node({}, Location("")), compare=False, repr=False
    )
    renames: tuple[Rename, ...] = field(
        default=(), compare=False, repr=False
    )  # old words that were read
    definitions: dict[str, Definition] = field(default_factory=dict)
    written: Written = field(default_factory=Written)
    expansion: Expansion = field(default_factory=Expansion, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The name of the spec's file, without folder and suffix."""
        return Path(self.path).stem

    def node(self, *keys: str | int) -> Node | None:
        """Return the node at a path of keys (and list positions), or None where the spec does not set it."""
        node: Node | None = self.tree
        for key in keys:
            if node is None:
                return None
            if isinstance(node.value, dict):
                node = node.value.get(str(key))
            elif (
                isinstance(node.value, list)
                and isinstance(key, int)
                and key < len(node.value)
            ):
                node = node.value[key]
            else:
                return None
        return node

    def place(self, *keys: str | int) -> Location:
        """Return where the value at a path of keys was set, or else the nearest thing around it."""
        for length in range(len(keys), -1, -1):
            node = self.node(*keys[:length])
            if node is not None:
                return node.place
        return self.tree.place

    def key_place(self, *keys: str) -> Location:
        """Return the location of the key at a path of keys."""
        node = self.node(*keys)
        return (
            node.key if node is not None and node.key is not None else self.place(*keys)
        )

    def stream(self, name: str) -> Ref:
        """Return the stream of the expanded flow that a name means, that of a call or of its part, too."""
        return self.expansion.aliases.get(name, Ref(name))

    def resolved(self) -> dict[str, Any]:
        """Return the spec as plain mappings, without `extends` and with all defaults."""
        sections: dict[str, Any] = {
            "inputs": {name: str(declared) for name, declared in self.inputs.items()},
            "modules": {
                name: {"use": module.use, **module.arguments}
                for name, module in self.modules.items()
            },
            "define": {
                equation.header: equation.resolved()
                for equation in self.definitions.values()
            },
            "flow": {
                name: line.text for name, line in (self.written.flow or self.flow).items()
            },
            "goals": {},
        }
        if not sections["define"]:
            del sections["define"]
        for goal, outputs in (self.written.goals or self.goals).items():
            if isinstance(outputs, Ref):
                sections["goals"][goal] = str(outputs)
            else:
                sections["goals"][goal] = {
                    output: str(ref) for output, ref in outputs.items()
                }
        for name in (
            "momentum",
            "freeze",
            "adapt",
            "init",
            "tie",
            "data",
            "train",
            "eval",
        ):
            if value := getattr(self, name):
                sections[name] = value
        for name in set(SETTINGS) & set(sections):
            sections[name] = {
                key: value for key, value in sections[name].items() if value is not None
            }
        if "eval" in sections:
            sections["eval"] |= sections["eval"].pop(EVALUATIONS, {})
        return sections


def read_spec(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Spec:
    """Return the spec in a file, with `extends` and overrides; raise `SpecError` when unreadable."""
    renames = Renames()
    return spec_of_tree(read_tree(path, overrides, renames.apply), str(path), renames)


def parse_spec(text: str, name: str = "spec.yaml") -> Spec:
    """Return the spec that a text holds (without `extends`); raise `SpecError` when unreadable."""
    tree = parse(Source(name, text))
    if not isinstance(tree.value, dict):
        raise SpecError.at(
            tree.place, "a spec must be a mapping of sections, such as `inputs: {...}`"
        )
    if (parent := tree.value.get("extends")) is not None:
        message = "a text cannot extend a file, because it has no folder"
        raise SpecError.at(
            parent.key or parent.place, message, "write it to a file, and read that"
        )
    return spec_of_tree(tree, name)


def write_spec(spec: Spec) -> str:
    """Return the YAML text of the resolved spec, which `parse_spec` reads back to an equal one.

    Comments at the top name the source of each argument that the spec left out.
    """
    require(spec, Spec, "spec")
    # Its patterns take longer to compile than the rest of a check, which writes nothing.
    from registry.yaml.write import write_tree

    comments = [f"# {name} follows: {origin}\n" for name, origin in spec.inferred.items()]
    return "".join(comments) + write_tree(spec.resolved())


def spec_of_tree(tree: Node, path: str, renames: Renames | None = None) -> Spec:
    """Return the spec that a tree holds; raise `SpecError` where it has the wrong form.

    Old words are replaced, with a warning; `renames` has those that were found before.
    """
    renames = renames or Renames()
    tree = renames.inputs(renames.apply(tree))
    warn(renames.finish())
    read = _Reader(tree)
    inputs = read.inputs()
    definitions, problems = read_definitions(tree.value.get("define"))
    read.problems += problems
    written = Written(read.flow(), read.goals())
    if read.problems:  # of the form: later problems would repeat it
        expansion = Expansion(flow=written.flow)
        goals: dict[str, dict[str, Ref]] = {}
    else:
        expander = Expander(written.flow, definitions, inputs)
        expansion = expander.result
        goals = {} if expansion.problems else expander.goals(written.goals)
    spec = Spec(
        inputs=inputs,
        modules=read.modules(),
        flow=expansion.flow,
        goals=goals,
        definitions=definitions,
        written=written,
        expansion=expansion,
        freeze=read.freeze(),
        adapt=read.adapt(),
        init=read.strings("init"),
        tie=read.strings("tie"),
        path=path,
        tree=tree,
        renames=renames.finish(),
        **{name: read.settings(name) for name in SETTINGS},
    )
    if problems := read.problems + expansion.problems:
        raise SpecError(problems)
    return spec


class _Reader:
    """Reads the sections one by one and collects what has the wrong form."""

    def __init__(self, tree: Node) -> None:
        self.tree = tree
        self.problems: list[Problem] = []

    def wrong(self, place: Location, message: str, hint: str = "") -> None:
        self.problems.append(Problem(place, message, hint))

    def section(self, name: str, form: str) -> dict[str, Node]:
        """Return the entries of a section, or none where it is empty or no mapping."""
        node = self.tree.value.get(name)
        if node is None or node.value is None:
            return {}
        if not isinstance(node.value, dict):
            self.wrong(
                node.place, f"'{name}' must be a mapping, but is {_what(node)}", form
            )
            return {}
        entries: dict[str, Node] = {}
        torn = name == "flow" and any(_open(entry) for entry in node.value.values())
        for key, entry in node.value.items():
            if torn and entry.value is None and not key.isidentifier():
                continue  # the rest of a line that a comma in { } tore apart
            if name in ("inputs", "modules", "flow", "goals") and not key.isidentifier():
                self.wrong(
                    entry.key or entry.place,
                    f"a name in '{name}' must be one word, but is '{key}'",
                )
            elif name in ("inputs", "modules", "flow") and (message := name_problem(key)):
                self.wrong(entry.key or entry.place, message, "choose another name")
            elif entry.value is None and name != "goals" and name not in SETTINGS:
                self.wrong(
                    entry.key or entry.place,
                    f"'{name}.{key}' is empty, which deletes, but nothing set it before",
                )
            else:
                entries[key] = entry
        return entries

    def inputs(self) -> dict[str, StreamType]:
        types: dict[str, StreamType] = {}
        for name, node in self.section(
            "inputs", "`inputs: {video: frames B 3 T H W}`"
        ).items():
            if not isinstance(node.value, str):
                self.wrong(
                    node.place,
                    f"input '{name}' must be a kind with axes, but is {_what(node)}",
                    "`text B L`",
                )
                continue
            try:
                types[name] = read_type(node.value)
            except ValueError as error:
                kind = node.value.split()[0] if node.value.split() else ""
                if kind in KINDS:
                    hint = "`text B L`"
                elif suggestion := KINDS.suggest(kind):
                    hint = f"did you mean '{node.value.replace(kind, suggestion, 1)}'?"
                else:
                    hint = f"kinds: {' '.join(KINDS.names())}"
                self.wrong(node.place, f"input '{name}': {error}", hint)
        return types

    def modules(self) -> dict[str, ModuleEntry]:
        modules: dict[str, ModuleEntry] = {}
        example = "`vision: {use: video_vit, width: 768}`"
        for name, node in self.section(
            "modules", f"`modules: {{{example[1:-1]}}}`"
        ).items():
            if not isinstance(node.value, dict):
                self.wrong(
                    node.place,
                    f"module '{name}' must be a mapping, but is {_what(node)}",
                    example,
                )
                continue
            use = node.value.get("use")
            if use is None or not isinstance(use.value, str):
                message = f"module '{name}' must name what to `use`" + (
                    f", but {_what(use)} is there" if use else ""
                )
                self.wrong(use.place if use else node.key or node.place, message, example)
                continue
            arguments = {
                key: argument.plain()
                for key, argument in node.value.items()
                if key != "use"
            }
            places = {key: argument.place for key, argument in node.value.items()}
            modules[name] = ModuleEntry(
                name, use.value, arguments, node.key or node.place, places
            )
        return modules

    def flow(self) -> dict[str, Equation]:
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
        goals: dict[str, Ref | dict[str, Ref]] = {}
        for goal, node in self.section("goals", "`goals: {train: {loss: loss}}`").items():
            if isinstance(node.value, str):
                try:
                    goals[goal] = read_ref(node)
                except SpecError as error:
                    self.problems.extend(error.problems)
                continue
            if node.value is not None and not isinstance(node.value, dict):
                self.wrong(
                    node.place,
                    f"goal '{goal}' must be a mapping of outputs, but is {_what(node)}",
                    "`{loss: loss}`",
                )
                continue
            outputs: dict[str, Ref] = {}
            goals[goal] = outputs
            for name, output in (node.value or {}).items():
                if not name.isidentifier():
                    message = (
                        f"an output of goal '{goal}' must be one word, but is {name!r}"
                    )
                    self.wrong(output.key or output.place, message)
                    continue
                try:
                    outputs[name] = read_ref(output)
                except SpecError as error:
                    self.problems.extend(error.problems)
        return goals

    def freeze(self) -> Freeze:
        freeze, problems = read_freeze(self.tree.value.get("freeze"))
        self.problems += problems
        return freeze

    def adapt(self) -> Adapt:
        adapt, problems = read_adapt(self.tree.value.get("adapt"))
        self.problems += problems
        return adapt

    def strings(self, name: str) -> dict[str, str]:
        texts: dict[str, str] = {}
        for key, node in self.section(name, f"`{name}: {{...}}`").items():
            if isinstance(node.value, str):
                texts[key] = node.value
            else:
                self.wrong(
                    node.place, f"'{name}.{key}' must be text, but is {_what(node)}"
                )
        return texts

    def settings(self, name: str) -> dict[str, Any]:
        entries, node = (
            self.section(name, f"`{name}: {{...}}`"),
            self.tree.value.get(name),
        )
        if name in ("momentum", "data") and (node is None or node.value is None):
            return {}  # empty deletes here, too: `momentum: {}` is what asks for the defaults
        values = {key: node.plain() for key, node in entries.items()}
        if name == "eval":
            values = with_evaluations(values)
        return with_defaults(name, values)


def _open(node: Node) -> bool:
    return isinstance(node.value, str) and node.value.count("(") > node.value.count(")")


def _what(node: Node) -> str:
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    return "empty" if node.value is None else repr(node.value)
