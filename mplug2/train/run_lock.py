"""One training a run folder: a lock that two processes cannot hold, here or on another host.

The kernel locks the file ``lock.json``, so the lock of a process that was killed is free at once. Its text
names the holder. Some network drives keep kernel locks to one host: for these the holder touches the file
every few seconds, and another host takes over only when it was not touched for a while.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from mplug2.runtime import distributed
from registry import UserError

LOCK = "lock.json"
BEAT_SECONDS = 20.0
STALE_SECONDS = 120.0  # without a touch: the host of the holder is down
_HELD: dict[Path, RunLock] = {}


@contextlib.contextmanager
def run_locks() -> Iterator[None]:
    """Release on exit all run folders that were locked inside."""
    before = set(_HELD)
    try:
        yield
    finally:
        for folder in set(_HELD) - before:
            _HELD.pop(folder).release()


def lock_run_folder(folder: Path) -> str | None:
    """Lock a run folder for this process until `run_locks` ends; return the problem if another one holds it.

    A folder that this process holds already stays locked.
    """
    folder = folder.resolve()
    lock = _HELD.get(folder)
    if lock is not None and lock.is_in_place():
        return None
    try:
        lock = RunLock(folder)
    except UserError as error:
        return str(error)
    except OSError as error:
        return f"{folder / LOCK} cannot be written ({error.strerror})"
    _HELD[folder] = lock
    return None


def lost_run_folder(folder: Path) -> str | None:
    """Return why a run must not write to its folder any more: it was removed, or is another run's."""
    if not folder.is_dir():
        return (
            f"the run folder {folder} is gone: it was removed or renamed while the run was under way. What "
            "was trained after its last checkpoint is lost"
        )
    lock = _HELD.get(folder.resolve())
    if lock is None or lock.is_in_place():
        return None
    # The folder, or its lock alone, was removed: locking it again finds out who writes there now.
    return lock_run_folder(folder)


class RunLock:
    """The lock of a run folder, held until `release` or the end of the process.

    UserError if another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / LOCK
        self._handle = self._lock()
        holder = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "rank": distributed.rank(),
        }
        # Who holds it is for messages, and for other hosts.
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, json.dumps(holder).encode(), 0)
        self._released = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    def is_in_place(self) -> bool:
        """Return whether the locked file is still the one in the folder."""
        with contextlib.suppress(OSError):
            return os.path.samestat(self.file.stat(), os.fstat(self._handle))
        return False

    def release(self) -> None:
        """Remove the lock."""
        self._released.set()
        if self.is_in_place():
            self.file.unlink(missing_ok=True)
        os.close(self._handle)

    def _lock(self) -> int:
        while True:
            handle = os.open(self.file, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                self._raise_if_held(handle)
                # The holder may have removed the file between the two calls: then the lock is worth nothing.
                if os.path.samestat(self.file.stat(), os.fstat(handle)):
                    return handle
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)

    def _raise_if_held(self, handle: int) -> None:
        holder = _holder(handle)
        try:
            # Not `flock`: its locks outlive a killed trainer in the workers that it started.
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            raise UserError(_occupied(self.file, holder)) from None
        # Network file systems may not pass locks on to other hosts: there the touches of the holder count.
        host = holder.get("host")
        is_elsewhere = host not in (None, socket.gethostname())
        if is_elsewhere and _seconds_untouched(handle) < STALE_SECONDS:
            raise UserError(_occupied(self.file, holder))

    def _beat(self) -> None:
        while not self._released.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(self._handle)


def _holder(handle: int) -> dict[str, object]:
    """Return what a lock file holds about its holder; nothing if it is empty or half written."""
    try:
        holder = json.loads(os.pread(handle, 1000, 0))
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _seconds_untouched(handle: int) -> float:
    """Return how long ago a lock file was touched by the time of its disk, which is kept."""
    # In the time of the disk: the clocks of two hosts may differ by minutes.
    before = os.fstat(handle).st_mtime
    content = os.pread(handle, 1000, 0)
    os.pwrite(handle, content, 0)
    os.fsync(handle)
    after = os.fstat(handle).st_mtime
    os.utime(handle, (before, before))
    return after - before


def _occupied(file: Path, holder: dict[str, object]) -> str:
    text = "another process"
    if holder:
        text = f"process {holder.get('process')} on {holder.get('host')}"
    return (
        f"{file.parent} must belong to one training, but {text} trains into it now. Wait for it or stop it, "
        f"or choose another train.output_dir. If it no longer exists, its lock is free after "
        f"{STALE_SECONDS:g} s"
    )
