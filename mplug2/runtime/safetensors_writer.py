"""Safetensors files written tensor by tensor, so that saving needs memory for one tensor and not for the
network."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mplug2.runtime.deferred_writes import write_or_defer

_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@dataclass(frozen=True)
class Entry:
    """The entry of one tensor in the header of a file."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.dtype.itemsize * math.prod(self.shape)


def in_file_order(entries: Iterable[Entry]) -> list[Entry]:
    """Wide types first: every tensor then starts at a multiple of its item size."""
    return sorted(entries, key=lambda entry: -entry.dtype.itemsize)


def write_safetensors(
    path: Path, entries: list[Entry], tensors: Iterable[Tensor]
) -> None:
    """Write ``tensors``, which come in the order of ``entries`` and agree with them, to ``path`` (a
    safetensors file).

    Layout: eight bytes little endian header length, a JSON header, the raw values
    (https://github.com/huggingface/safetensors#format). Within `deferred_writes` the file is written later.
    """
    write_or_defer(_write_file, path, entries, iter(tensors))


def _write_file(path: Path, entries: list[Entry], tensors: Iterable[Tensor]) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for entry in entries:
        header[entry.name] = {
            "dtype": _NAMES[entry.dtype],
            "shape": list(entry.shape),
            "data_offsets": [end, end := end + entry.nbytes],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for entry, tensor in zip(entries, tensors, strict=True):
            if tensor.dtype != entry.dtype or tuple(tensor.shape) != entry.shape:
                raise ValueError(
                    f"{entry.name} must be {entry.dtype} {entry.shape}, but is {tensor.dtype} {tensor.shape}"
                )
            flat = tensor.detach().to("cpu").contiguous().reshape(-1)
            file.write(flat.view(torch.uint8).numpy().data)
