"""A finished network by one name: a run, a checkpoint, a shared folder, or one of the hub."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from mplug2.predict.hub import PREFIX, fetch
from mplug2.predict.pipeline import File, Pipeline, pipeline
from mplug2.predict.shared_folder import SPEC, is_shared, open_shared
from mplug2.weights.store import WEIGHTS
from registry import UserError
from registry.errors import require


def load(
    name: File,
    overrides: Sequence[str] = (),
    *,
    top: int = 5,
    device: torch.device | str | None = None,
) -> Pipeline:
    """Return a finished network that answers: with the spec, the tokenizer and the weights of ``name``.

    ``name``: a run folder (its best checkpoint, or else its last one), a checkpoint folder, its file of
    weights, or ``hf://owner/name`` for a network that `mplug2 push` wrote (``@revision`` after it chooses
    one). ``top``: how many guesses a result has at most. Raises UserError where there is no network, where
    its vocabulary is not here, or where a shared network is damaged or names files outside of its folder.
    """
    require(name, (str, os.PathLike), "the name of a finished network")
    is_remote = isinstance(name, str) and name.startswith(PREFIX)
    checkpoint = fetch(str(name)) if is_remote else find_checkpoint(Path(name))
    # What comes from the hub must be a shared network, also if it pretends to be another one.
    if is_remote or is_shared(checkpoint):
        overrides = [*open_shared(checkpoint), *overrides]
    return pipeline(checkpoint / SPEC, checkpoint, overrides, top=top, device=device)


def find_checkpoint(path: Path) -> Path:
    """Return the checkpoint folder that ``path`` means; UserError if it has no spec or no weights."""
    folder = path
    if path.name == WEIGHTS:
        folder = path.parent
    elif not (path / WEIGHTS).is_file():
        # A run: a checkpoint was selected as its best one if it has a validation split.
        chosen = [path / link for link in ("best", "last") if (path / link).is_dir()]
        folder = chosen[0] if chosen else path
    missing = [file for file in (SPEC, WEIGHTS) if not (folder / file).is_file()]
    if missing:
        problem = f"{folder / missing[0]} does not exist"
        raise UserError(
            f"{path} must be a run folder (with the link best or last) or a checkpoint folder (with {SPEC} and "
            f"{WEIGHTS}), but {problem}. Train a network first, or give its spec: mplug2.pipeline(SPEC, WEIGHTS)"
        )
    return folder
