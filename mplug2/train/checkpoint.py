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
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mplug2 import __version__
from mplug2.checking.vocabulary import VOCABULARIES
from mplug2.runtime import distributed
from mplug2.runtime.deferred_writes import (
    DeferredWrites,
    deferred_writes,
    write_or_defer,
)
from mplug2.runtime.manifest import (
    MANIFEST,
    damage,
    read_manifest,
    sync,
    write_manifest,
)
from mplug2.runtime.rng import capture_rng, restore_rng
from mplug2.runtime.safetensors_writer import Entry, in_file_order, write_safetensors
from mplug2.train.background_saves import BackgroundSaves
from mplug2.train.checkpoint_state import STATE, disagreement, read_state, state_text
from mplug2.train.engines.base import Engine
from mplug2.train.engines.deepspeed_zero import format_1_types
from mplug2.train.engines.rank_files import read_rank_file, write_rank_file
from mplug2.train.run_state import RunState
from mplug2.train.saved_steps import step_folder
from mplug2.weights.momentum import load_momentum
from mplug2.weights.store import MOMENTUM, WEIGHTS, load_weights, save_weights
from registry.errors import UserError

EXTRA = "extra.json"
ENGINE = "engine"
RNG = "rng"

log = logging.getLogger(__name__)


def save_checkpoint(
    folder: Path,
    net: Any,
    engine: Engine,
    state: RunState,
    settings: dict[str, Any],
    spec_text: str,
    writer: bool,
    vocabularies: Mapping[str, Any] | None = None,
    background: BackgroundSaves | None = None,
) -> Path:
    """Write the checkpoint of ``state`` and return its folder; all ranks must call this.

    ``writer`` ranks write what is the same for all ranks: one for each machine with a separate disk.
    ``vocabularies`` (`mplug2.checking.vocabulary`) are recorded, so that no others are used with the weights.
    With ``background`` this call copies what the checkpoint holds, and a thread writes it: the folder exists
    when `BackgroundSaves.wait` returns.
    """
    final = step_folder(folder, state.step)
    save = _Save(final, state.step, writer, _written_by(engine))
    with contextlib.ExitStack() as stack:
        stack.enter_context(save.cleaned_up())
        save.make_folders()
        distributed.barrier()
        if background is not None:
            # The save before this one may still be writing what it has copied.
            background.wait()
            background.deferred.clear()
            stack.enter_context(deferred_writes(background.deferred))
        temporary = save.temporary
        # Every rank takes part: with ZeRO 3 each of them holds a part of the weights.
        save_weights(net, temporary / WEIGHTS if writer else None, engine.consolidate)
        engine.save(temporary / ENGINE)
        write_rank_file(temporary / RNG, {"rng": capture_rng()})
        if writer:
            _save_momentum(net, temporary / MOMENTUM)
            _write_texts(temporary, net, spec_text, vocabularies)
            _write_text(temporary / STATE, state_text(net, state, settings))
        if background is None:
            # Every rank has written its files: the manifest lists them all.
            distributed.barrier()
            save.publish()
    if background is not None:
        background.start(partial(save.write, background.deferred, background.group))
    return final


@dataclass(frozen=True)
class _Save:
    """The files of a checkpoint from the first to its final name; an error leaves the older ones intact."""

    final: Path
    step: int
    writer: bool
    written_by: dict[str, Any]  # for the manifest

    @property
    def temporary(self) -> Path:
        return self.final.with_suffix(".tmp")

    @property
    def replaced(self) -> Path:
        return self.final.with_suffix(".old")

    def make_folders(self) -> None:
        """Make empty folders for the files of all ranks."""
        if self.writer:
            # An earlier process may have been killed while it saved this step.
            for stale in (self.temporary, self.replaced):
                shutil.rmtree(stale, ignore_errors=True)
            # All ranks of this machine write into them, so they must exist before the barrier.
            for name in (ENGINE, RNG):
                (self.temporary / name).mkdir(parents=True)

    def write(self, deferred: DeferredWrites, group: Any) -> None:
        """Write the files that were put off, and give the checkpoint its name; all ranks must call this."""
        with self.cleaned_up():
            problem = None
            try:
                deferred.run()
            except OSError as error:
                problem = self._problem(error)
            distributed.raise_on_all_ranks(problem, group)
            self.publish(group)

    def publish(self, group: Any = None) -> None:
        """Write the manifest of what all ranks have written, and give the checkpoint its name."""
        problem = None
        try:
            if self.writer:
                self._rename()
        except OSError as error:
            problem = self._problem(error)
        distributed.raise_on_all_ranks(problem, group)

    @contextlib.contextmanager
    def cleaned_up(self) -> Iterator[None]:
        """Remove what a full disk left half written, and raise `UserError`."""
        try:
            yield
        except (OSError, UserError) as error:
            if self.writer:
                shutil.rmtree(self.temporary, ignore_errors=True)
            if isinstance(error, UserError):
                raise
            raise UserError(self._problem(error)) from error

    def _rename(self) -> None:
        write_manifest(self.temporary, self.written_by)
        _sync_tree(self.temporary)
        # It exists if the run was interrupted at the end of an epoch, before its evaluation, and resumed.
        if self.final.exists():
            self.final.rename(self.replaced)
        # The state is complete on the disk before it gets its name.
        self.temporary.rename(self.final)
        # The rename itself must reach the disk before the replaced checkpoint goes.
        sync(self.final.parent)
        shutil.rmtree(self.replaced, ignore_errors=True)

    def _problem(self, error: OSError) -> str:
        folder = self.final.parent
        return (
            f"the checkpoint of step {self.step} cannot be written into {folder} "
            f"({_free(folder)} free): {error}. Free disk space, and resume from the checkpoint before it "
            "with --resume"
        )


