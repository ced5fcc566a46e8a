"""Specs that packages ship, found by name from any folder."""

from __future__ import annotations

import os
from pathlib import Path

from registry.errors import Location, SpecError

# Folders that hold `configs_*/NAME.yaml`; the package that ships specs adds its own.
SPEC_FOLDERS: list[Path] = []


def shipped_specs() -> list[Path]:
    """Return all shipped specs that describe a network, without the parts in `_base_`."""
    files: list[Path] = []
    for folder in SPEC_FOLDERS:
        # Sorted: the order of a folder depends on the file system.
        files += sorted(folder.glob("configs_*/*.yaml"))
    return files


def find_shipped(name: str, place: Location) -> Path | None:
    """Return the shipped file of that name: `VideoQA_shapes_tiny`, or `configs_video/_base_/video_qa.yaml`.

    None if there is none. SpecError at `place` if a short name means several files.
    """
    relative = Path(name)
    # Names come from specs of others: nothing outside the folders is looked for.
    if not name or relative.is_absolute() or ".." in relative.parts:
        return None
    for folder in SPEC_FOLDERS:
        for file in (folder / relative, folder / f"{relative}.yaml"):
            if os.path.isfile(file):
                return file
    if len(relative.parts) > 1:
        return None
    # Not `with_suffix`: a name may hold a dot.
    file_name = name if name.endswith(".yaml") else f"{name}.yaml"
    matches = [file for file in shipped_specs() if file.name == file_name]
    if len(matches) > 1:
        names = ", ".join(short_name(file) for file in matches)
        message = f"'{name}' names {len(matches)} shipped specs: {names}"
        raise SpecError.at(place, message, "name the folder, too")
    return matches[0] if matches else None


def near_names(name: str) -> list[str]:
    """Return the shipped names that are nearly `name`, the nearest first."""
    import difflib  # only mistakes need it

    names = [file.stem for file in shipped_specs()]
    return difflib.get_close_matches(Path(name).stem, names, 1)


def short_name(file: Path) -> str:
    """Return a shipped file's name with its folder: `configs_video/VideoQA_shapes_tiny.yaml`."""
    return os.path.join(file.parent.name, file.name)
