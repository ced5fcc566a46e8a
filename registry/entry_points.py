"""The entry points of installed packages, read without `importlib.metadata`, which takes 0.1 s to import."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

INFORMATION = (".dist-info", ".egg-info")
LINE = re.compile(r"([^=\s][^=]*?)\s*=\s*([^\[;#]+?)\s*(?:\[.*)?")


@dataclass(frozen=True)
class EntryPoint:
    """A name that a package registers, and its target: `package.module:Name`."""

    name: str
    target: str
    package: str


def entry_points(group: str) -> list[EntryPoint]:
    """Return the entry points of a group, in the order of `sys.path`.

    Of two installations of one package the first counts, as for imports. Packages inside zip files are not
    read.
    """
    points: list[EntryPoint] = []
    packages: set[str] = set()
    # A folder may be in the path twice; '' is the working directory.
    for folder in dict.fromkeys(sys.path):
        for info in _information(folder or os.curdir):
            package = _package(info)
            if package in packages:
                continue
            packages.add(package)
            points += _points(info, package, group)
    return points


def _information(folder: str) -> list[str]:
    """Return the folders of a path that describe installed packages and have entry points, sorted."""
    try:
        changed = os.stat(folder).st_mtime_ns
    except OSError:
        return []
    return list(_listed(folder, changed))


@lru_cache(maxsize=64)
def _listed(folder: str, _changed: int) -> tuple[str, ...]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:  # a file, such as a zip
        return ()
    folders = []
    for name in names:
        if name.endswith(INFORMATION):
            folders.append(os.path.join(folder, name))
    return tuple(folders)


def _package(info: str) -> str:
    """Return the name of a package, normalized: `Example_Package-0.1.dist-info` is `example-package`."""
    name = os.path.basename(info).rpartition(".")[0].partition("-")[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def _points(info: str, package: str, group: str) -> Iterator[EntryPoint]:
    """Yield the entry points of a group in one package."""
    file = os.path.join(info, "entry_points.txt")
    try:
        sections = _sections(file, os.stat(file).st_mtime_ns)
    except (OSError, UnicodeDecodeError):  # The package has none.
        return
    for name, target in sections.get(group, ()):
        yield EntryPoint(name, target, package)


@lru_cache(maxsize=1024)
def _sections(file: str, _changed: int) -> dict[str, list[tuple[str, str]]]:
    """Return the names and targets of each group of a file."""
    with open(file, encoding="utf-8") as stream:
        lines = stream.read().splitlines()
    sections: dict[str, list[tuple[str, str]]] = {}
    group = ""
    for line in lines:
        stripped = line.strip()
        if stripped.startswith("["):
            group = stripped.strip("[]").strip()
        elif match := LINE.fullmatch(stripped):
            sections.setdefault(group, []).append((match[1], match[2]))
    return sections
