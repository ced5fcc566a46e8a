"""Writing our weights under the released names of a family, each key of the original accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mplug2.weights.bound_map import BoundMap, KeyMapping
from mplug2.weights.files import Released
from mplug2.weights.keymap import KeyMap
from mplug2.weights.report import LoadReport, Status
from registry import UserError

if TYPE_CHECKING:
    from mplug2.network import Network


@dataclass(frozen=True)
class Original:
    """What is known of the released file that the weights came from.

    ``dtypes``: all of its keys in their order, with their types. ``released``: its tensors; None if only the
    keys are known.
    """

    dtypes: Mapping[str, torch.dtype]
    shapes: Mapping[str, tuple[int, ...]]
    released: Released | None = None

    @classmethod
    def of(cls, released: Released) -> Original:
        """Return what a file that is there says."""
        dtypes = {key: value.dtype for key, value in released.tensors.items()}
        return cls(dtypes, released.shapes, released)


def export(
    net: Network,
    key_map: KeyMap,
    weights: Mapping[str, Tensor],
    ema: Mapping[str, Tensor],
    original: Original | None,
    origin: str,
) -> tuple[dict[str, Tensor], LoadReport]:
    """Return our weights under the released names, and what became of each name and key.

    ``weights``, ``ema``: by our names; ``net`` gives only the structure and may be on the meta device. With
    an original, the result has its keys, order and types: what the network does not hold is copied from it.
    """
    shapes = original.shapes if original is not None else {}
    bound = BoundMap(key_map, net, shapes)
    exporting = _Exporting(key_map, LoadReport(origin))
    mappings, unmapped = bound.write(name for name in net.state_dict() if name in weights)
    for entry in unmapped:
        exporting.report.add("dropped", entry.name, reason=entry.reason)
    for mapping in mappings:
        exporting.take(mapping, weights, ema)
    exporting.constants = dict(bound.constants())
    if original is None:
        exporting.write_alone()
    else:
        exporting.write_like(original)
    if not exporting.written:
        raise UserError(f"{origin}: no weight of this network has a released name of {key_map.title}")
    return exporting.written, exporting.report


@dataclass
class _Value:
    tensor: Tensor
    names: tuple[str, ...]
    alternative: bool


@dataclass
class _Exporting:
    key_map: KeyMap
    report: LoadReport
    values: dict[str, _Value] = field(default_factory=dict)  # by released key, without EMA mark
    copies: dict[str, _Value] = field(default_factory=dict)  # EMA copies, by the key of their weight
    constants: dict[str, Tensor] = field(default_factory=dict)
    written: dict[str, Tensor] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)  # our names that were written

    def take(self, mapping: KeyMapping, weights: Mapping[str, Tensor], ema: Mapping[str, Tensor]) -> None:
        """Compute the released tensors of one mapping, and those of its EMA copy."""
        for source, values in ((weights, self.values), (ema, self.copies)):
            if any(name not in source for name in mapping.ours):
                continue
            tensors = [source[name] for name in mapping.ours]
            released = mapping.row.transform.write(tensors, mapping.values)
            for key, tensor in zip(mapping.released, released, strict=True):
                first = values.setdefault(key, _Value(tensor, mapping.ours, mapping.row.alternative))
                if first.names != mapping.ours:
                    raise UserError(
                        f"{self.report.origin}: {key} could be written from {first.names[0]} or from "
                        f"{mapping.ours[0]}; a spec to write from must have one of them"
                    )

    def write_alone(self) -> None:
        """Write what the network holds, in the precision of its weights."""
        for key, value in self.values.items():
            if not value.alternative:
                self._write(key, value, value.tensor.dtype)
        for key, value in self.copies.items():
            ema_key = self.key_map.ema_key(key)
            if ema_key is not None and not value.alternative:
                self._write(ema_key, value, value.tensor.dtype)
        for key, constant in self.constants.items():
            self.written[key] = constant
            self.report.add("kept", target=key, reason="a constant, recreated")

    def write_like(self, original: Original) -> None:
        """Write the keys of the original, in its order and types, then what only this network has."""
        stored = self._stored_weights(original)
        for key, dtype in original.dtypes.items():
            name, is_ema = self.key_map.canonical(key)
            value = self.copies.get(name) if is_ema else self.values.get(name)
            if value is not None:
                self._write(key, value, dtype, original.shapes.get(key))
            elif is_ema and name in self.values and self._has_changed(name, stored):
                self._write(key, self.values[name], dtype, original.shapes.get(key))
            elif original.released is not None:
                self.written[key] = original.released.tensors[key]
                self.report.add("kept", target=key, reason="not in this network: copied from the original")
            elif not is_ema and name in self.constants:
                self.written[key] = self.constants[name].to(dtype)
                self.report.add("kept", target=key, reason="a constant, recreated")
            else:
                self.report.add("missing", target=key, reason="not in this network, and there is no original")
        for key, value in self.values.items():
            if not value.alternative and not set(value.names) <= self.names:
                self._write(key, value, value.tensor.dtype, reason="the original has no such key")
        for key, value in self.copies.items():
            if not value.alternative and self.key_map.ema_key(key) not in self.written:
                self.report.add("dropped", value.names[0], reason="an EMA copy, and the original has none")

    def _stored_weights(self, original: Original) -> dict[str, Tensor]:
        """Return the original's tensors by the table's spelling, without EMA copies."""
        stored = {}
        for key, tensor in original.released.tensors.items() if original.released is not None else ():
            name, is_ema = self.key_map.canonical(key)
            if not is_ema:
                stored[name] = tensor
        return stored

    def _has_changed(self, name: str, stored: Mapping[str, Tensor]) -> bool:
        """Return whether a weight differs from the original's: then the original's EMA copy is stale."""
        tensor = self.values[name].tensor
        if name not in stored or stored[name].shape != tensor.shape:
            return True
        return not torch.equal(tensor.to(stored[name].dtype), stored[name])

    def _write(
        self,
        key: str,
        value: _Value,
        dtype: torch.dtype,
        shape: tuple[int, ...] | None = None,
        reason: str = "",
    ) -> None:
        tensor = value.tensor.to(dtype)
        is_ema = self.key_map.canonical(key)[1]
        status: Status = "written"
        if shape is not None and tuple(tensor.shape) != shape:
            status = "resized"
            reason = f"the original has {list(shape)}, this network has {list(tensor.shape)}"
        elif not is_ema and set(value.names) <= self.names:
            status = "tied"
        self.report.add(status, value.names[0], key, reason, momentum=is_ema)
        self.written[key] = tensor
        if not is_ema:
            self.names |= set(value.names)


def separate(tensors: Mapping[str, Tensor], share: bool) -> dict[str, Tensor]:
    """Return contiguous tensors that hold nothing but their own values.

    ``share``: whether two keys may share one storage, as the tied weights of a ``.pth`` do.
    """
    seen: set[int] = set()
    result = {}
    for name, value in tensors.items():
        tensor = value.detach().contiguous()
        address = tensor.untyped_storage().data_ptr()
        is_view = tensor.untyped_storage().nbytes() != tensor.nbytes
        if is_view or (address in seen and not share):
            tensor = tensor.clone()
        seen.add(address)
        result[name] = tensor
    return result
