#!/usr/bin/env python3
"""Convert random full-size checkpoints to our weights and back: python tools/there_and_back.py --layouts FOLDER

FOLDER holds FAMILY/key_layout.json, the recorded keys and shapes of released models. The same keys, types and
bits must return, and the number of parameters must be the recorded one. Files are written and compared tensor by
tensor, so memory holds little more than a network and its checkpoint.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from mplug2.build.compose import compose
from mplug2.build.convert import export_file, import_file
from mplug2.network import Network
from mplug2.weights.bound_map import BoundMap
from mplug2.weights.keymap import KeyMap
from mplug2.weights.load import tied_names
from registry import KEY_MAPS, UserError

Shape = tuple[int, ...]
HOLE = "{i}"
MOST_LAYERS = 100
ROOT = Path(__file__).resolve().parents[1]
# Of each family the specs of all sizes and heads whose released keys are recorded.
SPECS = {
    "clip": "configs_image/clip_*.yaml",
    "uniter": "configs_image/*_uniter_*.yaml",
    "vlmo": "configs_image/vlmo_pretrain_*.yaml",
    "timix": "configs_image/pretrain_timix_base.yaml",
}
COUNTERS = ("position_ids", "relative_position_index", "idx_queue", "queue_ptr")
DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.int64: "I64"}


@dataclass(frozen=True)
class Layout:
    """One recorded model: patterns with how many keys each has and their shape, and its parameters."""

    name: str
    patterns: Mapping[str, tuple[int, Shape]]
    num_parameters: int | None


@dataclass(frozen=True)
class Held:
    """What a network holds under released names: shapes, and for each key the first that is tied to it.

    ``num_parameters``: of the network; tied ones count once.
    """

    shapes: Mapping[str, Shape]
    owners: Mapping[str, str]
    num_parameters: int


def layouts(folder: Path, family: str) -> list[Layout]:
    """Return the recorded models of a family; UserError if there is no such file."""
    path = folder / family / "key_layout.json"
    if not path.is_file():
        raise UserError(
            f"{path}: no such file. Name the folder of the fixtures with --layouts"
        )
    entries = json.loads(path.read_text(encoding="utf-8"))
    found = []
    for name, entry in entries.items():
        if name != "about":
            found.append(_layout(name, entry, entries))
    return found


def _layout(name: str, entry: dict[str, Any], entries: dict[str, Any]) -> Layout:
    keys = entry.get("keys", entry)
    if "keys_besides_uniter" in entry:
        # The backbone is recorded once, with the pre-training of the same size.
        backbone = entries[f"{name.split('.')[0]}.pretrain"]["keys"]
        keys = {key: value for key, value in backbone.items() if key[:7] == "uniter."}
        keys |= entry["keys_besides_uniter"]
    patterns = {key: (count, tuple(shape)) for key, (count, shape) in keys.items()}
    return Layout(name, patterns, entry.get("n_params"))


def held_keys(net: Network, key_map: KeyMap) -> Held:
    """Return the released keys of a network, which may be on the meta device."""
    weights, identities = net.weights(), tied_names(net)
    shapes: dict[str, Shape] = {}
    owners: dict[str, str] = {}
    first: dict[tuple[Any, ...], str] = {}
    mappings, _ = BoundMap(key_map, net, {}).write(weights)
    for mapping in mappings:
        if mapping.row.alternative:
            continue
        tensors = [weights[name] for name in mapping.ours]
        written = mapping.row.transform.write(tensors, mapping.values)
        sources = tuple(identities[name] for name in mapping.ours)
        for index, key in enumerate(mapping.released):
            shapes[key] = tuple(written[index].shape)
            owners[key] = first.setdefault((*sources, index), key)
    count = sum(parameter.numel() for parameter in net.parameters())
    return Held(shapes, owners, count)


def full_shapes(layout: Layout, held: Held, key_map: KeyMap) -> dict[str, Shape]:
    """Return every key of a recorded model with its shape; UserError if the network has another.

    A pattern has a count of keys, but not their numbers: where they do not count from 0, as those of
    experts in the last blocks, the network's are meant.
    """
    shapes: dict[str, Shape] = {}
    for pattern, (count, recorded) in layout.patterns.items():
        numbers = _numbers(pattern, count, held)
        for index in numbers:
            key = pattern.replace(HOLE, str(index))
            shape = held.shapes.get(key_map.canonical(key)[0], recorded)
            # Layers of other shapes that share a pattern are recorded with the shape of the first.
            if index == numbers[0] and shape != recorded:
                raise UserError(f"{key}: recorded {recorded}, the network has {shape}")
            shapes[key] = shape
    return shapes


def _numbers(pattern: str, count: int, held: Held) -> list[int]:
    """Return the numbers of a pattern's keys: the network's if it has as many of them, else from 0."""
    numbers = []
    for number in range(MOST_LAYERS):
        if pattern.replace(HOLE, str(number)) in held.shapes:
            numbers.append(number)
    is_held = HOLE in pattern and len(numbers) == count
    return numbers if is_held else list(range(count))


def matching(
    candidates: list[Layout], held: Held, key_map: KeyMap
) -> tuple[Layout, dict[str, Shape]]:
    """Return the recorded model that has all keys of a network and the fewest others; UserError if none has."""
    best: tuple[Layout, dict[str, Shape]] | None = None
    for layout in candidates:
        try:
            shapes = full_shapes(layout, held, key_map)
        except UserError:
            continue
        names = {key_map.canonical(key)[0] for key in shapes}
        is_smaller = best is None or len(shapes) < len(best[1])
        if set(held.shapes) <= names and is_smaller:
            best = (layout, shapes)
    if best is None:
        raise UserError("no recorded model has the keys and shapes of this network")
    return best


def dtype_of(key: str, shape: Shape) -> torch.dtype:
    """Return the type of a random tensor: matrices have half precision, as in CLIP's release."""
    if key.endswith(COUNTERS):
        return torch.int64
    return torch.float16 if len(shape) > 1 else torch.float32


