"""A checkpoint: a folder that is complete, or does not exist.

    step_00000500/weights.safetensors    all weights, the float32 masters
                  momentum.safetensors   the averaged copies (``ema(...)``), if any
                  extra.json             what modules store in addition to weights, if anything
                  spec.yaml              the resolved spec
                  vocabularies.json      size and SHA-256 of each vocabulary that the spec names
                  state.json             position, settings that must agree on resume, metrics
                  engine/rank_00000.pt   this rank's optimizer state, as its engine writes it
                  rng/rank_00000.pt      this rank's random number generators
                  manifest.json          every file on this machine, with its size and SHA-256

It is written under a temporary name, synced to disk, and renamed. Nothing assumes one shared disk: every rank
writes its own part where it runs, and one process per machine (``distributed.is_writer``) writes what is the
same for all.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from mplug2 import __version__
from mplug2.checking.vocabulary import VOCABULARIES
from mplug2.runtime import distributed
from mplug2.runtime.manifest import (
    MANIFEST,
    damage,
    finish_replacements,
    read_manifest,
    replace_file,
    sync,
    write_manifest,
)
from mplug2.runtime.rng import capture_rng, restore_rng
from mplug2.runtime.safetensors_writer import Entry, in_file_order, write_safetensors
from mplug2.train.engines.base import Engine
from mplug2.train.engines.deepspeed_zero import format_1_types
from mplug2.train.engines.rank_files import read_rank_file, write_rank_file
from mplug2.train.run_state import RunState
from mplug2.weights.momentum import load_momentum
from mplug2.weights.store import MOMENTUM, WEIGHTS, load_weights, save_weights
from registry.errors import UserError

_STEP = "step_"
_NAME = re.compile(_STEP + r"(\d{8})(\.tmp|\.old)?")
EXTRA = "extra.json"
ENGINE = "engine"
RNG = "rng"
STATE = "state.json"
FORMAT = 2  # of state.json: 1 counted batches of a rank, 2 samples over all ranks

log = logging.getLogger(__name__)


def steps_written(folder: Path) -> list[int]:
    """The steps of the complete checkpoints in ``folder``, oldest first."""
    steps = []
    for path in folder.glob(_STEP + "*"):
        match = _NAME.fullmatch(path.name)
        # A name with a suffix is a save that was interrupted; so is a folder without its state.
        if match and not match[2] and (path / STATE).is_file():
            steps.append(int(match[1]))
    return sorted(steps)


def step_folder(folder: Path, step: int) -> Path:
    """Return the folder of the checkpoint of ``step``."""
    return folder / f"{_STEP}{step:08d}"


def save_checkpoint(
    folder: Path,
    net: Any,
    engine: Engine,
    state: RunState,
    settings: dict[str, Any],
    spec_text: str,
    writer: bool,
    vocabularies: Mapping[str, Any] | None = None,
) -> Path:
    """Write the checkpoint of ``state`` and return its folder; all ranks must call this.

    ``writer`` ranks write what is the same for all ranks: one for each machine with a separate disk.
    ``vocabularies`` (`mplug2.checking.vocabulary`) are recorded, so that no others are used with the weights.
    """
    final = step_folder(folder, state.step)
    temporary, replaced = final.with_suffix(".tmp"), final.with_suffix(".old")
    with _clean_up_failed_save(temporary, state.step, writer):
        if writer:
            for stale in (temporary, replaced):
                shutil.rmtree(stale, ignore_errors=True)
            for name in (ENGINE, RNG):
                (temporary / name).mkdir(parents=True)
        distributed.barrier()
        save_weights(net, temporary / WEIGHTS if writer else None, engine.consolidate)
        engine.save(temporary / ENGINE)
        write_rank_file(temporary / RNG, {"rng": capture_rng()})
        if writer:
            _save_momentum(net, temporary / MOMENTUM)
            if extra := net.extra_state():
                (temporary / EXTRA).write_text(
                    json.dumps(extra, ensure_ascii=False), encoding="utf-8"
                )
            (temporary / "spec.yaml").write_text(spec_text, encoding="utf-8")
            if vocabularies:
                (temporary / VOCABULARIES).write_text(
                    json.dumps(vocabularies), encoding="utf-8"
                )
            (temporary / STATE).write_text(
                _state_text(net, state, settings), encoding="utf-8"
            )
        distributed.barrier()
        if writer:
            write_manifest(temporary, _written_by(engine))
            _sync_tree(temporary)
            # It exists if the run was interrupted at the end of an epoch, before its evaluation, and resumed.
            if final.exists():
                final.rename(replaced)
            temporary.rename(final)
            sync(folder)
            shutil.rmtree(replaced, ignore_errors=True)
        distributed.barrier()
    return final


@contextlib.contextmanager
def _clean_up_failed_save(temporary: Path, step: int, writer: bool) -> Iterator[None]:
    """Remove what a full disk left half written, and raise `UserError`."""
    try:
        yield
    except OSError as error:
        if writer:
            shutil.rmtree(temporary, ignore_errors=True)
        folder = temporary.parent
        raise UserError(
            f"the checkpoint of step {step} cannot be written into {folder} ({_free(folder)} free): "
            f"{error}. Free disk space, and resume from the checkpoint before it with --resume"
        ) from error


def write_state(
    checkpoint: Path, net: Any, state: RunState, settings: dict[str, Any], writer: bool
) -> None:
    """Replace the state of a checkpoint, after its evaluation; all ranks must call this."""
    if writer:
        replace_file(checkpoint, STATE, _state_text(net, state, settings))
    distributed.barrier()


def latest_checkpoint(folder: Path, writer: bool) -> Path | None:
    """Return the newest checkpoint that is complete on the disks of all ranks; all ranks must call this.

    ``writer`` ranks first finish or remove what a crash left.
    """
    if writer:
        _recover_interrupted_saves(folder)
    distributed.barrier()
    steps_of_ranks = distributed.all_gather_object(steps_written(folder))
    common = set.intersection(*(set(steps) for steps in steps_of_ranks))
    return step_folder(folder, max(common)) if common else None


def load_before_engine(checkpoint: Path, net: Any, settings: dict[str, Any]) -> RunState:
    """Load weights and averaged copies into ``net``, before an engine shards it; return the stored state.

    All ranks must call this. Raises UserError if a file is damaged, or if the run's ``settings`` (ZeRO stage,
    precision, groups, ...) are not the checkpoint's.
    """
    _raise_if_damaged(checkpoint)
    state = _read_state(checkpoint)
    distributed.raise_on_all_ranks(_missing_manifest(checkpoint, state))
    written = state["agree"]
    differ = [
        f"{key} was {written.get(key)!r}, now {value!r}"
        for key, value in settings.items()
        if written.get(key) != value
    ]
    problem = None
    if differ:
        problem = (
            f"{checkpoint} cannot be resumed: {'; '.join(differ)}. Use the same settings, or start a new run "
            f"from its weights with another train.output_dir and init: {{'*': 'checkpoint:{checkpoint}'}}"
        )
    distributed.raise_on_all_ranks(problem)
    load_weights(net, checkpoint / WEIGHTS)
    load_momentum(net, checkpoint, required=bool(state.get("momentum")))
    if (extra := checkpoint / EXTRA).is_file():
        try:
            net.load_extra_state(json.loads(extra.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{extra} must be what mplug2 wrote, but is damaged ({error})"
            ) from error
    return RunState.from_dict(state)


def load_into_engine(checkpoint: Path, engine: Engine) -> None:
    """Restore this rank's optimizer state and random number generators."""
    engine.load(checkpoint / ENGINE)
    manifest = read_manifest(checkpoint)
    if manifest is None:  # Checkpoints without a manifest hold both in one file.
        payload = read_rank_file(checkpoint / ENGINE, "rng", types=format_1_types())
        restore_rng(payload["rng"])
    # On another number of ranks, the generators start from the seed and the rank, as in a new run.
    elif manifest["written_by"]["world_size"] == distributed.world_size():
        restore_rng(read_rank_file(checkpoint / RNG, "rng")["rng"])


