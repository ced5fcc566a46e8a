"""Public downloads turned into the JSON lines of our readers."""

from __future__ import annotations

import contextlib
import difflib
import json
import zlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from mplug2.data.formats.find_files import MediaIndex, SourceFiles, in_words
from mplug2.data.formats.recipes import RECIPES, Output, Recipe
from mplug2.runtime.atomic_write import atomic_write
from registry.errors import UserError

ANSWERS = "answers"  # the one output that is a list, of answers to choose from


@dataclass(frozen=True)
class Written:
    """A file that was written: its split, how many entries it has, and about how many images or videos."""

    split: str
    path: Path
    entries: int
    media: int


@dataclass
class Prepared:
    """What was found, written, and could not be made."""

    recipe: Recipe
    files: dict[str, Path] = field(default_factory=dict)  # public name: where it is
    written: list[Written] = field(default_factory=list)
    # For each split, in words, the files that each way to make it lacks.
    missing_sources: dict[str, list[str]] = field(default_factory=dict)
    # Names without a file in the media folder.
    missing: list[str] = field(default_factory=list)
    # Names of several files: two of them.
    unclear: dict[str, tuple[str, str]] = field(default_factory=dict)

    def path(self, split: str) -> Path | None:
        """Return where a split was written."""
        for written in self.written:
            if written.split == split:
                return written.path
        return None


def named(name: str) -> Recipe:
    """Return the recipe of a data set; UserError where there is none of that name."""
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(
            f"the data set must be one of {', '.join(RECIPES)}, but is '{name}'{hint}"
        )
    return RECIPES[name]


def prepare(
    name: str,
    source: Path,
    out: Path | None = None,
    media: Path | None = None,
    *,
    val_fraction: float = 0.0,
    replace: bool = False,
) -> Prepared:
    """Write the splits of the data set ``name`` that can be made of the files below ``source``.

    With ``media`` names are written as the files are found there. ``val_fraction``: the fraction of the
    training images or videos that becomes the validation split of a set without one, always the same ones.
    UserError where nothing can be made, where an entry is wrong (with its location), or where a file is there
    already and ``replace`` is not set.
    """
    recipe = named(name)
    public_names: list[str] = []
    for output in recipe.outputs:
        public_names += output.files
    files = SourceFiles(source, public_names)
    done = Prepared(recipe)
    chosen = _chosen(recipe, files, done)
    if not chosen:
        raise _nothing_found(name, source, done)
    if val_fraction:
        _check_val_fraction(val_fraction, chosen)
    index = MediaIndex(media, recipe.media) if media else None
    folder = out or Path("data") / recipe.folder
    splits = [*chosen, "val"] if val_fraction else [*chosen]
    paths = {split: _target(folder, recipe, split) for split in splits}
    _check_targets(list(paths.values()), list(done.files.values()), replace)
    # All files lose their temporary names together at the end, or none does.
    with contextlib.ExitStack() as stack:
        opened = {}
        for split, path in paths.items():
            opened[split] = stack.enter_context(atomic_write(path))
        for split, output in chosen.items():
            rows = output.rows(*(done.files[file] for file in output.files))
            parts = [split, "val"] if val_fraction and split == "train" else [split]
            part_files = {part: opened[part] for part in parts}
            # Rows are read while they are written: a data set may be larger than the memory.
            counts = _write(part_files, rows, index, val_fraction)
            for part in parts:
                done.written.append(Written(part, paths[part], *counts[part]))
    if index is not None:
        done.missing, done.unclear = list(index.missing), index.unclear
    return done


def _nothing_found(name: str, source: Path, done: Prepared) -> UserError:
    """Return the error for a folder without the files of any split."""
    # Several splits may lack the same files: each list of files is printed once.
    lacking = dict.fromkeys(
        ", nor ".join(ways) for ways in done.missing_sources.values()
    )
    return UserError(
        f"nothing of {name} can be made: below {source} there is no {'; no '.join(lacking)}"
        "\n  hint: `mplug2 data prepare` lists all files that each set can be made of"
    )


def _check_val_fraction(val_fraction: float, splits: Collection[str]) -> None:
    """Raise UserError unless a validation split can be cut off the training split."""
    if not (0 < val_fraction < 1 and "train" in splits and "val" not in splits):
        raise UserError(
            "--val-fraction must be a fraction of a training split (0.05) without a validation "
            f"split, but is {val_fraction:g} for {', '.join(splits)}"
        )


def _check_targets(paths: list[Path], sources: list[Path], replace: bool) -> None:
    """Raise UserError for a file that is read, or that is there already and must not be replaced."""
    # Compared after links are resolved: `--out` may be the folder of the downloads.
    read = {path.resolve() for path in sources}
    for path in paths:
        if path.resolve() in read:
            raise UserError(
                f"{path} is read from, and must not be written to: name another --out"
            )
    taken = [str(path) for path in paths if path.exists()]
    if taken and not replace:
        raise UserError(
            f"{', '.join(taken)} already exists. Use --overwrite to overwrite it, or "
            "--out to choose another folder"
        )


def _chosen(recipe: Recipe, files: SourceFiles, done: Prepared) -> dict[str, Output]:
    """The first output of each split whose files are all there; what every way to another needs is
    `done.missing_sources`."""
    chosen: dict[str, Output] = {}
    for output in recipe.outputs:
        if output.split in chosen:
            continue
        present: dict[str, Path] = {}
        lacking: list[str] = []
        for name in output.files:
            path = files.get(name)
            if path is None:
                lacking.append(name)
            else:
                present[name] = path
        if lacking:
            done.missing_sources.setdefault(output.split, []).append(in_words(lacking))
            continue
        done.files |= present
        chosen[output.split] = output
        # Other ways to make this split were tried before, and are of no interest now.
        done.missing_sources.pop(output.split, None)
    return chosen


def _target(folder: Path, recipe: Recipe, split: str) -> Path:
    name = f"{split}.json" if split == ANSWERS else f"{recipe.prefix}{split}.jsonl"
    return folder / name


def _write(
    files: dict[str, TextIO],
    rows: Iterable[Any],
    index: MediaIndex | None,
    share: float,
) -> dict[str, tuple[int, int]]:
    """Write a split, and the held-out entries to another file; return how many entries, about how many
    media."""
    split = next(iter(files))
    if split == ANSWERS:
        answers = list(rows)
        json.dump(answers, files[split], ensure_ascii=False, indent=0)
        return {split: (len(answers), 0)}
    counts: dict[str, int] = dict.fromkeys(files, 0)
    media: dict[str, set[str]] = {part: set() for part in files}
    for row in rows:
        key = next(key for key in ("video_id", "image", "images") if key in row)
        names = row[key] if key == "images" else [row[key]]
        # By the name of the file, so that all entries about it are in the same split.
        part = "val" if len(files) > 1 and _held(names[0]) < share else split
        if index is not None:
            names = [index.place(name) for name in names]
            row[key] = names if key == "images" else names[0]
        files[part].write(json.dumps(row, ensure_ascii=False) + "\n")
        counts[part] += 1
        media[part].update(names)
    for part, count in counts.items():
        if not count:
            raise UserError(
                f"{part} must have at least one entry, but its files are empty"
            )
    return {part: (counts[part], len(media[part])) for part in files}


def _held(name: str) -> float:
    """A number from 0 to 1 that a name always has."""
    # Not by a random number: the split of a file must not depend on the others, or on their order.
    return zlib.crc32(name.encode()) / 2**32
