"""Ctrl-C, SIGTERM and SIGHUP ask a run to stop after the step under way; a second Ctrl-C stops it at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def ignore_signals(*_: object) -> None:
    """Ignore the signals that ask a run to stop in a worker process, so that it finishes the batch that the
    trainer waits for.

    SIGTERM from the parent itself is obeyed: so it ends its workers where they do not end by themselves.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # macOS does not report who sent a signal.
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(
            target=_await_parent, args=(os.getppid(),), daemon=True
        ).start()


def _await_parent(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        continue
    os._exit(0)


class Interrupts:
    """While open, ``stop_requested`` is True if the user wants the run to stop."""

    def __init__(self) -> None:
        self.stop_requested = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        # Python allows handlers in the main thread alone.
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                # `nohup` has a run ignore SIGHUP: it continues when its terminal closes.
                if (
                    number != signal.SIGHUP
                    or signal.getsignal(number) != signal.SIG_IGN
                ):
                    self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.stop_requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.stop_requested = True