def prune(folder: Path, keep: int, spare: set[int]) -> None:
    """Delete all but the newest ``keep`` checkpoints on this machine; those of the steps in ``spare`` stay,
    and 0 keeps all."""
    for step in steps_written(folder)[:-keep] if keep else []:
        if step not in spare:
            doomed = step_folder(folder, step)
            gone = doomed.with_suffix(".old")
            doomed.rename(gone)  # a half deleted folder must not look like a checkpoint
            shutil.rmtree(gone)


def point_to(link: Path, target: Path) -> None:
    """Point the link ``link`` (``best``, ``last``) to ``target``, atomically."""
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(os.path.relpath(target, link.parent))
    fresh.replace(link)


def _state_text(net: Any, state: RunState, settings: dict[str, Any]) -> str:
    momentum = bool(net.ema_state_dict())
    stored = {"format": FORMAT, **asdict(state), "momentum": momentum, "agree": settings}
    return json.dumps(stored, indent=2) + "\n"


def _read_state(checkpoint: Path) -> dict[str, Any]:
    """Return the contents of ``state.json``; raise UserError if it is damaged."""
    file = checkpoint / STATE
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
        counts = (
            state["step"],
            *(() if "loaders" in state else (state["epoch"], state["batches"])),
        )
        good = all(isinstance(count, int) for count in counts)
        if (
            good
            and isinstance(state.get("loaders", {}), dict)
            and isinstance(state["agree"], dict)
        ):
            return state
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise UserError(
        f"{file} must be what mplug2 wrote, but is damaged: delete {checkpoint} to resume from the "
        f"checkpoint before it"
    )


