"""A finished network as a folder for others: a spec for prediction, weights, vocabularies, and a manifest.

Whoever opens such a folder does not trust it: its spec names no file outside of it, and every file has the
size and the SHA-256 of the manifest.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mplug2.checking.vocabulary import VOCABULARIES, describe_vocabularies
from mplug2.data.text import Tokenizer
from mplug2.runtime.manifest import (
    MANIFEST,
    damage,
    read_manifest,
    verification,
    write_manifest,
)
from mplug2.weights.hub import find_file
from mplug2.weights.store import WEIGHTS
from registry import SOURCES, Spec, SpecError, UserError, parse_spec, read_spec
from registry.goal_source import source_of_goal
from registry.language.schema import SETTINGS
from registry.tokenizer_names import DEFAULT_KIND, tokenizer_parts
from registry.training import training_plan

SPEC = "spec.yaml"
SHARED = "shared network"  # what `written_by` of the manifest has
# The sections of a spec that prediction needs, and their keys where it does not need all.
SECTIONS = ("inputs", "modules", "define", "flow", "goals", "momentum", "tie", "data")
NEEDED_SETTINGS = {"train": ("batch_size", "precision"), "eval": ("goal", "batch_size")}
# The arguments of tasks and sources that name a file which prediction reads.
FILE_KEYS = ("tokenizer", "answer_list", "labels_file")
# Those that name files which only training and evaluation read.
UNUSED_KEYS = ("media", "exclude_list", "cache", "augment", "flip")
MAX_MANIFEST_BYTES = 1 << 20
MAX_TEXT_BYTES = 64 << 20  # of a spec, a vocabulary or a list
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_SUFFIXES = (
    ".yaml",
    ".safetensors",
    ".txt",
    ".json",
    ".jsonl",
    ".csv",
    ".tsv",
    ".gz",
)


def write_shared(checkpoint: Path, folder: Path) -> Spec:
    """Write the network of a checkpoint folder into the empty ``folder``, without the card; return its spec.

    UserError for a network that cannot be used from the folder alone: with adapters, or with features of
    regions.
    """
    spec = read_spec(checkpoint / SPEC)
    if spec.adapt:
        raise UserError(
            f"{checkpoint}: a network with adapters cannot be shared, since its other weights are not in the "
            "checkpoint. Merge them first: mplug2 merge"
        )
    data = _data_for_prediction(spec)
    for key in FILE_KEYS:
        if isinstance(name := data.get(key), str):
            data[key] = _copy_file(key, name, folder)
    sections = {
        name: value for name, value in spec.resolved().items() if name in SECTIONS
    }
    sections["data"] = data
    for section, keys in NEEDED_SETTINGS.items():
        values = getattr(spec, section)
        sections[section] = {
            key: values[key] for key in keys if values[key] is not None
        }
    shared = Spec.from_dict(sections, spec.name)
    shared.write(folder / SPEC)
    shutil.copyfile(checkpoint / WEIGHTS, folder / WEIGHTS)
    described = describe_vocabularies(spec)
    if "tokenizer" in data:
        # Under the name in the shared folder, whose loader compares it.
        entry = described.get(_tokenizer_of(spec) or "")
        described = {} if entry is None else {data["tokenizer"]: entry}
        text = json.dumps(described, indent=1) + "\n"
        (folder / VOCABULARIES).write_text(text, encoding="utf-8")
    return shared


def seal(folder: Path) -> None:
    """Write the manifest of a shared folder, after its last file."""
    write_manifest(folder, {"contents": SHARED})


def is_shared(folder: Path) -> bool:
    """Return whether a folder was made by `write_shared`."""
    manifest = read_manifest(folder) if (folder / MANIFEST).is_file() else None
    written_by = {} if manifest is None else manifest.get("written_by")
    return isinstance(written_by, dict) and written_by.get("contents") == SHARED


def file_sizes(manifest_file: Path) -> dict[str, int]:
    """Return the size of each file of a shared folder, by a manifest that is not trusted.

    UserError for a damaged manifest, and for names that are not plain file names of a shared network.
    """
    if manifest_file.stat().st_size > MAX_MANIFEST_BYTES:
        raise UserError(f"{manifest_file} must have at most {MAX_MANIFEST_BYTES} bytes")
    try:
        manifest = read_manifest(manifest_file.parent)
    except RecursionError:
        raise UserError(f"{manifest_file}: the file is nested too deep") from None
    files = {} if manifest is None else manifest["files"]
    sizes: dict[str, int] = {}
    for name, entry in files.items():
        if not _PLAIN_NAME.fullmatch(name) or not name.endswith(_SUFFIXES):
            raise UserError(
                f"{manifest_file} must list plain file names ({' '.join(_SUFFIXES)}), but lists {name!r}; "
                "nothing of it is used"
            )
        size = entry.get("bytes") if isinstance(entry, dict) else None
        if type(size) is not int or size < 0:
            raise UserError(
                f"{manifest_file}: the size of {name} must be a number of bytes"
            )
        if name != WEIGHTS and size > MAX_TEXT_BYTES:
            raise UserError(
                f"{manifest_file}: {name} must have at most {MAX_TEXT_BYTES} bytes (got {size})"
            )
        sizes[name] = size
    missing = [name for name in (SPEC, WEIGHTS) if name not in sizes]
    if missing:
        raise UserError(f"{manifest_file} must list {missing[0]}, but does not")
    return sizes


def open_shared(folder: Path) -> list[str]:
    """Return the overrides by which the spec of a shared folder finds its files, after checking all of it.

    UserError for damage, and SpecError for a spec with other sections than prediction needs, or with a name
    of a file outside of the folder.
    """
    sizes = file_sizes(folder / MANIFEST)
    with verification(True):
        problem = damage(folder)
    if problem is not None:
        raise UserError(f"{problem}. Load it again, or ask its author")
    spec = parse_spec((folder / SPEC).read_text(encoding="utf-8"), str(folder / SPEC))
    _refuse_sections(spec)
    overrides = []
    for key, value in _texts(spec.data):
        place = spec.place("data", key[0])
        if len(key) == 1 and key[0] in FILE_KEYS:
            file = _inside(folder, sizes, value, place)
            overrides.append(f"data.{key[0]}={json.dumps(file)}")
        elif _names_file(value):
            raise SpecError.at(
                place,
                f"a shared spec must not name a file outside of its folder (got {value!r})",
                "use its network with a spec of yours: mplug2.pipeline(SPEC, WEIGHTS)",
            )
    return overrides


def _refuse_sections(spec: Spec) -> None:
    """Raise SpecError for sections and settings that could name files or classes."""
    for section in spec.resolved():
        if section not in (*SECTIONS, *NEEDED_SETTINGS):
            raise SpecError.at(
                spec.place(section),
                f"a shared spec must not have the section '{section}'",
            )
    for section, keys in NEEDED_SETTINGS.items():
        for key, value in getattr(spec, section).items():
            # A spec that is written has all defaults.
            is_default = (
                key in SETTINGS[section] and value == SETTINGS[section][key].default
            )
            if key not in keys and not is_default:
                raise SpecError.at(
                    spec.place(section, key),
                    f"a shared spec must not set {section}.{key}",
                )
    for described in training_plan(spec).sources.values():
        if described.splits:
            raise SpecError.at(
                spec.place("data"),
                "a shared spec must not name data of training or evaluation",
            )
    forbidden = [*SOURCES.names(), *UNUSED_KEYS, "regions", "sources", "batches"]
    for key in spec.data:
        if key in forbidden and spec.data[key]:
            raise SpecError.at(
                spec.place("data", key), f"a shared spec must not set data.{key}"
            )


def _texts(
    value: Any, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield each text in nested settings with its keys."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _texts(part, (*path, str(key)))
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _texts(part, path)


def _names_file(text: str) -> bool:
    """Return whether a text could name a file of this machine."""
    try:
        exists = os.path.exists(text)
    except ValueError:  # A zero byte is in no name.
        return False
    return exists or os.path.isabs(text) or ".." in Path(text).parts


def _inside(folder: Path, sizes: Mapping[str, int], name: str, place: Any) -> str:
    """Return where a file of the folder is, with the kind of a tokenizer before it."""
    kind, file = tokenizer_parts(name)
    prefix = f"{kind}:" if name.startswith(f"{kind}:") else ""
    if not file:  # A tokenizer without a file, such as `bytes`.
        return name
    if file == "." or file in sizes:
        return f"{prefix}{folder / file}"
    raise SpecError.at(
        place,
        f"a shared spec must name a file of its folder (got {name!r})",
        ", ".join(sizes),
    )


def _data_for_prediction(spec: Spec) -> dict[str, Any]:
    """Return the section `data` with the one task that prediction uses, without the data themselves."""
    goal_source = source_of_goal(spec, spec.eval["goal"])
    if goal_source is None:
        raise UserError(f"{spec.path}: data.task must name a task to predict with")
    if goal_source.arguments.get("regions"):
        raise UserError(
            f"{spec.path}: a network that reads features of regions cannot be shared: prediction reads files"
        )
    unused = {*UNUSED_KEYS, *SOURCES.names()}
    data: dict[str, Any] = {"task": goal_source.source.task}
    for key, value in goal_source.arguments.items():
        if key not in unused and value is not None:
            data[key] = value
    if (tokenizer := _tokenizer_of(spec)) is not None:
        data["tokenizer"] = tokenizer
    return data


def _tokenizer_of(spec: Spec) -> str | None:
    goal_source = source_of_goal(spec, spec.eval["goal"])
    arguments = {} if goal_source is None else goal_source.arguments
    name: str | None = arguments.get("tokenizer") or spec.data.get("tokenizer")
    return name


def _copy_file(key: str, name: str, folder: Path) -> str:
    """Copy a file that the spec names into the folder; return its name there."""
    if key != "tokenizer":
        target = f"{key}{''.join(Path(name).suffixes)}"
        shutil.copyfile(name, folder / target)
        return target
    kind, file = tokenizer_parts(name)
    if not file:
        return name
    if kind != DEFAULT_KIND:
        source = Path(file) / "merges.txt" if Path(file).is_dir() else Path(file)
        shutil.copyfile(source, folder / source.name)
        return f"{kind}:{source.name}"
    source = Path(file) if Path(file).is_file() else find_file(file, ("vocab.txt",))
    shutil.copyfile(source, folder / "vocab.txt")
    if Tokenizer.load(name).lower:
        return "vocab.txt"
    # A vocabulary of texts with capital letters is a folder with settings.
    settings = json.dumps({"do_lower_case": False}) + "\n"
    (folder / "tokenizer_config.json").write_text(settings, encoding="utf-8")
    return "."
