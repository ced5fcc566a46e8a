"""From the description of a source in a spec to its tokenizer, its task and the source itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mplug2.data.arguments import ArgumentError
from mplug2.data.sources.mixture import MixtureSource
from mplug2.data.sources.source import Source
from mplug2.data.text import Tokenizer
from mplug2.data.vocabularies import load_tokenizer
from registry import SOURCES, TASKS, Location, Registry, SpecError
from registry.errors import UserError
from registry.sources import SHORT_SOURCE, SourceSpec
from registry.training import training_plan

if TYPE_CHECKING:
    from registry import Spec, StreamType


class SourceBuilder:
    """Builds tasks and sources of a spec for one split; mistakes are reported at their position."""

    def __init__(
        self,
        spec: Spec,
        types: Mapping[str, StreamType],
        split: str,
        training: bool,
        batch_arguments: Mapping[str, Any],
        without: Collection[str],
        inputs: Collection[str] | None = None,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        self.spec, self.split, self.without = spec, split, without
        self.batch_arguments = batch_arguments
        self.tokenizer = tokenizer
        self.supplied: dict[str, Any] = {
            "types": types,
            "inputs": frozenset(spec.inputs if inputs is None else inputs),
            "split": split,
            "training": training,
        }

    def source_spec(self, name: str) -> SourceSpec:
        """Return how the spec describes a source."""
        sources = training_plan(self.spec).sources
        if name not in sources:
            raise UserError(
                f"{self.spec.place('data')}: there is no source '{name}'. "
                f"Sources: {', '.join(sources) or 'none'}"
            )
        return sources[name]

    def arguments_of(self, described: SourceSpec) -> dict[str, Any]:
        """Return the arguments of a source for this split, those of the batch last."""
        arguments = {
            **described.arguments,
            **described.splits.get(self.split, {}),
            **self.batch_arguments,
        }
        for name in self.without:
            arguments.pop(name, None)
        return arguments

    def source(self, name: str) -> Source:
        """Build a source by its name."""
        described = self.source_spec(name)
        if described.mixture is not None:
            return self.mixture(described)
        if self.split not in described.splits:
            raise UserError(
                f"{self.spec.place('data')}: {name} must have a section '{self.split}' "
                "({path: ..., media: ...})"
            )
        arguments = self.arguments_of(described)
        return self.plain_source(described, arguments, self.task(described, arguments))

    def mixture(self, described: SourceSpec) -> MixtureSource:
        """Build a mixture over one common task: a batch holds samples of several sources."""
        # Checked by the caller.
        assert described.mixture is not None
        sources: dict[str, Source] = {}
        task, task_key = None, None
        for name in described.mixture:
            part = self.source_spec(name)
            arguments = self.arguments_of(part)
            key = (part.task, self.task_arguments(part, arguments))
            if task_key is not None and key != task_key:
                raise UserError(
                    f"{self.spec.place('data', 'sources', described.name)}: all sources of a mixture must "
                    f"have the same task with the same options, but '{name}' differs from "
                    f"'{next(iter(sources))}'"
                )
            # One task for all parts: a batch is encoded by one of them.
            if task is None:
                task, task_key = self.task(part, arguments), key
            sources[name] = self.plain_source(part, arguments, task)
        return MixtureSource(sources, described.mixture)

    def task_arguments(
        self, described: SourceSpec, arguments: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the arguments that the task of a source declares."""
        declared = TASKS.declaration(described.task or "").arguments
        return {name: value for name, value in arguments.items() if name in declared}

    def source_kind(self, described: SourceSpec, arguments: Mapping[str, Any]) -> str:
        """Return the registered source that a key names; keys of the split win over those of the source."""
        split = described.splits.get(self.split, {})
        of_split = [name for name in split if name in SOURCES]
        of_source = [name for name in arguments if name in SOURCES]
        # A key may be the name of one source and an argument of another.
        kinds = _without_arguments(of_split or of_source)
        if len(kinds) > 1:
            raise UserError(
                f"{self.position(described, kinds[1])}: a split must name one source "
                f"(got {' and '.join(kinds)}). Remove the others"
            )
        if not kinds:
            raise UserError(
                f"{self.spec.place('data')}: the split '{self.split}' of {described.name} needs samples. Set"
                f" one of: {', '.join(SOURCES.names())}"
            )
        return kinds[0]

    def task(self, described: SourceSpec, arguments: Mapping[str, Any]) -> Any:
        """Build the task of a source with the arguments that it declares."""
        declared = TASKS.declaration(described.task or "").arguments
        chosen = dict(arguments)
        if "tokenizer" in declared:
            is_required = declared["tokenizer"].required
            chosen["tokenizer"] = self.load_tokenizer(arguments, required=is_required)
        return self.build(TASKS, described, described.task or "", chosen)

    def load_tokenizer(
        self, arguments: Mapping[str, Any], required: bool
    ) -> Tokenizer | None:
        """Return the tokenizer of a source, or else that of `data`."""
        if self.tokenizer is not None:
            return self.tokenizer
        name = arguments.get("tokenizer") or self.spec.data.get("tokenizer")
        if name is None and required:
            raise UserError(
                f"{self.spec.place('data')}: data must name its tokenizer, such as "
                "`tokenizer: bert-base-uncased`"
            )
        return None if name is None else load_tokenizer(self.spec, name)

    def plain_source(
        self, described: SourceSpec, arguments: Mapping[str, Any], task: Any
    ) -> Source:
        """Build a source that is not a mixture."""
        kind = self.source_kind(described, arguments)
        source: Source = self.build(
            SOURCES, described, kind, {**arguments, "task": task}
        )
        return source

    def build(
        self,
        registry: Registry,
        described: SourceSpec,
        name: str,
        arguments: dict[str, Any],
    ) -> Any:
        """Call a registered constructor with those of the arguments that it declares."""
        declared = registry.declaration(name).arguments
        # Each constructor gets what it asks for: plug-ins need not take all of it.
        supplied = {
            key: value for key, value in self.supplied.items() if key in declared
        }
        arguments = {key: value for key, value in arguments.items() if key in declared}
        try:
            return registry.load(name)(**{**supplied, **arguments})
        except ArgumentError as error:
            # The constructor knows the argument, the spec where it is set.
            position = self.position(described, error.argument)
            raise SpecError.at(position, str(error)) from None

    def position(self, described: SourceSpec, argument: str) -> Location:
        """Return where an argument is set: in the split, the source, the batch, or the section `data`."""
        base: tuple[str, ...] = ("data", "sources", described.name)
        if described.name == SHORT_SOURCE:
            base = ("data",)
        if argument in described.splits.get(self.split, {}):
            return self.spec.place(*base, self.split, argument)
        if self.spec.node(*base, argument) is not None:
            return self.spec.place(*base, argument)
        if self.spec.node("data", argument) is not None:
            return self.spec.place("data", argument)
        return self.spec.place(*base, self.split)


def _without_arguments(sources: Sequence[str]) -> list[str]:
    """Return the names that are not arguments of another of these sources."""
    chosen = []
    for name in sources:
        others = [other for other in sources if other != name]
        if not any(name in SOURCES.declaration(other).arguments for other in others):
            chosen.append(name)
    return chosen
