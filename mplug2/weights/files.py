"""Reading weight files safely: tensors only, never code."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from registry import UserError


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """All tensors of a ``.safetensors`` or ``.pth`` file, on the CPU; UserError if it holds anything else.

    Released files wrap the weights in ``model`` or ``module``; those are unwrapped. Large files are
    memory-mapped.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such weight file")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise UserError(f"{path}: not a readable safetensors file ({error})") from None
    try:
        if _torchscript(path):
            raise UserError(
                f"{path}: refused, since it is a TorchScript archive, which holds code beside the weights\n"
                "    hint: where you trust it, save its tensors alone: `torch.save(torch.jit.load(FILE, "
                "map_location='cpu').state_dict(), 'weights.pth')`"
            )
        with warnings.catch_warnings():  # torch warns of pickle protocols before it refuses or reads them
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except UserError:
        raise
    except Exception as error:  # which one depends on where the file is damaged
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path}: refused, since it is no file of tensors alone: {reason[:200]}\n"
            "    hint: a pickle can run code when it is opened; get the weights as .safetensors, or a "
            ".pth that holds tensors alone"
        ) from None
    return _tensors(content, path)


def _torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.split("/")[1:2] == ["constants.pkl"] for name in archive.namelist())


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    for wrapper in ("model", "module"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict):
        raise UserError(
            f"{path}: must hold a mapping of names to tensors, but holds a {type(content).__name__}"
        )
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"{path}: must hold tensors (directly, or under 'model' or 'module'), but holds none")
    return tensors
