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
from mplug2.weights.load import in_shape
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
        """Return the contents of an existing file."""
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
    exporting.store(original)
    weights, ema = _with_transposed(net, weights), _with_transposed(net, ema)
    mappings, unmapped = bound.write(name for name in net.weights() if name in weights)
    for entry in unmapped:
        exporting.report.add("dropped", entry.name, reason=entry.reason)
    for mapping in mappings:
        exporting.take(mapping, weights, is_ema=False)
        exporting.take(mapping, ema, is_ema=True)
    exporting.constants = dict(bound.constants())
    if original is None:
        exporting.write_alone()
    else:
        exporting.write_like(original)
    if not exporting.written:
        raise UserError(
            f"{origin}: no weight of this network has a released name of {key_map.title}"
        )
    return exporting.written, exporting.report


def _with_transposed(net: Network, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors with those that are transposes of others in this network."""
    complete = dict(tensors)
    for name, owner in net.transposed.items():
        if owner in tensors:
            complete[name] = tensors[owner].T
    return complete


@dataclass
class _Value:
    """A released tensor of ours; ``unchanged``: whether the original holds it, perhaps in another size."""

    tensor: Tensor
    names: tuple[str, ...]
    alternative: bool
    unchanged: bool


@dataclass
class _Exporting:
    key_map: KeyMap
    report: LoadReport
    # By whether they are EMA copies, and by released key without the mark of one.
    stored: dict[bool, dict[str, Tensor]] = field(
        default_factory=lambda: {False: {}, True: {}}
    )
    values: dict[bool, dict[str, _Value]] = field(
        default_factory=lambda: {False: {}, True: {}}
    )
    constants: dict[str, Tensor] = field(default_factory=dict)
    # Why a second spelling cannot hold our weights.
    refused: dict[str, str] = field(default_factory=dict)
    written: dict[str, Tensor] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)  # our names that were written

    def store(self, original: Original | None) -> None:
        """Remember the original's tensors in the table's spelling."""
        if original is None or original.released is None:
            return
        for key, tensor in original.released.tensors.items():
            name, is_ema = self.key_map.canonical(key)
            self.stored[is_ema][name] = tensor

    def take(
        self, mapping: KeyMapping, weights: Mapping[str, Tensor], is_ema: bool
    ) -> None:
        """Compute the released tensors of one mapping."""
        if any(name not in weights for name in mapping.ours):
            return
        tensors = [weights[name] for name in mapping.ours]
        try:
            released = mapping.row.transform.write(tensors, mapping.values)
        except ValueError as error:
            problem = f"{self.report.origin}: {mapping.ours[0]}: {error}"
            if not mapping.row.alternative:
                raise UserError(problem) from None
            self.refused |= dict.fromkeys(mapping.released, problem)
            return
        unchanged = _gives(mapping, self.stored[is_ema], tensors)
        for key, tensor in zip(mapping.released, released, strict=True):
            value = _Value(tensor, mapping.ours, mapping.row.alternative, unchanged)
            first = self.values[is_ema].setdefault(key, value)
            if first.names != mapping.ours:
                raise UserError(
                    f"{self.report.origin}: {key} could be written from {first.names[0]} or from "
                    f"{mapping.ours[0]}; a spec to write from must have one of them"
                )

    def write_alone(self) -> None:
        """Write what the network holds, in the precision of its weights."""
        for key, value in self.values[False].items():
            if not value.alternative:
                self._write(key, value, value.tensor.dtype)
        for key, value in self.values[True].items():
            ema_key = self.key_map.ema_key(key)
            if ema_key is not None and not value.alternative:
                self._write(ema_key, value, value.tensor.dtype)
        for key, constant in self.constants.items():
            self.written[key] = constant
            self.report.add("kept", target=key, reason="a constant, recreated")

    def write_like(self, original: Original) -> None:
        """Write the keys of the original, in its order and types, then what only this network has."""
        for key, dtype in original.dtypes.items():
            name, is_ema = self.key_map.canonical(key)
            if name in self.refused:
                raise UserError(
                    f"{self.refused[name]}\n    hint: convert without --like"
                )
            value = self.values[is_ema].get(name)
            student = self.values[False].get(name)
            is_stale = student is not None and not student.unchanged
            # The original's copy followed another weight than the one that is written now.
            if is_ema and value is None and is_stale:
                value = student
            if value is not None and value.unchanged:
                self._keep_written(key, value, self.stored[is_ema][name])
            elif value is not None:
                self._write(key, value, dtype, original.shapes.get(key))
            elif original.released is not None:
                self.written[key] = original.released.tensors[key]
                self.report.add(
                    "kept",
                    target=key,
                    reason="not in this network: copied from the original",
                )
            elif not is_ema and name in self.constants:
                self.written[key] = self.constants[name].to(dtype)
                self.report.add("kept", target=key, reason="a constant, recreated")
            else:
                self.report.add(
                    "missing",
                    target=key,
                    reason="not in this network, and there is no original",
                )
        self._write_additions()

    def _write_additions(self) -> None:
        """Write the weights that the original has no key for; report such EMA copies."""
        for key, value in self.values[False].items():
            if not value.alternative and not set(value.names) <= self.names:
                self._write(
                    key,
                    value,
                    value.tensor.dtype,
                    reason="the original has no such key",
                )
        for key, value in self.values[True].items():
            if not value.alternative and self.key_map.ema_key(key) not in self.written:
                self.report.add(
                    "dropped",
                    value.names[0],
                    reason="an EMA copy, which the original does not have",
                )

    def _keep_written(self, key: str, value: _Value, stored: Tensor) -> None:
        """Write the original's own tensor, since ours is what reading it gives."""
        reason = ""
        if stored.shape != value.tensor.shape:
            reason = (
                "resized when it was read, and unchanged since: as the original has it"
            )
        self._report(key, value, reason)
        self.written[key] = stored

    def _write(
        self,
        key: str,
        value: _Value,
        dtype: torch.dtype,
        shape: tuple[int, ...] | None = None,
        reason: str = "",
    ) -> None:
        tensor = value.tensor.to(dtype)
        # A weight beyond float16 would become infinite without a message.
        has_infinity = tensor.is_floating_point() and bool(tensor.isinf().any())
        if has_infinity and not value.tensor.isinf().any():
            largest = float(value.tensor.abs().max())
            raise UserError(
                f"{self.report.origin}: {key}: a value of {largest:.6g} does not fit the original's {dtype}. "
                "Convert without --like, or use an original in float32"
            )
        resized = shape is not None and tuple(tensor.shape) != shape
        if resized:
            reason = f"the original has {list(shape or ())}, this network has {list(tensor.shape)}"
        self._report(key, value, reason, "resized" if resized else "written")
        self.written[key] = tensor

    def _report(
        self, key: str, value: _Value, reason: str, status: Status = "written"
    ) -> None:
        is_ema = self.key_map.canonical(key)[1]
        if status == "written" and not is_ema and set(value.names) <= self.names:
            status = "tied"
        self.report.add(status, value.names[0], key, reason, momentum=is_ema)
        if not is_ema:
            self.names |= set(value.names)


def _gives(
    mapping: KeyMapping, stored: Mapping[str, Tensor], ours: list[Tensor]
) -> bool:
    """Return whether reading the original's tensors gives exactly these weights of ours."""
    if any(key not in stored for key in mapping.released):
        return False
    values = {**mapping.values, "count": len(ours)}
    try:
        tensors = mapping.row.transform.read(
            [stored[key] for key in mapping.released], values
        )
        for tensor, target in zip(tensors, ours, strict=True):
            # Zeros, so that a resize which fills only a part does not find the rest in its target.
            fitted = in_shape(mapping.row, tensor, torch.zeros_like(target))
            if fitted is None or not torch.equal(fitted[0].to(target.dtype), target):
                return False
    except (ValueError, RuntimeError, IndexError):
        return False
    return True


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
