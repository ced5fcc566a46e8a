"""`init:` entries: where the first weights of a network come from."""

from __future__ import annotations

import logging
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from mplug2.train.weights import weights_file
from mplug2.weights.files import read_tensors
from mplug2.weights.load import load_official, load_own
from mplug2.weights.official import Roles
from mplug2.weights.report import LoadReport
from registry import Problem, Spec, SpecError, UserError

if TYPE_CHECKING:
    from mplug2.network import Network

log = logging.getLogger("mplug2")


def roles_of(net: Network) -> Roles:
    """Which module of ``net`` plays which part of the released network; UserError where that is ambiguous."""
    try:
        return Roles.of({name: (entry.use, entry.arguments) for name, entry in net.spec.modules.items()})
    except ValueError as error:
        raise UserError(f"{net.spec.path}: {error}") from None


def from_mplug2(net: Network, path: str, pattern: str) -> LoadReport:
    """Load a released mPLUG-2 checkpoint."""
    return load_official(net, read_tensors(path), roles_of(net), pattern, path, net.shadow_state_dict())


def from_own(net: Network, path: str, pattern: str) -> LoadReport:
    """Load a checkpoint folder or ``.safetensors`` file that mplug2 wrote."""
    return load_own(net, read_tensors(weights_file(path)), pattern, path)


SOURCES: dict[str, Callable[[Network, str, str], LoadReport]] = {"mplug2": from_mplug2, "own": from_own}


FILES = ("mplug2", "own")  # the sources whose second half is a path


def init_problems(spec: Spec, files: bool = True) -> list[Problem]:
    """What is wrong with ``init:`` before any weight exists: sources, patterns and, with ``files``, paths."""
    problems = []
    for pattern, source in spec.init.items():
        kind, colon, path = source.partition(":")
        place = spec.place("init", pattern)
        if not colon or kind not in SOURCES:
            known = ", ".join(f"'{name}:FILE'" for name in SOURCES)
            problems.append(Problem(place, f"init source must be one of {known}, but is '{source}'"))
        elif files and kind in FILES and not Path(path).exists():
            problems.append(Problem(place, f"init must name a file that exists, but there is no '{path}'"))
        if not any(fnmatchcase(name, pattern) for name in spec.modules):
            key = spec.key_place("init", pattern)
            problems.append(Problem(key, f"init pattern '{pattern}' must match a module, but matches none"))
    return problems


def initialise(net: Network) -> list[LoadReport]:
    """Fill the network as its ``init:`` section says, in the order written, and log what became of every
    key."""
    if problems := init_problems(net.spec):
        raise SpecError(problems)
    reports = []
    for pattern, source in net.spec.init.items():
        kind, _, path = source.partition(":")
        place = net.spec.place("init", pattern)
        try:
            report = SOURCES[kind](net, path, pattern)
        except UserError as error:
            raise UserError(f"{place}: {error}") from None
        log.info("init %s: %s\n%s", pattern, report.summary(), report.table())
        reports.append(report)
    return reports
