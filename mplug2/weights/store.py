"""The network's weights in one safetensors file: gathered from sharded ranks when written, checked
completely before loading."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from modules.adapters import CHECKSUM, AdaptedLinear, checksum
from mplug2.runtime.manifest import damage
from mplug2.runtime.safetensors_writer import Entry, in_file_order, write_safetensors
from mplug2.weights.file_content import refuse_other_content, value_problem
from mplug2.weights.module_names import new_keys
from registry.errors import UserError

Consolidate = Callable[[Tensor], Tensor]
WEIGHTS = "weights.safetensors"
MOMENTUM = "momentum.safetensors"
_SHOWN = 20


def persistent_buffers(net: nn.Module) -> dict[str, Tensor]:
    """The buffers that belong to the state dict, by name."""
    buffers = {}
    for prefix, module in net.named_modules():
        for name, buffer in module.named_buffers(recurse=False):
            # Buffers that a module computes again, such as masks, are not stored.
            if name not in module._non_persistent_buffers_set:
                buffers[f"{prefix}.{name}" if prefix else name] = buffer
    return buffers


def save_weights(
    net: nn.Module, path: Path | None, consolidate: Consolidate | None = None
) -> None:
    """Write all weights to ``path``; all ranks must call this; ranks that do not write pass ``None``.

    ``consolidate`` returns the complete tensor of a parameter that may be sharded over ranks, and the float32
    master of a trainable one (``Engine.consolidate``). A tied weight is written once, under its first name.
    Frozen weights that `init` gives again (``net.supplied``) are left out.
    """
    tensors: dict[str, Tensor] = {
        **dict(net.named_parameters()),
        **persistent_buffers(net),
    }
    for name in _supplied(net):
        tensors.pop(name, None)
    entries = []
    for name, tensor in tensors.items():
        has_master = consolidate is not None and tensor.requires_grad
        dtype = torch.float32 if has_master else tensor.dtype
        entries.append(Entry(name, dtype, full_shape(tensor)))
    entries = in_file_order(entries)
    values = _complete(tensors, entries, consolidate)
    if path is None:
        # Ranks that do not write take part in gathering all the same.
        for _ in values:
            continue
    else:
        write_safetensors(path, entries, values)


def full_shape(tensor: Tensor) -> tuple[int, ...]:
    """Return the shape of a tensor before an engine sharded it (DeepSpeed leaves an empty tensor)."""
    return tuple(getattr(tensor, "ds_shape", tensor.shape))


def _complete(
    tensors: dict[str, Tensor], entries: list[Entry], consolidate: Consolidate | None
) -> Iterator[Tensor]:
    """Yield the complete tensor of each entry, one at a time."""
    for entry in entries:
        tensor = tensors[entry.name]
        yield tensor.detach() if consolidate is None else consolidate(tensor)


def load_weights(net: nn.Module, path: str | Path) -> None:
    """Copy the weights of a checkpoint folder, or of a ``.safetensors`` file, into ``net``, all or nothing.

    Raises UserError with the table of missing, unexpected and differently shaped weights if the file is of
    another architecture, if it is not a safetensors file (pickles are not opened), and if the manifest of a
    checkpoint folder lists another file.
    """
    file = _verified_file(path)
    targets = _targets(net)
    with _opened(file) as stored:
        keys = _fitting(file, targets, stored, _run_state(net) | _supplied(net))
        tensors = {name: stored.get_tensor(key) for name, key in keys.items()}
        _refuse_broken_values(file, net, tensors)
        _refuse_other_base(file, net, tensors)
        with torch.no_grad():
            for name, tensor in tensors.items():
                targets[name].copy_(tensor)


def read_fitting(net: nn.Module, path: str | Path) -> dict[str, Tensor]:
    """Return the weights of a checkpoint folder or a ``.safetensors`` file, tied ones under every name.

    ``net`` may be on the meta device. Raises UserError as `load_weights` does.
    """
    file = _verified_file(path)
    targets = _targets(net)
    with _opened(file) as stored:
        keys = _fitting(file, targets, stored, _run_state(net))
        tensors = {name: stored.get_tensor(key) for name, key in keys.items()}
    _refuse_broken_values(file, net, tensors)
    # A tied weight is stored under one of its names: the others are found by its identity.
    by_identity = {id(targets[name]): tensor for name, tensor in tensors.items()}
    weights = {}
    for name, target in targets.items():
        if id(target) in by_identity:
            weights[name] = by_identity[id(target)]
    return weights


def _verified_file(path: str | Path) -> Path:
    """Return the weight file that a path means; UserError if the manifest of a folder lists another one."""
    file = weights_file(path)
    problem = damage(Path(path), [WEIGHTS]) if Path(path).is_dir() else None
    if problem is not None:
        raise UserError(problem)
    return file


def _targets(net: nn.Module) -> dict[str, Tensor]:
    return {
        **dict(net.named_parameters(remove_duplicate=False)),
        **persistent_buffers(net),
    }


def _fitting(
    file: Path, targets: dict[str, Tensor], stored: Any, optional: set[str]
) -> dict[str, str]:
    """Return the key of each weight in a file; UserError if they or their shapes are not the network's."""
    keys = new_keys(stored.keys(), {name.split(".")[0] for name in targets}, str(file))
    # The shapes are in the header of the file: nothing is read of one that does not fit.
    shapes = {}
    for name, key in keys.items():
        shapes[name] = tuple(stored.get_slice(key).get_shape())
    _refuse_misfits(file, targets, shapes, optional)
    return keys


