"""Dry runs that found nothing wrong, remembered in a folder of the user's cache.

Each is an empty file whose name is the fingerprint of the network and its code. A cache that cannot be read
or written is ignored: the dry run then runs again.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from registry.user_cache import cache_folder, prune

MOST_ENTRIES = 500
NAME = re.compile(r"[0-9a-f]{64}")


def folder() -> Path:
    """Return the folder of the cache."""
    return cache_folder("dry_runs")


def is_known(fingerprint: str) -> bool:
    """Return whether a dry run of this fingerprint has passed before."""
    file = folder() / fingerprint
    try:
        known = file.is_file()
    except OSError:
        return False
    if known:
        with contextlib.suppress(OSError):  # Only the order of deletion depends on it.
            os.utime(file)
    return known


def remember(fingerprint: str) -> None:
    """Record that a dry run has passed; the oldest entries above `MOST_ENTRIES` are deleted."""
    with contextlib.suppress(OSError):
        folder().mkdir(parents=True, exist_ok=True)
        # An empty file is complete as soon as it exists: no other process can read a part of it.
        (folder() / fingerprint).touch()
        prune(folder(), NAME, MOST_ENTRIES)
