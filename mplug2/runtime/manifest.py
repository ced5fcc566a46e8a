"""The manifest of a folder: every file with its size and SHA-256, so that damage is found when it is read.

``manifest.json`` is ``{"version": 1, "written_by": {...}, "files": {name: {"bytes": n, "sha256": hex}}}``.
Readers ignore keys that they do not know; new features add keys and files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from registry.errors import UserError

MANIFEST = "manifest.json"
VERSION = 1
CHUNK_BYTES = 1 << 22
NEW = ".new"  # Suffix of a file that is about to replace another.
_enabled: ContextVar[bool] = ContextVar("verification", default=True)


def write_manifest(folder: Path, written_by: Mapping[str, Any]) -> None:
    """Write the manifest of all files in ``folder``."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != MANIFEST:
            files[name] = file_entry(path)
    write_entries(folder, files, written_by)


def write_entries(
    folder: Path, files: Mapping[str, Mapping[str, Any]], written_by: Mapping[str, Any]
) -> None:
    """Write a manifest of entries that are known: at least "bytes" and "sha256" of each file."""
    _write(
        folder,
        {"version": VERSION, "written_by": dict(written_by), "files": dict(files)},
    )


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a folder, or None if it has none; UserError if it cannot be read."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version, files = manifest["version"], manifest["files"]
        have_checksums = all("sha256" in entry for entry in files.values())
        is_valid = isinstance(version, int) and have_checksums
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        is_valid = False
    if not is_valid:
        raise UserError(f"{path}: the file is damaged")
    if version > VERSION:
        raise UserError(
            f"{path}: must have version {VERSION} or lower (got {version}). A newer version of mplug2 wrote "
            "it: update this one"
        )
    return manifest


@contextlib.contextmanager
def verification(enabled: bool) -> Iterator[None]:
    """While open, `damage` compares files with their manifests, or, with ``enabled`` false, does not."""
    before = _enabled.set(enabled)
    try:
        yield
    finally:
        _enabled.reset(before)


def damage(folder: Path, names: Iterable[str] | None = None) -> str | None:
    """Return which file differs from the manifest and how, or None.

    A folder without a manifest is not checked, and none is while `verification` is off. ``names``: only
    these files, if the manifest has them.
    """
    manifest = read_manifest(folder) if _enabled.get() else None
    if manifest is None:
        return None
    files = manifest["files"]
    checked = files if names is None else [name for name in names if name in files]
    for name in checked:
        path, entry = folder / name, files[name]
        if not path.is_file():
            return f"{path}: the file is missing, but {MANIFEST} lists it"
        size = path.stat().st_size
        # The size first: it costs nothing, and most damage is a file that was cut off.
        if size != entry["bytes"]:
            return f"{path}: the file is damaged (got {size} bytes, {MANIFEST} lists {entry['bytes']})"
        if file_entry(path)["sha256"] != entry["sha256"]:
            return (
                f"{path}: the file is damaged (its SHA-256 is not that of {MANIFEST})"
            )
    return None


def file_entry(path: Path) -> dict[str, Any]:
    """Return the size and the SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def replace_file(folder: Path, name: str, text: str) -> None:
    """Replace a text file of the folder together with its entry in the manifest.

    A crash in between leaves either the old pair, or what ``finish_replacements`` completes.
    """
    fresh = folder / (name + NEW)
    fresh.write_text(text, encoding="utf-8")
    sync(fresh)
    manifest = read_manifest(folder)
    if manifest is not None:
        # The manifest first: after a crash it decides whether the new file counts.
        manifest["files"][name] = file_entry(fresh)
        _write(folder, manifest)
    fresh.replace(folder / name)
    sync(folder)


def finish_replacements(folder: Path) -> None:
    """Complete, or take back, what a crash interrupted in ``replace_file``."""
    for fresh in folder.glob("*" + NEW):
        name = fresh.name.removesuffix(NEW)
        manifest = read_manifest(folder) if name != MANIFEST else None
        if manifest is not None and manifest["files"].get(name) == file_entry(fresh):
            fresh.replace(folder / name)
        else:
            fresh.unlink()


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write(folder: Path, manifest: Mapping[str, Any]) -> None:
    fresh = folder / (MANIFEST + NEW)
    fresh.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    sync(fresh)
    # Renaming is atomic: a reader sees the old manifest or the new one.
    fresh.replace(folder / MANIFEST)
