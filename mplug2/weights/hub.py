"""Files of a pretrained model: in a folder, or by its name from the Hugging Face hub's cache or the hub."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from registry import UserError

WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def find_file(where: str, names: Sequence[str]) -> Path:
    """The first of ``names`` that a folder, or the model called ``where``, has; raise UserError if it does
    not have any."""
    folder = Path(where)
    for name in names:
        found = folder / name if folder.is_dir() else _fetched(where, name)
        if found is not None and found.is_file():
            return found
    wanted = " or ".join(names)
    if folder.is_dir():
        raise UserError(f"{where} must hold {wanted}, but holds neither")
    raise UserError(
        f"'{where}' is not a folder here, and  {wanted} of a model of that name is neither in the cache of "
        f"the "
        "Hugging Face Hub nor available from it\n"
        f"    hint: with a network, `hf download {where}` downloads it; or name the folder that contains it"
    )


def read_config(where: str, name: str = "config.json") -> dict[str, Any]:
    """The ``config.json`` of a model; UserError where there is none, or none that can be read."""
    file = find_file(where, (name,))
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} must be JSON, but is not: {error}") from None
    if not isinstance(config, dict):
        raise UserError(
            f"{file} must be a JSON object, but is a {type(config).__name__}"
        )
    return config


def _fetched(model: str, name: str) -> Path | None:
    """A file of a model on the hub, from the cache if it is there; None if it cannot be had."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        cached = try_to_load_from_cache(model, name)
        return Path(cached if isinstance(cached, str) else hf_hub_download(model, name))
    except (
        HfHubHTTPError,
        HFValidationError,
        OSError,
    ):  # no such model, no such file, no network
        return None
