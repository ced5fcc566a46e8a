"""`init:` entries: where the first weights of a network come from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from mplug2.runtime import distributed
from mplug2.weights.families.bert import from_bert
from mplug2.weights.families.clip import from_clip
from mplug2.weights.families.mplug import from_mplug
from mplug2.weights.families.mplug2 import Roles
from mplug2.weights.files import read_tensors
from mplug2.weights.load import load_official, load_own
from mplug2.weights.report import LoadReport
from mplug2.weights.store import weights_file
from registry import UserError
from registry.checks.initial import owners

if TYPE_CHECKING:
    from mplug2.network import Network

log = logging.getLogger("mplug2")


def roles_of(net: Network) -> Roles:
    """Which module of ``net`` plays which part of the released network; UserError where that is ambiguous."""
    try:
        return Roles.of({name: (entry.use, entry.arguments) for name, entry in net.spec.modules.items()})
    except ValueError as error:
        raise UserError(f"{net.spec.path}: {error}") from None


def from_mplug2(net: Network, what: str, wanted: Collection[str]) -> LoadReport:
    """Load a released mPLUG-2 checkpoint."""
    return load_official(net, read_tensors(what), roles_of(net), wanted, what, net.shadow_state_dict())


def from_own(net: Network, what: str, wanted: Collection[str]) -> LoadReport:
    """Load a checkpoint folder or ``.safetensors`` file that mplug2 wrote."""
    return load_own(net, read_tensors(weights_file(what)), wanted, what)


# by the names that `registry.checks.initial` knows
SOURCES: dict[str, Callable[[Network, str, Collection[str]], LoadReport]] = {
    "mplug2": from_mplug2,
    "mplug": from_mplug,
    "own": from_own,
    "clip": from_clip,
    "bert": from_bert,
}


def initialise(net: Network) -> list[LoadReport]:
    """Fill the network as its ``init:`` section says, each module from the most exact pattern that matches
    it, and log what became of every key."""
    reports = []
    owned = owners(net.spec.init, net.spec.modules)
    for pattern, source in net.spec.init.items():
        kind, _, what = source.partition(":")
        wanted = [name for name, owner in owned.items() if owner == pattern]
        try:
            report = SOURCES[kind](net, what, wanted)
        except UserError as error:
            raise UserError(f"{net.spec.place('init', pattern)}: {error}") from None
        log.info("init %s: %s\n%s", pattern, report.summary(), report.table())
        _warn_of_fresh(net, source, wanted, report)
        reports.append(report)
    _follow(net, reports)
    return reports


def _warn_of_fresh(net: Network, source: str, wanted: Collection[str], report: LoadReport) -> None:
    """Say which modules were to get weights from ``source``, and got none at all."""
    given = {name.split(".")[0] for name in report.filled()}
    sizes = {
        name: sum(p.numel() for p in net.part(name).parameters()) for name in wanted if name not in given
    }
    fresh = [f"{name} ({size:,} parameters)" for name, size in sizes.items() if size]
    if fresh and distributed.rank() == 0:
        log.warning("WARNING: %s holds nothing for %s: fresh weights stay", source, ", ".join(fresh))


def _follow(net: Network, reports: Collection[LoadReport]) -> None:
    """Let the momentum copies that no file gave begin as the weights that were loaded."""
    given = {name for report in reports for name in report.filled(momentum=True)}
    weights = net.state_dict()
    for name, copied in net.shadow_state_dict().items():
        if name not in given:
            copied.copy_(weights[name])
