"""The state of an optimizer as plain data, without the settings that the spec defines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mplug2.runtime import distributed
from mplug2.train.engines.rank_files import read_rank_file, write_rank_file

VERSION = 2  # Version 1 is the file of checkpoints without a manifest.
FULL = "full"  # The layout of state that every rank holds completely.


def group_settings(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Return a copy of all entries of the parameter groups but ``params``."""
    return [
        {key: value for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
    ]


def optimizer_state(
    optimizer: torch.optim.Optimizer, settings: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the state of each parameter, and the group entries that the optimizer itself has changed.

    ``settings`` are the ``group_settings`` when the optimizer was built. The learning rate belongs to the
    schedule and is left out.
    """
    counters = []
    for group, initial in zip(group_settings(optimizer), settings, strict=True):
        changed = {}
        for key, value in group.items():
            if key != "lr" and not (key in initial and _same(initial[key], value)):
                changed[key] = value
        counters.append(changed)
    state = optimizer.state_dict()["state"]
    return {"class": type(optimizer).__qualname__, "state": state, "counters": counters}


def load_optimizer_state(
    optimizer: torch.optim.Optimizer, saved: dict[str, Any]
) -> None:
    """Restore what ``optimizer_state`` returned; the settings of the groups stay those of the spec.

    All ranks must call this. Raises `UserError` if the state is that of another optimizer.
    """
    written, current = saved.get("class"), type(optimizer).__qualname__
    distributed.raise_on_all_ranks(
        None
        if written in (None, current)
        else f"train.optimizer: the checkpoint was written with {written} (got {current}). Use the same one, "
        "or start from the weights of the checkpoint with `init`"
    )
    groups = optimizer.state_dict()["param_groups"]
    settings = group_settings(optimizer)
    optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})
    for group, initial, changed in zip(
        optimizer.param_groups, settings, saved["counters"], strict=True
    ):
        group.update(initial)
        group.update(changed)


def from_format_1(saved: dict[str, Any]) -> dict[str, Any]:
    """Return the state in a torch ``state_dict``, as checkpoints before the manifest held it."""
    return {"state": saved["state"], "counters": [{} for _ in saved["param_groups"]]}


def save_full_state(
    folder: Path, optimizer: torch.optim.Optimizer, settings: list[dict[str, Any]]
) -> None:
    """Write the state of an optimizer that is the same on all ranks."""
    state = optimizer_state(optimizer, settings)
    write_rank_file(folder, {"version": VERSION, "layout": FULL, "optimizer": state})


def load_full_state(
    folder: Path, optimizer: torch.optim.Optimizer, types: list[Any] | None = None
) -> None:
    """Restore the state of an optimizer that is the same on all ranks, on any number of ranks.

    ``types`` are classes that the files of an older version may contain.
    """
    payload = read_rank_file(folder, "optimizer", types=types, any_rank=True)
    is_sharded = (
        payload.get("layout", FULL) != FULL or "state" not in payload["optimizer"]
    )
    distributed.raise_on_all_ranks(
        f"{folder}: the optimizer state is sharded over ranks. Resume with the train.zero of the checkpoint"
        if is_sharded
        else None
    )
    saved = payload["optimizer"]
    load_optimizer_state(
        optimizer, saved if "version" in payload else from_format_1(saved)
    )


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return torch.equal(left, right)
    return bool(left == right)
