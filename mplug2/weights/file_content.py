"""What a weight file holds in place of weights: pointers, web pages, half downloads, other formats."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from registry.errors import UserError

_LFS = b"version https://git-lfs.github.com/spec/"
_PAGES = (b"<!doctype html", b"<html", b"<?xml")
_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"  # torch.save before 1.6
_OTHER_FORMATS = {
    b"\x89HDF": "an HDF5 file",
    b"GGUF": "a GGUF file",
    b"\x93NUMPY": "a NumPy array",
    b"\x1f\x8b": "compressed by gzip",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
}
_HEAD_BYTES = 1024
_HEADER_BYTES = 100 << 20  # of a safetensors file, as its own reader has it


def refuse_other_content(path: Path) -> None:
    """Raise UserError, with what to do, for a file that cannot be weights or is only a part of them."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    problem = None
    if not head:
        problem = "the file is empty (0 bytes). Download it again"
    elif head.startswith(_LFS):
        problem = "is a git LFS pointer, not the weights. Fetch them: `git lfs pull`"
    elif head.lstrip().lower().startswith(_PAGES):
        problem = "is a web page (HTML), not weights. Download the file that the page links to"
    elif head.startswith(_ZIP) and not zipfile.is_zipfile(path):
        problem = "the file is cut off (its end is missing): was the download complete? Download it again"
    elif (size := _safetensors_size(path, head)) is not None:
        problem = _safetensors_problem(path, size)
    elif path.suffix != ".safetensors" and not head.startswith((_ZIP, _PICKLE)):
        name = next(
            (name for begin, name in _OTHER_FORMATS.items() if head.startswith(begin)),
            None,
        )
        problem = f"is {name or 'of another format'}, not weights. Give a .safetensors or PyTorch file"
    elif path.suffix == ".safetensors" and zipfile.is_zipfile(path):
        problem = "is a PyTorch file (.pth), not a safetensors file. Name it .pth"
    if problem is not None:
        raise UserError(f"{path}: {problem}")


def refuse_unfolding(path: Path, tensors: dict[str, Tensor]) -> None:
    """Raise UserError for a tensor that is larger in memory than its file: a few bytes, repeated."""
    size = path.stat().st_size
    for name, tensor in tensors.items():
        in_memory = tensor.numel() * tensor.element_size()
        if in_memory > size:
            raise UserError(
                f"{path}: tensor {name} {list(tensor.shape)} has {in_memory} bytes in memory, but the file "
                f"has only {size} (its values are repeated). Save it with `.contiguous()`"
            )


def refuse_compressed(path: Path) -> None:
    """Raise UserError for a PyTorch file whose contents are larger than the file: `torch.save` never
    compresses."""
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > path.stat().st_size:
        raise UserError(
            f"{path}: is compressed: {unpacked} bytes come out of {path.stat().st_size}. Write it with "
            "`torch.save`"
        )


def value_problem(tensor: Tensor) -> str | None:
    """Return why a tensor cannot be the value of a weight: integers, NaN or infinity."""
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        return f"must hold floating-point numbers (got {kind})"
    if tensor.is_meta:
        return None  # without values, as where a layout alone is compared
    finite = torch.isfinite(tensor)
    if finite.all():
        return None
    count = int((~finite).sum())
    return f"must be finite, but {count} of {tensor.numel()} values are NaN or infinite"


def _safetensors_size(path: Path, head: bytes) -> int | None:
    """Return the size that the header of a safetensors file specifies; None for another file."""
    header_bytes = int.from_bytes(head[:8], "little")
    if head[8:9] != b"{" or header_bytes > _HEADER_BYTES:
        return None
    with path.open("rb") as file:
        file.seek(8)
        header = file.read(header_bytes)
    if len(header) < header_bytes:
        return 8 + header_bytes
    try:
        entries = json.loads(header)
        ends = [
            entry["data_offsets"][1]
            for name, entry in entries.items()
            if name != "__metadata__"
        ]
        return 8 + header_bytes + max(ends, default=0)
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        RecursionError,
    ):
        return None


def _safetensors_problem(path: Path, expected: int) -> str | None:
    size = path.stat().st_size
    if size < expected:
        return f"the file is cut off (got {size} of {expected} bytes): was the download complete?"
    if path.suffix != ".safetensors":
        return "is a safetensors file. Name it .safetensors"
    return None
