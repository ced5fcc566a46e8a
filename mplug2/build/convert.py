"""Released checkpoints to our weights and back, through the key map of their family."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from mplug2.build.compose import compose
from mplug2.weights.export import Original, export, separate
from mplug2.weights.files import Released
from mplug2.weights.keymap import KeyMap
from mplug2.weights.load import load_mapped
from mplug2.weights.store import (
    MOMENTUM,
    WEIGHTS,
    persistent_buffers,
    read_fitting,
    read_tensors,
    weights_file,
)
from registry import KEY_MAPS, UserError

ORIGINAL = "mplug2.original"  # the entry of a converted file's metadata
PICKLES = (".pth", ".pt", ".bin")


def import_file(
    source: str | Path, spec: str | Path, target: str | Path, family: str = "mplug2"
) -> str:
    """Convert the released checkpoint ``source`` to the weights of the network of ``spec``.

    ``target`` is a ``.safetensors`` file. Its metadata names the original and lists its keys and their types,
    so that `export_file` can write that file again. Returns the report: what became of every key.
    UserError, and nothing is written, if the checkpoint does not fit.
    """
    key_map = released_family(family)
    target = Path(target)
    if target.suffix != ".safetensors":
        raise UserError(f"{target}: the converted file must end in .safetensors")
    net = compose(spec, initial=False, drawn=False)
    released = key_map.open(str(source))
    report = load_mapped(net, key_map, released)
    alone = "a momentum copy: a converted file holds the weights alone"
    for index, row in enumerate(report.rows):
        if row.momentum:
            report.rows[index] = replace(
                row, status="dropped", reason=alone, momentum=False
            )
    parameters = dict(net.named_parameters())
    # Queues and counters keep their initial values if the file does not have them.
    absent = [row for row in report.of("missing") if row.target in parameters]
    if absent:
        raise UserError(
            f"{source}: lacks weights of this network; nothing was written\n{report.table(absent)}"
        )
    loaded = report.filled()
    buffers = {}
    for name, value in persistent_buffers(net).items():
        if name in loaded:
            buffers[name] = value
    # A tied weight is stored once, under its first name.
    tensors = {}
    for name, value in (parameters | buffers).items():
        tensors[name] = value.detach().contiguous()
    metadata = {"format": "pt", ORIGINAL: _described(family, source, target, released)}
    with _unfinished(target) as file:
        save_file(tensors, file, metadata)
    return f"{report.summary()}\n{report.table()}\nwritten: {target}"


def export_file(
    source: str | Path,
    spec: str | Path,
    target: str | Path,
    family: str,
    like: str | Path | None = None,
) -> str:
    """Write our weights in the released form of ``family``: the inverse of `import_file`.

    ``source``: a ``.safetensors`` file, a checkpoint folder (its EMA copies are written, too) or a run folder
    (its best checkpoint). Keys that the network does not hold, order and types come from the original:
    ``like``, or else the file that a converted ``source`` names if it still exists. Returns the report.
    """
    key_map = released_family(family)
    if key_map.read_only:
        raise UserError(f"{family}: this family cannot be written: {key_map.read_only}")
    target = Path(target)
    if target.suffix not in (*PICKLES, ".safetensors"):
        raise UserError(
            f"{target}: the released file must end in .pth, .pt, .bin or .safetensors"
        )
    checkpoint = _checkpoint(Path(source))
    file = weights_file(checkpoint)
    net = compose(spec, device="meta", initial=False)
    weights = read_fitting(net, checkpoint)
    momentum = file.with_name(MOMENTUM)
    ema = read_tensors(momentum) if file.name == WEIGHTS and momentum.is_file() else {}
    original, note = _original(key_map, family, file, like)
    tensors, report = export(net, key_map, weights, ema, original, str(target))
    released = original.released if original is not None else None
    # As the original has them: released code looks for its tensors in these entries.
    if released is not None:
        wrappers, prefix = released.wrappers, released.prefix
    else:
        wrappers, prefix = (key_map.wrapper,) if key_map.wrapper else (), ""
    content = {prefix + key: value for key, value in tensors.items()}
    with _unfinished(target) as unfinished:
        _save(unfinished, target.suffix, content, wrappers)
    return f"{report.summary()}\n{report.table()}\n{note}\nwritten: {target}"


def released_family(family: str) -> KeyMap:
    """Return the key map of a family whose checkpoints can be converted; UserError if there is none."""
    names = [name for name in KEY_MAPS.names() if KEY_MAPS.load(name).released]
    if family not in names:
        suggestion = KEY_MAPS.suggest(family)
        hint = f"; did you mean '{suggestion}'?" if suggestion in names else ""
        raise UserError(
            f"a released family must be one of {', '.join(names)} (got '{family}'){hint}"
        )
    key_map: KeyMap = KEY_MAPS.load(family)
    return key_map


def _checkpoint(source: Path) -> Path:
    """Return the best checkpoint of a run folder, else the last one; any other path unchanged."""
    for name in ("best", "last"):
        if (source / name).is_dir():
            return source / name
    return source


def _described(
    family: str, source: str | Path, target: Path, released: Released
) -> str:
    """Return what `export_file` needs to know of the original, as JSON."""
    keys = {}
    for key, value in released.tensors.items():
        keys[key] = [str(value.dtype).removeprefix("torch."), list(value.shape)]
    path = str(source)
    # Relative to the converted file, so that both may be moved together.
    if os.path.exists(source):
        path = os.path.relpath(source, target.parent)
    return json.dumps({"family": family, "path": path, "keys": keys})


def _original(
    key_map: KeyMap, family: str, file: Path, like: str | Path | None
) -> tuple[Original | None, str]:
    """Return the original of our weights, and a line that names the one that was used."""
    if like is not None:
        return Original.of(key_map.open(str(like))), f"original: {like}"
    described = _description(file)
    if described is None or described["family"] != family:
        return (
            None,
            f"original: none; {key_map.title}'s other keys are absent, `--like ORIGINAL` copies them",
        )
    path = Path(os.path.normpath(file.parent / described["path"]))
    shapes = {key: tuple(shape) for key, (_, shape) in described["keys"].items()}
    dtypes = {
        key: getattr(torch, dtype) for key, (dtype, _) in described["keys"].items()
    }
    if path.exists():
        released = key_map.open(str(path))
        if released.shapes == shapes:
            return Original.of(released), f"original: {path} (named by {file})"
        problem = "is another file now"
    else:
        problem = "does not exist"
    note = f"original: {path} {problem}; `--like ORIGINAL` copies the missing keys"
    return Original(dtypes, shapes), note


def _description(file: Path) -> dict[str, Any] | None:
    with safe_open(str(file), framework="pt") as stored:
        text = (stored.metadata() or {}).get(ORIGINAL)
    return None if text is None else dict(json.loads(text))


@contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """Yield a name next to ``target`` that becomes ``target`` once everything is written."""
    unfinished = target.with_name(f"{target.name}.unfinished")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        os.replace(unfinished, target)
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error})") from None
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _save(
    file: Path, suffix: str, tensors: dict[str, Tensor], wrappers: tuple[str, ...]
) -> None:
    content: dict[str, Any] = separate(tensors, share=suffix in PICKLES)
    if suffix == ".safetensors":
        save_file(content, file, {"format": "pt"})
        return
    for wrapper in reversed(wrappers):
        content = {wrapper: content}
    torch.save(content, file)
