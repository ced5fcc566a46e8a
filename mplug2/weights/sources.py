"""`init:` entries: where the first weights of a network come from."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from mplug2.runtime import distributed
from mplug2.weights.bound_map import BoundMap
from mplug2.weights.files import Released
from mplug2.weights.keymap import KeyMap
from mplug2.weights.load import load_mapped
from mplug2.weights.report import LoadReport
from registry import KEY_MAPS, UserError
from registry.checks.initial import owners, split_source
from registry.registries import closest_name

if TYPE_CHECKING:
    from mplug2.network import Network

log = logging.getLogger("mplug2")


def load_source(
    net: Network, family: str, source: str, module_names: Collection[str] | None = None
) -> LoadReport:
    """Load what ``FAMILY:SOURCE`` names into the modules named (all, if None) and return the report.

    ``SOURCE#NAME`` takes the weights of the source's module NAME for each of them.
    """
    key_map: KeyMap = KEY_MAPS.load(family)
    _, path, module = split_source(f"{family}:{source}")
    released = key_map.open(path)
    if module is not None:
        targets = list(net.spec.modules) if module_names is None else list(module_names)
        released = _renamed(released, module, targets)
    return load_mapped(net, key_map, released, module_names)


def _renamed(released: Released, module: str, targets: Iterable[str]) -> Released:
    """Return the weights of one module of a source under the names of ``targets``, its other keys unchanged.

    UserError with the names of the source's modules if it has no such module.
    """
    renamed = {}
    others = {}
    modules: dict[str, None] = {}
    for key, tensor in released.tensors.items():
        first, _, rest = key.partition(".")
        modules[first] = None
        if first != module:
            # For modules that keep their name, and for keys that a table drops with a reason.
            others[key] = tensor
            continue
        for target in targets:
            renamed[f"{target}.{rest}"] = tensor
    if not renamed:
        near = closest_name(module, modules)
        hint = f"Did you mean '#{near}'? " if near else ""
        raise UserError(
            f"{released.origin}: has no module '{module}'. {hint}Its modules: {', '.join(modules)}"
        )
    # A module of the source that has the name of a target gives it nothing.
    kept = {}
    for key, tensor in others.items():
        if key.partition(".")[0] not in targets:
            kept[key] = tensor
    return replace(released, tensors=kept | renamed)


def load_tensors(
    net: Network,
    family: str,
    tensors: Mapping[str, Tensor],
    module_names: Collection[str] | None = None,
    origin: str = "checkpoint",
) -> LoadReport:
    """Load a released state dict of ``family`` into the modules named (all, if None); return the report."""
    return load_mapped(
        net, KEY_MAPS.load(family), Released(origin, tensors), module_names
    )


def map_keys(net: Network, family: str, keys: Iterable[str]) -> dict[str, str]:
    """Return our name of each released key that has one: the first of several. EMA copies are left out."""
    key_map: KeyMap = KEY_MAPS.load(family)
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(keys, ())
    mappings, _ = BoundMap(key_map, net, shapes).read(shapes)
    names: dict[str, str] = {}
    for mapping in mappings:
        if not mapping.ema:
            for key in mapping.released:
                names.setdefault(key, mapping.ours[0])
    return names


def initialise(net: Network) -> list[LoadReport]:
    """Fill the network from its ``init:`` section, each module from the most specific pattern that matches
    it, and log every key."""
    reports = []
    owned = owners(net.spec.init, net.spec.modules)
    for pattern, source in net.spec.init.items():
        family, _, path = source.partition(":")
        module_names = [name for name, owner in owned.items() if owner == pattern]
        try:
            report = load_source(net, family, path, module_names)
        except UserError as error:
            raise UserError(f"{net.spec.place('init', pattern)}: {error}") from None
        log.info("init %s: %s\n%s", pattern, report.summary(), report.table())
        _warn_of_fresh(net, source, module_names, report)
        reports.append(report)
    _follow(net, reports)
    return reports


def _warn_of_fresh(
    net: Network, source: str, module_names: Collection[str], report: LoadReport
) -> None:
    """Warn of modules that were to get weights from ``source`` and got none at all."""
    filled = {name.split(".")[0] for name in report.filled()}
    fresh = []
    for name in module_names:
        size = sum(parameter.numel() for parameter in net.get_module(name).parameters())
        if size and name not in filled:
            fresh.append(f"{name} ({size:,} parameters)")
    if fresh and distributed.rank() == 0:
        log.warning(
            "WARNING: %s holds nothing for %s: fresh weights stay",
            source,
            ", ".join(fresh),
        )


def _follow(net: Network, reports: Collection[LoadReport]) -> None:
    """Let the momentum copies that no file gave begin as the weights that were loaded."""
    filled: set[str] = set()
    for report in reports:
        filled.update(report.filled(momentum=True))
    weights = net.state_dict()
    for name, copied in net.ema_state_dict().items():
        if name not in filled:
            copied.copy_(weights[name])
