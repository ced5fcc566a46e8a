"""Entries of a spec: a module, and the flow and goals as they are written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from registry.errors import NOWHERE, Location
from registry.language.equation import Equation, Ref


@dataclass(frozen=True)
class ModuleEntry:
    """One module of a network: its name there, the registered name of its class, and its arguments."""

    name: str
    use: str
    arguments: dict[str, Any] = field(default_factory=dict)
    place: Location = field(default=NOWHERE, compare=False, repr=False)
    # Where each argument is set, and `use`; two entries with the same values are equal at any place.
    places: dict[str, Location] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class Written:
    """The flow and the goals of a spec as they are written, before calls of definitions are expanded."""

    flow: dict[str, Equation] = field(default_factory=dict)
    goals: dict[str, Ref | dict[str, Ref]] = field(default_factory=dict)
