"""Write files atomically: a reader sees the complete file or no file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from registry.errors import UserError


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[TextIO]:
    """Open ``path`` to be written under another name, which it loses for its own once all is on the disk."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            # Before the rename: after a crash, a complete name must not have half a content.
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error})") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
