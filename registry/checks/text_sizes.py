"""Arguments that a module leaves out and that the texts of the data settle: `vocab_size`, `max_positions`.

`vocab_size` is the number of tokens of the tokenizer, the largest if several reach the module. The positions
are those of the longest text that the module can meet: as long as the tasks let texts be (`question_tokens`),
and as long as a search may write (`max_length`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from registry.checks.sizes import Size
from registry.checks.task_settings import task_settings
from registry.errors import Location, Problem, UserError
from registry.language.binding import bind
from registry.language.declaration import Declaration
from registry.language.equation import Equation, ModuleRef, Ref
from registry.language.ports import StreamType
from registry.language.spec import ModuleEntry, Spec
from registry.planner import declaration_of
from registry.registries import Registries
from registry.tokenizer_names import (
    modules_with_tokenizer,
    tokenizer_exists,
    tokenizer_parts,
    tokenizer_places,
)

VOCABULARY = "vocab_size"  # the argument that counts the tokens of a vocabulary

Key = tuple[str, str]  # a module and its argument
OpenSizes = dict[Key, Size]
Limit = tuple[int, Location]  # the most tokens of a text, and where that is set


@dataclass
class TextSizes:
    """What the texts leave open, with the reason, and tokenizers that cannot be read."""

    waiting: dict[Key, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def follows_from_texts(declaration: Declaration, argument: str) -> bool:
    """Return whether an argument of a module can follow from the texts that the module reads."""
    return argument == VOCABULARY or argument in declaration.token_limits.values()


def settle_vocabularies(spec: Spec, names: Registries, sizes: OpenSizes) -> TextSizes:
    """Set the vocabulary sizes that modules leave out to the tokens of the tokenizers that reach them.

    A tokenizer that does not exist here leaves them open: what is built must not depend on what was last
    installed. Only tokenizers of such modules are read.
    """
    result = TextSizes()
    unset: list[str] = []
    for module, entry in spec.modules.items():
        if _is_left_out(entry, VOCABULARY, names):
            unset.append(module)
    if not unset:
        return result
    places = tokenizer_places(spec, names)
    counts: dict[str, int | None] = {}
    readers = {name: modules_with_tokenizer(spec, name, names) for name in places}
    for module in unset:
        size = sizes.setdefault((module, VOCABULARY), Size(VOCABULARY)).root()
        if size.value is not None:  # The wiring has settled it.
            continue
        reaching = [name for name in places if module in readers[name]]
        for name in reaching:
            if name not in counts:
                counts[name] = _count_tokens(name, places[name], names, result)
        numbers = {name: counts[name] or 0 for name in reaching}
        if not numbers or not all(numbers.values()):
            absent = [name for name, number in numbers.items() if not number]
            reason = "the data names no tokenizer"
            if absent:
                reason = f"the tokenizer {absent[0]} does not exist here"
            result.waiting[module, VOCABULARY] = reason
            continue
        largest = max(numbers, key=lambda name: numbers[name])
        size.value, size.origin = numbers[largest], places[largest]
    return result


def _is_left_out(entry: ModuleEntry, argument: str, names: Registries) -> bool:
    """Return whether a module must have an argument and does not set it."""
    parameter = names.modules.declaration(entry.use).arguments.get(argument)
    if parameter is None or argument in entry.arguments:
        return False
    return parameter.required


def _count_tokens(
    name: str, place: Location, names: Registries, result: TextSizes
) -> int | None:
    """Return the tokens of a tokenizer; None if it does not exist here, or cannot be read."""
    if not tokenizer_exists(name, names):
        return None
    kind, file = tokenizer_parts(name, names)
    try:
        return int(names.tokenizers.load(kind).read(file).vocab_size)
    except UserError as error:
        result.problems.append(Problem(place, str(error)))
        return None


def settle_positions(
    spec: Spec, names: Registries, types: Mapping[str, StreamType], sizes: OpenSizes
) -> TextSizes:
    """Set the positions that modules leave out to the longest text that each of them can meet.

    ``types``: the solved types of the streams. One text without a limit leaves the positions open.
    """
    result = TextSizes()
    limits = None
    for module, entry in spec.modules.items():
        token_limits = names.modules.declaration(entry.use).token_limits
        for argument in dict.fromkeys(token_limits.values()):
            if not _is_left_out(entry, argument, names):
                continue
            if limits is None:
                limits = _text_limits(spec, names)
            size = sizes.setdefault((module, argument), Size(argument)).root()
            lengths = _Lengths(spec, names, types, limits)
            longest = lengths.longest(module, argument)
            if longest is None:
                result.waiting[module, argument] = lengths.reason
            else:
                size.value, size.origin = longest
    return result


def _text_limits(spec: Spec, names: Registries) -> dict[str, list[Limit | None]]:
    """Return for each input the most tokens that each source and split lets it have; None without a limit."""
    limits: dict[str, list[Limit | None]] = {}
    for setting, inputs in task_settings(spec, names):
        for name in inputs:
            argument = setting.declaration.token_limits.get(name, "")
            longest = setting.value(argument)
            limit = None
            if isinstance(longest, int):
                limit = (longest, setting.place(spec, argument))
            limits.setdefault(name, []).append(limit)
    return limits


@dataclass
class _Lengths:
    """How long the texts are that a module meets; ``reason`` names the one that has no limit."""

    spec: Spec
    names: Registries
    types: Mapping[str, StreamType]
    limits: Mapping[str, list[Limit | None]]
    reason: str = "nothing limits the length of its texts"

    def longest(self, module: str, argument: str) -> Limit | None:
        """Return the longest text that a module can meet, with where that is set; None if it is open."""
        lengths_met: list[Limit] = []
        for equation in self.spec.flow.values():
            if equation.callee == module:
                lengths = self.read(equation, argument)
            else:
                lengths = self.written(equation, module, argument)
            if lengths is None:
                return None
            lengths_met += lengths
        return max(lengths_met, key=lambda limit: limit[0], default=None)

    def read(self, equation: Equation, argument: str) -> list[Limit] | None:
        """Return the lengths of the texts that a call of the module reads; None if one has no limit."""
        declaration = declaration_of(self.spec, equation, self.names)
        binding, _ = bind(equation, declaration)
        lengths: list[Limit] = []
        for port, filling in binding.arguments():
            if declaration.token_limits.get(port) != argument or not isinstance(
                filling, Ref
            ):
                continue
            of_stream = self.stream_lengths(filling.name)
            if of_stream is None:
                self.reason = f"nothing limits the length of '{filling.name}'"
                return None
            lengths += of_stream
        return lengths

    def stream_lengths(self, stream: str) -> list[Limit] | None:
        """Return the lengths that a stream of texts can have, one of each source and split."""
        axis = _token_axis(self.types.get(stream))
        if isinstance(axis, int):
            return [(axis, self.spec.key_place("inputs"))]
        lengths: list[Limit] = []
        for name in self.spec.inputs:
            # A stream is as long as an input with the same letter, as after `word_masking`.
            if name != stream and (
                not axis or _token_axis(self.types.get(name)) != axis
            ):
                continue
            for limit in self.limits.get(name, [None]):
                if limit is None:
                    return None
                lengths.append(limit)
        return lengths or None

    def written(
        self, equation: Equation, module: str, argument: str
    ) -> list[Limit] | None:
        """Return how long the texts are that a call writes with the module: its option is at most
        `decoder.max_positions` by a condition of the operation."""
        if module not in {ref.name for ref in equation.modules()}:
            return []
        declaration = declaration_of(self.spec, equation, self.names)
        binding, _ = bind(equation, declaration)
        lengths: list[Limit] = []
        for port, filling in binding.ports.items():
            if not isinstance(filling, ModuleRef) or filling.name != module:
                continue
            for condition in declaration.conditions:
                option = condition.at_most(f"{port}.{argument}")
                if option not in declaration.options:
                    continue
                value = binding.options.get(option, declaration.options[option].default)
                if isinstance(value, int):
                    lengths.append((value, equation.place))
        return lengths


def _token_axis(stream: StreamType | None) -> int | str:
    """Return the axis of tokens of a stream of texts, a size or a letter; '' if it has none."""
    if stream is None or len(stream.axes) < 2:
        return ""
    return stream.axes[1]