def random_tensor(key: str, shape: Shape, owner: str) -> Tensor:
    """Return values that follow from the name of the owner alone, so that tied keys have the same."""
    if key.endswith(COUNTERS):
        numbers = torch.arange(shape[-1] if shape else 1)
        return numbers.expand(shape).contiguous() if shape else numbers[0]
    generator = torch.Generator().manual_seed(zlib.crc32(owner.encode()))
    return torch.randn(shape, generator=generator).to(dtype_of(key, shape))


def write_random(
    path: Path, shapes: Mapping[str, Shape], held: Held, key_map: KeyMap
) -> None:
    """Write a random checkpoint in the format of safetensors, one tensor in memory at a time."""
    header: dict[str, Any] = {}
    end = 0
    for key, shape in shapes.items():
        dtype = dtype_of(key, shape)
        start, end = end, end + torch.Size(shape).numel() * dtype.itemsize
        offsets = [start, end]
        header[key] = {"dtype": DTYPES[dtype], "shape": shape, "data_offsets": offsets}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the format wants tensors at multiples of 8 bytes
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for key, shape in shapes.items():
            owner = _owner(key, held, key_map)
            file.write(random_tensor(key, shape, owner).numpy().tobytes())


def _owner(key: str, held: Held, key_map: KeyMap) -> str:
    """Return the name that represents all keys tied to this one; EMA copies are tied among themselves."""
    name, is_ema = key_map.canonical(key)
    owner = held.owners.get(name, name)
    return f"ema {owner}" if is_ema else owner


def differences(original: Path, back: Path) -> list[str]:
    """Return what differs between two files: keys, types, shapes or bits; tensors are read one at a time."""
    problems = []
    with safe_open(str(original), "pt") as first, safe_open(str(back), "pt") as second:
        missing = set(first.keys()) ^ set(second.keys())
        problems += [f"{key}: in one of both files only" for key in sorted(missing)]
        for key in sorted(set(first.keys()) & set(second.keys())):
            before, after = first.get_tensor(key), second.get_tensor(key)
            if before.dtype != after.dtype:
                problems.append(f"{key}: {before.dtype} became {after.dtype}")
            elif not torch.equal(before, after):
                problems.append(f"{key}: other values")
    return problems


def count_problem(
    layout: Layout, shapes: Mapping[str, Shape], held: Held, key_map: KeyMap
) -> str | None:
    """Return what is wrong with the number of parameters: those of the network and those it does not hold."""
    if layout.num_parameters is None:
        return None
    total = held.num_parameters
    for key, shape in shapes.items():
        if key_map.canonical(key)[0] not in held.shapes:
            total += torch.Size(shape).numel()
    if total == layout.num_parameters:
        return None
    return f"{total:,} parameters, but {layout.num_parameters:,} are recorded"


def there_and_back(path: Path, family: str, folder: Path) -> tuple[str, list[str]]:
    """Convert a random checkpoint of a spec's recorded model to our weights and back.

    Returns a line of figures and the problems: what differs, and another number of parameters.
    """
    key_map: KeyMap = KEY_MAPS.load(family)
    held = held_keys(compose(path, device="meta", initial=False), key_map)
    layout, shapes = matching(layouts(folder, family), held, key_map)
    with tempfile.TemporaryDirectory() as scratch:
        source, back = (
            Path(scratch, "in.safetensors"),
            Path(scratch, "back.safetensors"),
        )
        ours = Path(scratch, "ours.safetensors")
        write_random(source, shapes, held, key_map)
        import_file(source, path, ours, family)
        export_file(ours, path, back, family)
        problems = differences(source, back)
    problem = count_problem(layout, shapes, held, key_map)
    problems += [] if problem is None else [problem]
    line = f"{layout.name}: {len(shapes)} keys, {held.num_parameters:,} parameters here"
    if layout.num_parameters is not None:
        line += f", {layout.num_parameters:,} recorded"
    return line, problems


def main() -> int:
    """Print a line for each spec and return the exit code: 1 if anything came back different."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("specs", nargs="*", type=Path, metavar="SPEC")
    parser.add_argument("--family", choices=sorted(SPECS), help="of the specs named")
    parser.add_argument("--layouts", type=Path, required=True, metavar="FOLDER")
    options = parser.parse_args()
    if bool(options.specs) != bool(options.family):
        parser.error("name specs together with their --family, or neither: all sizes")
    cases = [(path, options.family) for path in options.specs] or shipped()
    num_failed = 0
    for path, family in cases:
        try:
            line, problems = there_and_back(path, family, options.layouts)
        except UserError as error:
            line, problems = "failed", [str(error)]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        verdict = f"{len(problems)} problems" if problems else "equal"
        print(
            f"{path.name}: {line}: {verdict} (peak memory so far {peak:.1f} GB)",
            flush=True,
        )
        for problem in problems[:10]:
            print(f"  {problem}", flush=True)
        num_failed += bool(problems)
    return 1 if num_failed else 0


def shipped() -> list[tuple[Path, str]]:
    """Return the shipped specs of all sizes with their families."""
    cases = []
    for family, pattern in SPECS.items():
        for path in sorted(ROOT.glob(pattern)):
            if "shapes" not in path.name:  # no release has these sizes
                cases.append((path, family))
    return cases


if __name__ == "__main__":
    sys.exit(main())