def load_before_engine(
    checkpoint: Path, net: Any, settings: dict[str, Any]
) -> RunState:
    """Load weights and averaged copies into ``net``, before an engine shards it; return the stored state.

    All ranks must call this. Raises UserError if a file is damaged, or if the run's ``settings`` (ZeRO stage,
    precision, groups, ...) are not the checkpoint's.
    """
    _raise_if_damaged(checkpoint)
    state = read_state(checkpoint)
    distributed.raise_on_all_ranks(_missing_manifest(checkpoint, state))
    distributed.raise_on_all_ranks(disagreement(checkpoint, state, settings))
    load_weights(net, checkpoint / WEIGHTS)
    # A checkpoint of a run without averages has no file of them.
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
    if manifest is None:
        # Checkpoints without a manifest hold both in one file.
        payload = read_rank_file(checkpoint / ENGINE, "rng", types=format_1_types())
        restore_rng(payload["rng"])
    # On another number of ranks, the generators start from the seed and the rank, as in a new run.
    elif manifest["written_by"]["world_size"] == distributed.world_size():
        restore_rng(read_rank_file(checkpoint / RNG, "rng")["rng"])


def _missing_manifest(checkpoint: Path, state: dict[str, Any]) -> str | None:
    """Return the problem of a checkpoint without its manifest; format 1 had none."""
    if state.get("format", 1) > 1 and read_manifest(checkpoint) is None:
        return f"{checkpoint / MANIFEST}: the file is missing. Copy it there"
    return None


def _free(folder: Path) -> str:
    return f"{shutil.disk_usage(folder).free / 1e9:.2f} GB"


def _write_texts(
    folder: Path, net: Any, spec_text: str, vocabularies: Mapping[str, Any] | None
) -> None:
    """Write the spec, and what modules and vocabularies add to a checkpoint."""
    if extra := net.extra_state():
        _write_text(folder / EXTRA, json.dumps(extra, ensure_ascii=False))
    _write_text(folder / "spec.yaml", spec_text)
    if vocabularies:
        _write_text(folder / VOCABULARIES, json.dumps(vocabularies))


def _write_text(path: Path, text: str) -> None:
    write_or_defer(partial(path.write_text, encoding="utf-8"), text)


def _save_momentum(net: Any, path: Path) -> None:
    shadows = net.ema_state_dict()
    if shadows:
        unordered = []
        for name, tensor in shadows.items():
            unordered.append(Entry(name, tensor.dtype, tuple(tensor.shape)))
        entries = in_file_order(unordered)
        # One tensor at a time: the writer never holds all of them on the CPU.
        write_safetensors(path, entries, (shadows[entry.name] for entry in entries))


def _sync_tree(folder: Path) -> None:
    # Files first, then the folder that lists them.
    for path in [*folder.rglob("*"), folder]:
        sync(path)


def _written_by(engine: Engine) -> dict[str, Any]:
    return {
        "mplug2": __version__,
        # Loading compares the number of processes; the rest is for whoever reads the file.
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
    if problem is not None:
        problem += f". Delete {checkpoint} to resume from the checkpoint before it"
    # Reached by every rank, with or without a problem: the call is collective.
    distributed.raise_on_all_ranks(problem)