def _refuse_broken_values(
    file: Path, net: nn.Module, tensors: Mapping[str, Tensor]
) -> None:
    """Raise UserError for a parameter that no training can have written."""
    for name, parameter in net.named_parameters(remove_duplicate=False):
        if name in tensors and parameter.is_floating_point():
            problem = value_problem(tensors[name])
            if problem is not None:
                raise UserError(f"{file}: weight {name} {problem}; nothing was loaded")


def _supplied(net: nn.Module) -> set[str]:
    """Return the weights that a checkpoint of this network does not hold."""
    return set(getattr(net, "supplied", ()))


def _refuse_other_base(
    file: Path, net: nn.Module, tensors: Mapping[str, Tensor]
) -> None:
    """Raise UserError if adapters were trained on other weights than the network has from `init`."""
    differ = []
    for name, layer in net.named_modules():
        stored = tensors.get(f"{name}.{CHECKSUM}")
        if not isinstance(layer, AdaptedLinear) or stored is None:
            continue
        # A file that has the weight itself replaces what `init` gave.
        if f"{name}.weight" in tensors:
            continue
        if int(stored) != int(checksum(layer.weight)):
            differ.append(name)
    if differ:
        raise UserError(
            f"{file}: its adapters were trained on other weights than `init` gives now: {len(differ)} layers "
            f"differ, such as {differ[0]}. Name the weights in `init` that the run started from"
        )


def _run_state(net: nn.Module) -> set[str]:
    """Return the buffers that belong to one run, such as queues: a converted file need not have them."""
    names = set()
    for prefix, module in net.named_modules():
        names |= {
            f"{prefix}.{name}" for name in getattr(module, "run_state_buffers", ())
        }
    return names


def weights_file(path: str | Path) -> Path:
    """The safetensors file that ``path`` (a checkpoint folder or a file) means, or UserError."""
    path = Path(path)
    file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file():
        problem = "is neither" if path.exists() else "does not exist"
        last = path.parent / "last"
        # A run whose values were all NaN has no best checkpoint.
        hint = f". Use {last}" if path.name == "best" and last.exists() else ""
        raise UserError(
            f"{path} must be a checkpoint folder (with {WEIGHTS}) or a .safetensors file, but {problem}{hint}"
        )
    return file


def read_tensors(file: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, by name."""
    with _opened(file) as stored:
        return {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[Any]:
    try:
        stored = safe_open(str(file), framework="pt")
    except SafetensorError as error:
        refuse_other_content(file)
        raise UserError(
            f"{file} must be a safetensors file, but is not ({error}); for a .pth use `mplug2 convert`"
        ) from error
    with stored as handle:
        yield handle


def _refuse_misfits(
    file: Path,
    targets: dict[str, Tensor],
    shapes: dict[str, tuple[int, ...]],
    optional: set[str],
) -> None:
    # A tied weight has several names and one identity: one of them in the file is enough.
    stored: set[int] = set()
    rows = []
    for name, shape in shapes.items():
        if name in targets:
            stored.add(id(targets[name]))
        else:
            rows.append(("unexpected", name, f"file {_size(shape)}"))
    seen: set[int] = set()
    for name, target in targets.items():
        size = _size(tuple(target.shape))
        if name in shapes and shapes[name] != tuple(target.shape):
            rows.append(("shape", name, f"network {size}, file {_size(shapes[name])}"))
        elif (
            name not in optional and id(target) not in stored and id(target) not in seen
        ):
            rows.append(("missing", name, f"network {size}"))
        seen.add(id(target))
    if not rows:
        return
    width = max(len(name) for _, name, _ in rows[:_SHOWN])
    table = []
    for kind, name, what in rows[:_SHOWN]:
        table.append(f"  {kind:<10}  {name:<{width}}  {what}")
    if len(rows) > _SHOWN:
        table.append(f"  ... and {len(rows) - _SHOWN} more")
    raise UserError(
        f"{file} does not fit this network: {len(rows)} weights differ, nothing was loaded\n"
        + "\n".join(table)
    )


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
