"""Reading weight files safely: tensors only, never code."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mplug2.weights.file_content import (
    refuse_compressed,
    refuse_other_content,
    refuse_unfolding,
)
from registry import UserError

# Entries that hold the weights: the first one there wins.
WRAPPERS = ("model", "module", "state_dict", "ema")
# Of all keys: left by data parallelism and by torch.compile.
PREFIXES = ("module.", "_orig_mod.")

_UNSUPPORTED = re.compile(
    r"Unsupported (?:global|class|operand):? (?:GLOBAL )?([\w.]+)"
)


@dataclass(frozen=True)
class Released:
    """The tensors of a file, without what was wrapped around them.

    ``wrappers``: the entries that held them, from outside in. ``prefix``: what stood before every key.
    ``config``: the numbers of the network, if the source has them (a Hugging Face folder).
    """

    origin: str
    tensors: Mapping[str, Tensor]
    wrappers: tuple[str, ...] = ()
    prefix: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the tensors, by key."""
        return {key: tuple(value.shape) for key, value in self.tensors.items()}


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a file, on the CPU; see `read_released`."""
    return dict(read_released(path).tensors)


def read_released(path: str | Path) -> Released:
    """Return the tensors of a ``.safetensors`` or ``.pth`` file, on the CPU; large files are memory-mapped.

    Wrappers are removed: ``model``, ``module``, ``state_dict``, ``ema``, also inside one another, and
    ``module.`` and ``_orig_mod.`` before every key. UserError if the file holds anything but tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such weight file")
    refuse_other_content(path)
    if path.suffix == ".safetensors":
        try:
            return _unprefixed(str(path), load_file(path), ())
        except SafetensorError as error:
            raise UserError(
                f"{path}: not a readable safetensors file ({error})"
            ) from None
    try:
        if _torchscript(path):
            raise UserError(
                f"{path}: refused, since it is a TorchScript archive, which contains code\n"
                "    hint: if you trust it, save only its tensors: `torch.save(torch.jit.load(FILE, "
                "map_location='cpu').state_dict(), 'weights.pth')`"
            )
        # torch warns of pickle protocols before it refuses or reads them.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            # The form of torch since 1.6; older files are a plain pickle, which cannot be mapped.
            is_archive = zipfile.is_zipfile(path)
            if is_archive:
                refuse_compressed(path)
            content = torch.load(
                path, map_location="cpu", weights_only=True, mmap=is_archive
            )
    except UserError:
        raise
    except Exception as error:
        # Which one depends on where the file is damaged.
        raise UserError(
            f"{path}: not loaded: the file contains objects other than tensors: {_reason(error)}\n"
            "    hint: a pickle can run code when it is opened; get the weights as .safetensors, or a "
            ".pth that holds tensors alone"
        ) from None
    return _unwrapped(content, path)


def _reason(error: Exception) -> str:
    """Return why torch did not unpickle a file; the rest of its message is about other settings of torch."""
    text = str(error)
    named = _UNSUPPORTED.search(text)
    if named is not None:
        return named[1]
    first = text.splitlines()[0] if text else type(error).__name__
    if first.startswith("Weights only load failed"):
        return "it is damaged"
    return first[:200]


def _torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    # Only TorchScript stores constants next to its code.
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.split("/")[1:2] == ["constants.pkl"]:
                return True
    return False


def _unwrapped(content: Any, path: Path) -> Released:
    wrappers: list[str] = []
    while isinstance(content, dict):
        present = [name for name in WRAPPERS if isinstance(content.get(name), dict)]
        if not present:
            break
        wrapper = present[0]
        wrappers.append(wrapper)
        content = content[wrapper]
    if not isinstance(content, dict):
        raise UserError(
            f"{path}: must hold a mapping of names to tensors, but holds a {type(content).__name__}"
        )
    # Training checkpoints also hold numbers, such as the epoch, which are left out.
    tensors = {}
    for key, value in content.items():
        if isinstance(value, Tensor):
            tensors[str(key)] = value
    if not tensors:
        raise UserError(
            f"{path}: must hold tensors (directly, or under {', '.join(map(repr, WRAPPERS))}), but does not"
        )
    refuse_unfolding(path, tensors)
    return _unprefixed(str(path), tensors, tuple(wrappers))


def _unprefixed(
    origin: str, tensors: dict[str, Tensor], wrappers: tuple[str, ...]
) -> Released:
    removed = ""
    # Both may be there, in any order: a compiled network may be wrapped for data parallelism, or the reverse.
    while tensors:
        prefix = _common_prefix(tensors)
        if prefix is None:
            break
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
        removed += prefix
    return Released(origin, tensors, wrappers, removed)


def _common_prefix(keys: Iterable[str]) -> str | None:
    """Return the first of `PREFIXES` that all keys have, or None."""
    for prefix in PREFIXES:
        if all(key.startswith(prefix) for key in keys):
            return prefix
    return None
