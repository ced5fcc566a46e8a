"""Putting weights into a network through a key map: all that fits, each key accounted for, or nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mplug2.weights.bound_map import BoundMap, KeyMapping
from mplug2.weights.file_content import value_problem
from mplug2.weights.files import Released
from mplug2.weights.keymap import KeyMap, Row
from mplug2.weights.module_names import in_new_names
from mplug2.weights.report import LoadReport, Status
from mplug2.weights.store import persistent_buffers
from registry import UserError

if TYPE_CHECKING:
    from mplug2.network import Network

Target = tuple[bool, str]  # whether it is an EMA copy, and its name


def load_mapped(
    net: Network,
    key_map: KeyMap,
    released: Released,
    module_names: Collection[str] | None = None,
) -> LoadReport:
    """Load released weights into the modules named (all, if None) and return what became of each key.

    EMA copies go to the network's own, if it keeps any. UserError with the table of what does not fit if a
    tensor has another shape, or if a module is only partly there; then nothing is loaded.
    """
    names = set(net.spec.modules) if module_names is None else set(module_names)
    # A checkpoint of an earlier version may have old names of modules.
    if not key_map.released:
        tensors = in_new_names(released.tensors, net.spec.modules, released.origin)
        released = replace(released, tensors=tensors)
    key_map.check(net, released, names)
    bound = BoundMap(key_map, net, released.shapes, released.config)
    loading = _Loading(net, released, names, LoadReport(released.origin))
    mappings, unmapped = bound.read(released.tensors)
    for entry in unmapped:
        loading.report.add("dropped", entry.name, reason=entry.reason)
    # A tied weight is stored under two keys: the later row of the table wins, as in the released loaders.
    for mapping in sorted(mappings, key=lambda mapping: mapping.order):
        loading.take(mapping)
    loading.report_unasked()
    loading.report_missing(bound)
    loading.commit()
    return loading.report


def tied_names(net: Network) -> dict[str, int]:
    """Return the names of all weights and buffers, those that are one tensor with the same number."""
    # With `keep_vars`, else each name would have a new tensor.
    weights = net.state_dict(keep_vars=True)
    identities = {name: id(value) for name, value in weights.items()}
    for name, owner in net.transposed.items():
        identities[name] = identities[owner]
    return identities


@dataclass
class _Loading:
    net: Network
    released: Released
    names: set[str]
    report: LoadReport
    chosen: dict[Target, Tensor] = field(default_factory=dict)
    sources: dict[Target, tuple[str, ...]] = field(default_factory=dict)
    unasked: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.homes: dict[bool, Mapping[str, Tensor]] = {
            # Writing into the view of a transposed tie writes its parameter.
            False: self.net.weights(),
            True: self.net.ema_state_dict(),
        }
        # Asked for every key of the file, so the modules are walked once.
        self.buffers = frozenset(persistent_buffers(self.net))

    def take(self, mapping: KeyMapping) -> None:
        """Choose the tensors of one mapping, or report why they go nowhere."""
        home = self.homes[mapping.ema]
        asked = [name for name in mapping.ours if name.split(".")[0] in self.names]
        if not asked:
            self.unasked |= dict.fromkeys(mapping.released, mapping.ours[0])
        elif mapping.missing:
            self._add("misfit", mapping, f"{mapping.missing} is not in the file")
        elif mapping.ema and not home:
            self._add(
                "dropped",
                mapping,
                "a momentum copy, and this network keeps none",
                target="",
            )
        elif any(name not in home for name in mapping.ours):
            reason = "a momentum copy that no ema(...) reads"
            if not mapping.ema:
                reason = "this network's module is not so deep"
            self._add("dropped" if mapping.ema else "misfit", mapping, reason)
        else:
            self._fit(mapping)

    def report_unasked(self) -> None:
        """Report the keys that only modules take which `init` does not ask for."""
        taken = {row.source for row in self.report.rows}
        for key, name in self.unasked.items():
            if key not in taken:
                self.report.add(
                    "dropped",
                    key,
                    name,
                    f"init does not ask it for {name.split('.')[0]}",
                )

    def report_missing(self, bound: BoundMap) -> None:
        """Report what the file does not give.

        A module that is absent altogether keeps its fresh weights. One that is partly there does not fit,
        except for what such a checkpoint never holds.
        """
        present = {name.split(".")[0] for ema, name in self.chosen if not ema}
        misfits = {row.target for row in self.report.of("misfit")}
        identities = tied_names(self.net)
        filled = {identities[name] for ema, name in self.chosen if not ema}
        for name in self.homes[False]:
            module = name.split(".")[0]
            if (
                identities[name] in filled
                or name in misfits
                or module not in self.names
            ):
                continue
            reason = bound.fresh_reason(name)
            if module not in present:
                reason = f"no weights of {module} in the file: it keeps its own"
            status: Status = "misfit" if reason is None else "missing"
            self.report.add(status, target=name, reason=reason or "not in the file")

    def commit(self) -> None:
        """Copy what was chosen into the network; UserError if anything does not fit."""
        misfits = self.report.of("misfit")
        if misfits or not self.report.of("loaded", "resized"):
            problem = f"{len(misfits)} keys do not fit" if misfits else "no key fits"
            raise UserError(
                f"{self.report.origin}: {problem} this network; nothing was loaded\n"
                + self.report.table(misfits or self.report.rows)
                + "\n    hint: compose the network that the checkpoint was made with, or load parts: "
                "`init: {vision: ...}`"
            )
        # Only now: a network that is filled in part would be worse than one that is not filled.
        with torch.no_grad():
            for (ema, name), value in self.chosen.items():
                self.homes[ema][name].copy_(value)

    def _fit(self, mapping: KeyMapping) -> None:
        stored = [self.released.tensors[key] for key in mapping.released]
        problem = self._broken(mapping, stored)
        if problem is not None:
            self._add("misfit", mapping, problem)
            return
        try:
            tensors = mapping.row.transform.read(stored, mapping.values)
        except (ValueError, RuntimeError, IndexError) as error:
            # Shapes that the transform cannot take.
            self._add("misfit", mapping, str(error).splitlines()[0])
            return
        notes: list[str] = []
        fitted = []
        for name, tensor in zip(mapping.ours, tensors, strict=True):
            target = self.homes[mapping.ema][name]
            try:
                resized = in_shape(mapping.row, tensor, target)
            except ValueError as error:
                self._add("misfit", mapping, str(error))
                return
            if resized is None:
                sizes = f"file has {list(stored[0].shape)}, network has {list(target.shape)}"
                self._add("misfit", mapping, sizes)
                return
            fitted.append(resized[0])
            notes += [resized[1]] if resized[1] else []
        targets = [(mapping.ema, name) for name in mapping.ours]
        earlier = [self.sources[target] for target in targets if target in self.chosen]
        # A more exact row of the table has taken this very key there.
        if earlier == [mapping.released]:
            return
        status: Status = "tied" if earlier else "resized" if notes else "loaded"
        self._add(status, mapping, ", ".join(notes))
        self.chosen |= dict(zip(targets, fitted, strict=True))
        self.sources |= dict.fromkeys(targets, mapping.released)

    def _broken(self, mapping: KeyMapping, stored: Sequence[Tensor]) -> str | None:
        """Return why the values of a mapping cannot be those of parameters; None if they can."""
        name = mapping.ours[0]
        if (
            not self.homes[mapping.ema][name].is_floating_point()
            or name in self.buffers
        ):
            return None
        for tensor in stored:
            problem = value_problem(tensor)
            if problem is not None:
                return problem
        return None

    def _add(
        self,
        status: Status,
        mapping: KeyMapping,
        reason: str,
        target: str | None = None,
    ) -> None:
        named = mapping.ours[0] if target is None else target
        momentum = mapping.ema and status != "dropped"
        for key in mapping.released:
            self.report.add(status, key, named, reason, momentum=momentum)


def in_shape(row: Row, tensor: Tensor, target: Tensor) -> tuple[Tensor, str] | None:
    """Return a tensor in the shape of the network's, with a note if the row resized it; None if it cannot be.

    ValueError if the row's resize applies but cannot be done.
    """
    if tensor.shape == target.shape:
        return tensor, ""
    if row.resize is None:
        return None
    resized = row.resize(tensor, target)
    return resized if resized is not None and resized[0].shape == target.shape else None
