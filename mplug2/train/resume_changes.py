"""What changed between a checkpoint and the run that resumes from it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mplug2.runtime import distributed
from mplug2.runtime.manifest import read_manifest
from registry import Spec, UserError, parse_spec

_SPEC = "spec.yaml"
# Where a run is, and what a resumed run does not read again.
_FREE = ("train.output_dir", "init")
_SHOWN = 12  # changed settings that a line lists


def changed_settings(checkpoint: Path | None, spec: Spec) -> list[str]:
    """Return lines about the settings and the number of processes that differ from those of a checkpoint.

    UserError if an argument of a module has another value, unless it is a real number such as a rate: with
    another activation, for example, the same weights are another network.
    """
    if checkpoint is None or not (checkpoint / _SPEC).is_file():
        return []
    text = (checkpoint / _SPEC).read_text(encoding="utf-8")
    with warnings.catch_warnings():
        # Of old names, which a checkpoint may keep.
        warnings.simplefilter("ignore")
        before = dict(_leaves(parse_spec(text, str(checkpoint / _SPEC)).resolved()))
    after = dict(_leaves(spec.resolved()))
    changes, refused = [], []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old == new or name.startswith(_FREE):
            continue
        change = f"{name}: {_shown(old)} -> {_shown(new)}"
        is_rate = isinstance(old, float) or isinstance(new, float)
        if name.startswith("modules.") and None not in (old, new) and not is_rate:
            refused.append(change)
        changes.append(change)
    if refused:
        raise UserError(
            f"{checkpoint} cannot be resumed, since its modules were others: {'; '.join(refused)}. Restore "
            "them, or start a new run from its weights with another train.output_dir and "
            f"init: {{'*': 'checkpoint:{checkpoint}'}}"
        )
    lines = []
    if changes:
        more = f"; and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
        listed = "; ".join(changes[:_SHOWN])
        lines.append(
            f"WARNING: changed since the checkpoint was written: {listed}{more}"
        )
    return lines + _changed_processes(checkpoint)


def _changed_processes(checkpoint: Path) -> list[str]:
    manifest = read_manifest(checkpoint) or {}
    before = manifest.get("written_by", {}).get("world_size")
    now = distributed.world_size()
    if before in (None, now):
        return []
    return [
        f"WARNING: {before} processes wrote the checkpoint, {now} resume it: dropout and other random "
        "numbers start from the seed"
    ]


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value that is not a mapping, under its dotted name."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _leaves(entry, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _shown(value: Any) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
