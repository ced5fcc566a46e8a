"""A composition spec, typed: what a batch holds, which modules exist, what happens, what is wanted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.errors import Location, SpecError, require
from registry.language.adapting import Adapt
from registry.language.definition import Definition
from registry.language.entries import ModuleEntry, Written
from registry.language.equation import Equation, Ref
from registry.language.expansion import Expander, Expansion
from registry.language.freezing import Freeze
from registry.language.ports import StreamType
from registry.language.renames import Rename, Renames, warn
from registry.language.schema import EVALUATIONS, SETTINGS
from registry.language.section_reader import SectionReader
from registry.language.spec_value import SpecValue
from registry.language.subflows import read_definitions
from registry.yaml.merge import read_tree
from registry.yaml.parse import parse
from registry.yaml.tree import Node, Source

# The sections that are written back unchanged, in this order after the goals.
PLAIN_SECTIONS = ("momentum", "freeze", "adapt", "init", "tie", "data", "train", "eval")


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
    # Old words that were read.
    renames: tuple[Rename, ...] = field(default=(), compare=False, repr=False)
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
            elif isinstance(node.value, list) and isinstance(key, int):
                node = node.value[key] if key < len(node.value) else None
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
        if node is not None and node.key is not None:
            return node.key
        # An entry of a list has no key; what is not set has no node.
        return self.place(*keys)

    def stream(self, name: str) -> Ref:
        """Return the stream of the expanded flow that a name means, that of a call or of its part, too."""
        return self.expansion.aliases.get(name, Ref(name))

    def resolved(self) -> dict[str, Any]:
        """Return the spec as plain mappings, without `extends` and with all defaults."""
        modules = {}
        for name, module in self.modules.items():
            modules[name] = {"use": module.use, **module.arguments}
        sections: dict[str, Any] = {
            "inputs": {name: str(declared) for name, declared in self.inputs.items()},
            "modules": modules,
        }
        if self.definitions:
            definitions = self.definitions.values()
            sections["define"] = {each.header: each.resolved() for each in definitions}
        # As the file has them: the expanded flow has the lines of every call.
        flow = self.written.flow or self.flow
        sections["flow"] = {name: line.text for name, line in flow.items()}
        goals: dict[str, Any] = {}
        for goal, outputs in (self.written.goals or self.goals).items():
            if isinstance(outputs, Ref):
                goals[goal] = str(outputs)
            else:
                goals[goal] = {output: str(ref) for output, ref in outputs.items()}
        sections["goals"] = goals
        for name in PLAIN_SECTIONS:
            if value := getattr(self, name):
                sections[name] = value
        for name in set(SETTINGS) & set(sections):
            # An empty setting would delete an inherited one, which is not what None means here.
            settings = sections[name].items()
            sections[name] = {
                key: value for key, value in settings if value is not None
            }
        if "eval" in sections:
            # Named evaluations are written among the shared settings, not under a key.
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
        message = "a spec must be a mapping of sections, such as `inputs: {...}`"
        raise SpecError.at(tree.place, message)
    if (parent := tree.value.get("extends")) is not None:
        message = "a text cannot extend a file, because it has no folder"
        place = parent.key or parent.place
        raise SpecError.at(place, message, "write it to a file, and read that")
    return spec_of_tree(tree, name)


def write_spec(spec: Spec) -> str:
    """Return the YAML text of the resolved spec, which `parse_spec` reads back to an equal one.

    Comments at the top name the source of each argument that the spec left out.
    """
    require(spec, Spec, "spec")
    # Its patterns take longer to compile than the rest of a check, which writes nothing.
    from registry.yaml.write import write_tree

    comments = [
        f"# {name} follows: {origin}\n" for name, origin in spec.inferred.items()
    ]
    return "".join(comments) + write_tree(spec.resolved())


def spec_of_tree(tree: Node, path: str, renames: Renames | None = None) -> Spec:
    """Return the spec that a tree holds; raise `SpecError` where it has the wrong form.

    Old words are replaced, with a warning; `renames` has those that were found before.
    """
    renames = renames or Renames()
    tree = renames.inputs(renames.apply(tree))
    warn(renames.finish())
    read = SectionReader(tree)
    inputs = read.inputs()
    definitions, problems = read_definitions(tree.value.get("define"))
    read.problems += problems
    written = Written(read.flow(), read.goals())
    # Where the form is wrong, an expansion would only repeat it.
    if read.problems:
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
