"""A key map bound to a network: which released keys are which weights of it, in both directions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from mplug2.weights.key_pattern import (
    KeyMatcher,
    KeyPattern,
    declared_forms,
    read_pattern,
)
from mplug2.weights.keymap import Drop, Facts, Fresh, KeyMap, Row, Values

if TYPE_CHECKING:
    from mplug2.network import Network

# Which pattern of a row, and which value of the hole that `over` names.
Slot = tuple[int, int]


@dataclass(frozen=True)
class KeyMapping:
    """Released keys and our names of one instance of a row, in the order of the row's patterns.

    ``order``: the place of the row in the table. ``missing``: a key that the instance lacks.
    """

    row: Row
    order: int
    released: tuple[str, ...]
    ours: tuple[str, ...]
    values: Values
    ema: bool = False
    missing: str = ""


@dataclass(frozen=True)
class Unmapped:
    """A key or name without a counterpart, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True)
class _BoundRow:
    """A row for the modules that play its roles; ``absent``: the label of a role that no module plays."""

    row: Row
    order: int
    numbers: Values
    released: tuple[KeyPattern, ...]
    ours: tuple[KeyPattern, ...]
    absent: str = ""

    @cached_property
    def readers(self) -> tuple[KeyMatcher, ...]:
        return tuple(pattern.bind(self.numbers) for pattern in self.released)

    @cached_property
    def writers(self) -> tuple[KeyMatcher, ...]:
        return tuple(pattern.bind(self.numbers) for pattern in self.ours)

    def matches(
        self, matchers: Iterable[KeyMatcher], name: str
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for slot, matcher in enumerate(matchers):
            values = matcher.matches(name)
            if values is None:
                continue
            where = self.row.where
            # Without a module there are no numbers that a condition could ask for.
            if self.absent or where is None or where({**self.numbers, **values}):
                yield slot, values


@dataclass(frozen=True)
class _BoundDrop:
    row: Drop
    numbers: Values
    pattern: KeyPattern

    @cached_property
    def readers(self) -> tuple[KeyMatcher, ...]:
        return (self.pattern.bind(self.numbers),)

    writers: ClassVar[tuple[KeyMatcher, ...]] = ()

    def reason(self, name: str) -> str | None:
        values = self.readers[0].matches(name)
        if values is None:
            return None
        numbers = {**self.numbers, **values}
        if self.row.where is not None and not self.row.where(numbers):
            return None
        return self.row.reason.format_map(numbers)


@dataclass
class _Instance:
    bound: _BoundRow
    values: dict[str, Any]
    ema: bool
    parts: dict[Slot, str] = field(default_factory=dict)


class BoundMap:
    """A key map for one network and the keys of one checkpoint (of none, if there is no original)."""

    def __init__(
        self,
        key_map: KeyMap,
        net: Network,
        shapes: Mapping[str, tuple[int, ...]],
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.key_map = key_map
        self.players = key_map.players(net.spec)
        plain: dict[str, tuple[int, ...]] = {}
        for key, shape in shapes.items():
            name, ema = key_map.canonical(key)
            if not ema:
                plain[name] = shape
        self._facts = Facts(net, plain, config)
        self._numbers: dict[tuple[str, str], Values] = {}
        self._entries: list[_BoundRow | _BoundDrop] = []
        # A large checkpoint has thousands of keys: each is compared with the few rows that can match it.
        self._by_head: dict[tuple[str, bool], list[_BoundRow | _BoundDrop]] = {}
        # In the order of the table, where a drop ends the search.
        for order, row in enumerate(key_map.rows):
            if isinstance(row, Drop):
                self._entries += self._bind_drop(row)
            else:
                self._entries += self._bind_row(row, order)

    def read(self, keys: Iterable[str]) -> tuple[list[KeyMapping], list[Unmapped]]:
        """Return where released keys go, and those that go nowhere with the reason; nothing is left out."""
        instances: dict[Any, _Instance] = {}
        unmapped = []
        for key in keys:
            reason = self._assign(key, instances)
            if reason is not None:
                unmapped.append(Unmapped(key, reason))
        return [
            self._read_mapping(instance) for instance in instances.values()
        ], unmapped

    def write(self, names: Iterable[str]) -> tuple[list[KeyMapping], list[Unmapped]]:
        """Return the released keys of our names (without EMA marks), and the names without one."""
        instances: dict[Any, _Instance] = {}
        names = list(names)
        for name in names:
            for entry in self._candidates(name, reading=False):
                if isinstance(entry, _BoundDrop):
                    continue
                for slot, values in entry.matches(entry.writers, name):
                    _instance(instances, entry, values, False).parts[slot, 0] = name
        mappings = []
        for instance in instances.values():
            # A row writes all of its weights together, or none.
            if len(instance.parts) == len(instance.bound.ours):
                mappings.append(self._write_mapping(instance))
        written: set[str] = set()
        for mapping in mappings:
            written.update(mapping.ours)
        unmapped = []
        for name in names:
            if name not in written:
                other_reason = f"{self.key_map.title} has no such weight"
                unmapped.append(Unmapped(name, self.fresh_reason(name) or other_reason))
        return mappings, unmapped

    def fresh_reason(self, name: str) -> str | None:
        """Return why the release never holds a weight of ours, None if it does hold it."""
        for fresh in self.key_map.fresh:
            for module in self.players[fresh.role]:
                numbers = self._role_numbers(fresh.role, module)
                pattern = self._ours(fresh, fresh.ours, module, {})
                values = pattern.bind(numbers).matches(name)
                if values is None:
                    continue
                if fresh.where is None or fresh.where({**numbers, **values}):
                    return fresh.reason
        return None

    def constants(self) -> Iterator[tuple[str, Any]]:
        """Yield the constants that the table can recreate: released key and tensor."""
        for entry in self._entries:
            if not isinstance(entry, _BoundDrop):
                continue
            if entry.row.make is None or not entry.row.role:
                continue
            # Where the condition fails, this network holds the weight itself.
            if entry.row.where is not None and not entry.row.where(entry.numbers):
                continue
            key = entry.pattern.write(entry.numbers)
            if key is not None:
                yield key, entry.row.make(entry.numbers)

    def _candidates(self, name: str, reading: bool) -> list[_BoundRow | _BoundDrop]:
        """Return the entries that can match a key, by the part before its first dot."""
        head = name.partition(".")[0]
        if (head, reading) not in self._by_head:
            candidates = []
            for entry in self._entries:
                matchers = entry.readers if reading else entry.writers
                if any(matcher.may_match(head) for matcher in matchers):
                    candidates.append(entry)
            self._by_head[head, reading] = candidates
        return self._by_head[head, reading]

    def _role_numbers(self, role: str, module: str) -> Values:
        if (role, module) not in self._numbers:
            numbers = self.key_map.roles[role].numbers(self._facts, module)
            self._numbers[role, module] = {"module": module, **numbers}
        return self._numbers[role, module]

    def _ours(
        self, row: Row | Fresh, name: str, module: str, forms: Mapping[str, str]
    ) -> KeyPattern:
        role, colon, inside = name.partition(":")
        if colon and role in self.key_map.roles:
            module = self.players[role][0]
        else:
            role, inside = row.role, name
        prefix = self.key_map.roles[role].prefix(self._facts.use(module))
        return read_pattern(f"{module}.{prefix}{inside}", forms)

    def _bind_row(self, row: Row, order: int) -> Iterator[_BoundRow]:
        released = _tuple(row.released)
        ours = _tuple(row.ours)
        forms = forms_of(row)
        patterns = tuple(read_pattern(text, forms) for text in released)
        absent = [
            role for role in roles_of(row, self.key_map) if not self.players[role]
        ]
        if absent:
            yield _BoundRow(
                row, order, {}, patterns, (), self.key_map.roles[absent[0]].label
            )
            return
        for module in self.players[row.role]:
            names = tuple(self._ours(row, name, module, forms) for name in ours)
            yield _BoundRow(
                row, order, self._role_numbers(row.role, module), patterns, names
            )

    def _bind_drop(self, drop: Drop) -> Iterator[_BoundDrop]:
        pattern = read_pattern(drop.released)
        if not drop.role:
            yield _BoundDrop(drop, {}, pattern)
            return
        for module in self.players[drop.role]:
            yield _BoundDrop(drop, self._role_numbers(drop.role, module), pattern)

    def _assign(self, key: str, instances: dict[Any, _Instance]) -> str | None:
        """Put a released key where it belongs; return the reason if it belongs nowhere."""
        name, ema = self.key_map.canonical(key)
        absent = ""
        placed = False
        for entry in self._candidates(name, reading=True):
            if isinstance(entry, _BoundDrop):
                reason = entry.reason(name)
                if reason is None:
                    continue
                return None if placed else reason
            for slot, values in entry.matches(entry.readers, name):
                if entry.absent:
                    absent = absent or entry.absent
                    continue
                index = values.pop(entry.row.over) if entry.row.over else 0
                _instance(instances, entry, values, ema).parts[slot, index] = key
                placed = True
        if placed:
            return None
        if absent:
            return f"this network has no {absent}"
        return f"not a key of {self.key_map.title}"

    def _read_mapping(self, instance: _Instance) -> KeyMapping:
        bound, parts = instance.bound, instance.parts
        count = 1 + max(index for _, index in parts) if bound.row.over else 1
        values = {**bound.numbers, **instance.values}
        # In the order that transforms expect: all patterns of the first index, then of the next one.
        released = []
        missing = ""
        for index in range(count):
            for slot, pattern in enumerate(bound.released):
                if (slot, index) in parts:
                    released.append(parts[slot, index])
                else:
                    missing = pattern.write({**values, bound.row.over: index}) or ""
        names = [pattern.write(values) for pattern in bound.ours]
        return KeyMapping(
            bound.row,
            bound.order,
            tuple(released),
            tuple(name for name in names if name is not None),
            {**values, "count": len(names)},
            instance.ema,
            missing,
        )

    def _write_mapping(self, instance: _Instance) -> KeyMapping:
        bound = instance.bound
        values = {**bound.numbers, **instance.values}
        count = int(values[bound.row.count]) if bound.row.over else 1
        keys = []
        for index in range(count):
            for pattern in bound.released:
                keys.append(pattern.write({**values, bound.row.over: index}))
        names = tuple(instance.parts[slot, 0] for slot in range(len(bound.ours)))
        written = tuple(key for key in keys if key is not None)
        return KeyMapping(
            bound.row, bound.order, written, names, {**values, "count": len(keys)}
        )


def forms_of(row: Row) -> dict[str, str]:
    """Return what the holes of a row match, declared on either side; ValueError if a pattern is wrong."""
    forms: dict[str, str] = {}
    for text in (*_tuple(row.released), *_tuple(row.ours)):
        forms |= declared_forms(text)
    return forms


def roles_of(row: Row, key_map: KeyMap) -> list[str]:
    """Return the roles whose weights a row names."""
    named = [name.partition(":")[0] for name in _tuple(row.ours) if ":" in name]
    return [row.role, *(role for role in named if role in key_map.roles)]


def _instance(
    instances: dict[Any, _Instance], bound: _BoundRow, values: dict[str, Any], ema: bool
) -> _Instance:
    key = (id(bound), tuple(sorted(values.items())), ema)
    return instances.setdefault(key, _Instance(bound, values, ema))


def _tuple(patterns: str | tuple[str, ...]) -> tuple[str, ...]:
    return (patterns,) if isinstance(patterns, str) else patterns
