"""Results of earlier processes, kept in a folder of the user's cache so that they need not be computed again.

Every entry is a JSON file. A cache that cannot be read or written, or an entry that is damaged, is ignored:
the result is then computed as if there were no cache.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
import zlib
from pathlib import Path
from typing import Any

# An entry, or one that an interrupted process left in part.
NAME = re.compile(r"[0-9a-f]{8}\.\S+")
# Seconds: a file may change twice within one tick of the file system's clock.
RECENT = 2.0


def cache_folder(name: str) -> Path:
    """Return the folder of a cache: `mplug2/NAME` in XDG_CACHE_HOME, or else in ~/.cache."""
    home_cache = os.path.join(os.path.expanduser("~"), ".cache")
    # Empty means not set (XDG Base Directory Specification).
    base = os.environ.get("XDG_CACHE_HOME") or home_cache
    return Path(base) / "mplug2" / name


def file_state(file: str) -> str:
    """Return a text that changes when a file does: its path, size and time of change; raise `OSError`."""
    state = os.stat(file)
    return f"{os.path.abspath(file)} {state.st_size} {state.st_mtime_ns}"


def is_recent(file: str) -> bool:
    """Return whether a file changed so recently that `file_state` may miss the next change."""
    return time.time() - os.stat(file).st_mtime < RECENT


def prune(folder: Path, name: re.Pattern[str], most_entries: int) -> None:
    """Delete the oldest files whose names match, if there are more than `most_entries`; raise `OSError`.

    A tenth of them goes at once, so that in a full folder only every so many calls must ask for all times.
    """
    entries = [entry for entry in os.scandir(folder) if name.fullmatch(entry.name)]
    if len(entries) <= most_entries:
        return
    entries.sort(key=lambda entry: entry.stat().st_mtime_ns)
    num_kept = most_entries - most_entries // 10
    for entry in entries[: len(entries) - num_kept]:
        with contextlib.suppress(FileNotFoundError):  # Another process deletes, too.
            os.unlink(entry.path)


class UserCache:
    """JSON values by a text; at most `most_entries` are kept, and those that were written last."""

    def __init__(self, name: str, most_entries: int) -> None:
        self.name = name
        self.most_entries = most_entries

    def read(self, key: str) -> Any:
        """Return the value of a key, or None."""
        try:
            content = json.loads(self._file(key).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        # Two keys may have the same checksum, so the entry holds its key, too.
        is_entry = isinstance(content, list) and len(content) == 2 and content[0] == key
        return content[1] if is_entry else None

    def write(self, key: str, value: Any) -> None:
        """Store a value; one that JSON cannot represent is not stored."""
        file = self._file(key)
        part = file.with_suffix(f".{os.getpid()}-{time.monotonic_ns()}")
        with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
            content = json.dumps([key, value])
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                part.write_text(content, encoding="utf-8")
                # In one step: no other process reads an entry that is written in part.
                os.replace(part, file)
            except OSError:
                part.unlink(missing_ok=True)
                raise
            prune(file.parent, NAME, self.most_entries)

    def _file(self, key: str) -> Path:
        checksum = zlib.crc32(key.encode("utf-8", "surrogatepass"))
        return cache_folder(self.name) / f"{checksum:08x}.json"
