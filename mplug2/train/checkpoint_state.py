"""The state of a run inside a checkpoint (``state.json``), and what must be the same when it is resumed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from mplug2.runtime import distributed
from mplug2.runtime.manifest import replace_file
from mplug2.train.run_state import RunState
from registry.errors import UserError

STATE = "state.json"
FORMAT = 2  # of state.json: 1 counted batches of a rank, 2 samples over all ranks


def write_state(
    checkpoint: Path, net: Any, state: RunState, settings: dict[str, Any], writer: bool
) -> None:
    """Replace the state of a checkpoint, after its evaluation; all ranks must call this."""
    if writer:
        replace_file(checkpoint, STATE, state_text(net, state, settings))
    distributed.barrier()


def state_text(net: Any, state: RunState, settings: dict[str, Any]) -> str:
    """Return the contents of ``state.json``."""
    momentum = bool(net.ema_state_dict())
    stored = {
        "format": FORMAT,
        **asdict(state),
        "momentum": momentum,
        "agree": settings,
    }
    return json.dumps(stored, indent=2) + "\n"


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Return the contents of ``state.json``; raise UserError if it is damaged."""
    file = checkpoint / STATE
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
        counts = [state["step"]]
        # Format 1 has the position of one loader, in batches of a rank.
        if "loaders" not in state:
            counts += [state["epoch"], state["batches"]]
        are_counts = all(isinstance(count, int) for count in counts)
        loaders, agree = state.get("loaders", {}), state["agree"]
        if are_counts and isinstance(loaders, dict) and isinstance(agree, dict):
            return state
    except (OSError, ValueError, KeyError, TypeError):
        # Reported below, together with values of another type.
        pass
    raise UserError(
        f"{file} must be what mplug2 wrote, but is damaged: delete {checkpoint} to resume from the "
        f"checkpoint before it"
    )


def resume_invariants(
    settings: Mapping[str, Any], optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """Return what is compared when a run is resumed (`disagreement`)."""
    sizes = []
    for group in optimizer.param_groups:
        sizes.append(sum(parameter.numel() for parameter in group["params"]))
    invariants = {
        "zero": settings["zero"],
        "precision": settings["precision"],
        # Other groups would give parameters the optimizer state of others.
        "parameters in groups": sizes,
    }
    # Each rank of ZeRO stores its part of the optimizer's state.
    if settings["zero"]:
        invariants["processes"] = distributed.world_size()
    return invariants


def disagreement(
    checkpoint: Path, state: Mapping[str, Any], settings: Mapping[str, Any]
) -> str | None:
    """Return the problem of a run whose ``settings`` (`resume_invariants`) are not the checkpoint's, or None.

    The ZeRO stage and the number of ranks may change, but not those of format 1.
    """
    written = state["agree"]
    # Since format 2 the state of an optimizer names its parameters, and can be sharded in another way.
    may_change = ("zero", "processes") if state.get("format", 1) > 1 else ()
    differ = []
    for key, value in settings.items():
        if key not in may_change and written.get(key) != value:
            differ.append(f"{key} was {written.get(key)!r}, now {value!r}")
    if not differ:
        return None
    return (
        f"{checkpoint} cannot be resumed: {'; '.join(differ)}. Use the same settings, or start a new run "
        f"from its weights with another train.output_dir and init: {{'*': 'checkpoint:{checkpoint}'}}"
    )
