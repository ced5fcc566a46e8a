"""Checkpoints that a thread writes while training continues (`train.async_save`)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from mplug2.runtime import distributed
from mplug2.runtime.deferred_writes import DeferredWrites

log = logging.getLogger(__name__)


class BackgroundSaves:
    """Runs one function after another in a thread; all ranks must start the same ones in the same order.

    As a context manager it waits at the end, also after an error, so that no checkpoint stays half written.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        """Make the object; one that is not ``enabled`` never runs anything, and waits for nothing."""
        self.enabled = enabled
        # The threads of all ranks exchange in a separate group: the steps use the other one meanwhile.
        self.group: Any = distributed.cpu_group() if enabled else None
        self.deferred = DeferredWrites()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> BackgroundSaves:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait for the last save. Its error is raised, or logged if the run has failed already."""
        if error is None:
            self.wait()
            return
        self._join()
        if self._error is not None:
            log.error("%s", self._error)

    @property
    def is_done(self) -> bool:
        """Whether nothing is being written."""
        return self._thread is None or not self._thread.is_alive()

    @property
    def has_failed(self) -> bool:
        """Whether the last save has ended with an error, which `wait` will raise."""
        return self.is_done and self._error is not None

    def start(self, save: Callable[[], object]) -> None:
        """Call ``save`` in a thread, after the save before it; raise the error of that one."""
        self.wait()
        self._thread = threading.Thread(target=self._run, args=(save,), name="save")
        self._thread.start()

    def wait(self) -> None:
        """Wait for the save that runs, and raise its error."""
        self._join()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, save: Callable[[], object]) -> None:
        try:
            save()
        except BaseException as error:  # It belongs to the thread that waits.
            self._error = error