def _missing_manifest(checkpoint: Path, state: dict[str, Any]) -> str | None:
    """Return the problem of a checkpoint without its manifest; format 1 had none."""
    if state.get("format", 1) > 1 and read_manifest(checkpoint) is None:
        return f"{checkpoint / MANIFEST}: the file is missing. Copy it there"
    return None


def _recover_interrupted_saves(folder: Path) -> None:
    """Finish or remove what a crash left between two names."""
    for step in steps_written(folder):
        finish_replacements(step_folder(folder, step))
    for path in folder.glob(_STEP + "*"):
        name = _NAME.fullmatch(path.name)
        final = path.with_suffix("")
        if (
            name
            and name[2] == ".tmp"
            and path.with_suffix(".old").exists()
            and not final.exists()
        ):
            path.rename(
                final
            )  # It was complete when the one that it replaces was renamed.
    for path in folder.glob(_STEP + "*"):
        name = _NAME.fullmatch(path.name)
        if name and name[2]:
            shutil.rmtree(path, ignore_errors=True)


def _free(folder: Path) -> str:
    return f"{shutil.disk_usage(folder).free / 1e9:.2f} GB"


def _save_momentum(net: Any, path: Path) -> None:
    shadows = net.ema_state_dict()
    if shadows:
        entries = in_file_order(
            Entry(name, t.dtype, tuple(t.shape)) for name, t in shadows.items()
        )
        write_safetensors(path, entries, (shadows[entry.name] for entry in entries))


def _sync_tree(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        sync(path)


def _written_by(engine: Engine) -> dict[str, Any]:
    return {
        "mplug2": __version__,
        "engine": f"{type(engine).__module__}:{type(engine).__qualname__}",
        "world_size": distributed.world_size(),
    }


def _raise_if_damaged(checkpoint: Path) -> None:
    """Raise `UserError` on all ranks if a file on one of the machines is not what was written."""
    problem = None
    # One rank of each machine reads all files.
    if distributed.local_rank() == 0:
        try:
            problem = damage(checkpoint)
        except UserError as error:
            problem = str(error)
    distributed.raise_on_all_ranks(
        None
        if problem is None
        else f"{problem}. Delete {checkpoint} to resume from the checkpoint before it"
    )


def resume_invariants(
    settings: Mapping[str, Any], optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """Return what must be the same when a run is resumed; batch sizes and replicated ranks may change."""
    sizes = [sum(p.numel() for p in group["params"]) for group in optimizer.param_groups]
    invariants = {
        "zero": settings["zero"],
        "precision": settings["precision"],
        "parameters in groups": sizes,
    }
    if settings["zero"]:
        invariants["processes"] = (
            distributed.world_size()
        )  # each rank stores its own part
    return invariants
