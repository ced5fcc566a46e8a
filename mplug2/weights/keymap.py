"""Key maps: the released names of a family and ours, as one table that reads and writes.

A family is a `KeyMap`: its roles (which modules here play which part of the released network) and its rows
(released pattern, our pattern, transform). `bound_map` binds a table to a network, `load` reads with it,
`export` writes. Nothing here imports torch, so that `mplug2 check` can look families up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mplug2.weights.key_pattern import (
    KeyMatcher,
    KeyPattern,
    declared_forms,
    read_pattern,
)
from mplug2.weights.transforms import IDENTITY, Transform
from registry import Spec, UserError

if TYPE_CHECKING:
    from torch import Tensor

    from mplug2.network import Network
    from mplug2.weights.files import Released

Values = Mapping[str, Any]
Where = Callable[[Values], bool]
Resize = Callable[["Tensor", "Tensor"], "tuple[Tensor, str] | None"]
EVERY = "*"  # as the use of a role: any module


class Facts:
    """What the tables of a family may ask of a network and of the released keys that are read or written."""

    def __init__(
        self,
        net: Network,
        shapes: Mapping[str, tuple[int, ...]],
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.net = net
        self.spec: Spec = net.spec
        self.shapes = shapes
        self.config = dict(config or {})

    def argument(self, module: str, name: str, default: Any) -> Any:
        """Return an argument that the spec gives to a module, or the default."""
        return self.spec.modules[module].arguments.get(name, default)

    def use(self, module: str) -> str:
        """Return the registered name of a module of the spec."""
        return self.spec.modules[module].use

    def count(self, pattern: str, default: int) -> int:
        """Return 1 + the largest integer in the first hole of ``pattern`` over the keys, or the default."""
        indices = self._indices(pattern)
        return 1 + max(indices) if indices else default

    def least(self, pattern: str, default: int) -> int:
        """Return the smallest integer in the first hole of ``pattern`` over the keys, or the default."""
        return min(self._indices(pattern), default=default)

    def size(self, key: str, default: int) -> int:
        """Return the number of values stored under a key, the default if the key is absent."""
        if key not in self.shapes:
            return default
        size = 1
        for length in self.shapes[key]:
            size *= length
        return size

    def _indices(self, pattern: str) -> list[int]:
        compiled = read_pattern(pattern)
        hole = compiled.holes[0].name
        matcher = compiled.bind({})
        # released keys show what no config has, such as the number of layers.
        matches = [matcher.matches(key) for key in self.shapes]
        return [match[hole] for match in matches if match is not None]


def _always(spec: Spec, module: str) -> bool:
    return True


def _no_numbers(facts: Facts, module: str) -> Values:
    return {}


@dataclass(frozen=True)
class Role:
    """A part of the released network, and which modules of a spec can be it.

    ``uses``: registered modules, each with the prefix of the part's weights inside it. ``when`` distinguishes
    modules of one use. ``numbers``: depths, strides and offsets for the rows of this role. ``many``: several
    modules may be the part, and each gets its weights (then nothing can be written back).
    """

    label: str
    uses: Mapping[str, str]
    when: Callable[[Spec, str], bool] = _always
    numbers: Callable[[Facts, str], Values] = _no_numbers
    many: bool = False

    def prefix(self, use: str) -> str | None:
        """Return the prefix of the weights in a module of this use, None if it cannot be the part."""
        return self.uses.get(use, self.uses.get(EVERY))


@dataclass(frozen=True)
class Row:
    """One line of a table: these released keys are these weights of the module that plays ``role``.

    ``ours``: names inside the module; ``role:name`` for a weight of another role. ``where``: a condition on
    holes and numbers. ``over``: a hole of ``released`` over which tensors are collected in order, ``count``
    of them when writing (the name of a number). ``resize``: for tensors of another size. ``alternative``: a
    second spelling; it is written only if the original has it.
    """

    released: str | tuple[str, ...]
    ours: str | tuple[str, ...]
    role: str
    transform: Transform = IDENTITY
    where: Where | None = None
    resize: Resize | None = None
    over: str = ""
    count: str = ""
    alternative: bool = False


@dataclass(frozen=True)
class Drop:
    """Released keys that no module here takes, with the reason (numbers of ``role`` may be named in braces).

    Rows are tried in order, and a drop ends the search. It applies if ``role`` is empty or played. ``make``
    recreates a constant when there is no original to copy from.
    """

    released: str
    reason: str
    role: str = ""
    where: Where | None = None
    make: Callable[[Values], Tensor] | None = None


@dataclass(frozen=True)
class Fresh:
    """Weights of a role that the release never holds, with the reason: they keep their fresh values."""

    ours: str
    role: str
    reason: str
    where: Where | None = None


def _open_file(where: str) -> Released:
    from mplug2.weights.files import read_released

    return read_released(where)


def _nothing_to_check(
    net: Network, released: Released, module_names: Collection[str]
) -> None:
    return None


@dataclass(frozen=True)
class KeyMap:
    """The table of one family; registered in `KEY_MAPS` it becomes `init: {'*': 'FAMILY:...'}`.

    - ``source``: the form of what follows the colon, such as ``FILE``; a ``NAME_...`` may be downloaded.
    - ``renames``: other spellings of released keys, applied first.
    - ``ema``: the released name of an EMA copy, and that of its weight.
    - ``foreign``: modules that the family does not have, with what the message calls them.
    - ``open`` reads the source; ``check`` raises UserError for what no shape shows, such as heads.
    - ``released``: whether `mplug2 convert` knows the family. ``read_only``: why it cannot be written, if so.
    - ``by_module``: released keys begin with the names of modules, so that ``SOURCE#NAME`` can pick one.
    - ``wrapper``: the entry of a ``.pth`` that holds the tensors; the empty text if they are not in one.
    """

    title: str
    roles: Mapping[str, Role]
    rows: tuple[Row | Drop, ...]
    source: str = "FILE"
    fresh: tuple[Fresh, ...] = ()
    renames: tuple[tuple[str, str], ...] = ()
    ema: tuple[str, str] | None = None
    foreign: Mapping[str, str] = field(default_factory=dict)
    open: Callable[[str], Released] = _open_file
    check: Callable[[Network, Released, Collection[str]], None] = _nothing_to_check
    released: bool = True
    read_only: str = ""
    wrapper: str = "model"
    by_module: bool = False

    def players(self, spec: Spec) -> dict[str, list[str]]:
        """Return the modules of ``spec`` that play each role.

        UserError if two modules could be one part, or if the family has nothing like a module.
        """
        players: dict[str, list[str]] = {role: [] for role in self.roles}
        for name, entry in spec.modules.items():
            if entry.use in self.foreign:
                what = self.foreign[entry.use]
                raise UserError(
                    f"{entry.place}: {self.title} has no {what}, as module '{name}' is"
                )
            for role, part in self.roles.items():
                if part.prefix(entry.use) is None or not part.when(spec, name):
                    continue
                if players[role] and not part.many:
                    # Two candidates: the keys would go to whichever comes first in the spec.
                    first = players[role][0]
                    raise UserError(
                        f"{entry.place}: {self.title} has one {part.label}, but modules {first} and {name} "
                        "could be it"
                    )
                players[role].append(name)
        return players

    def canonical(self, key: str) -> tuple[str, bool]:
        """Return the key in the table's spelling without the mark of an EMA copy, and whether it had one."""
        # Before the mark of a copy is looked for: a copy may be spelt in the other way, too.
        for theirs, table in self.renames:
            key = _respelled(key, theirs, table) or key
        if self.ema is None:
            return key, False
        weight = _respelled(key, *self.ema)
        return (key, False) if weight is None else (weight, True)

    def ema_key(self, key: str) -> str | None:
        """Return the released name of the EMA copy of a weight, None if the family has none for it."""
        return None if self.ema is None else _respelled(key, self.ema[1], self.ema[0])


def _respelled(key: str, old: str, new: str) -> str | None:
    """Return ``key`` in the other spelling, None if it is not in the first one."""
    matcher, pattern = _spellings(old, new)
    values = matcher.matches(key)
    return None if values is None else pattern.write(values)


@lru_cache(maxsize=256)
def _spellings(old: str, new: str) -> tuple[KeyMatcher, KeyPattern]:
    forms = {**declared_forms(new), **declared_forms(old)}
    return read_pattern(old, forms).bind({}), read_pattern(new, forms)
