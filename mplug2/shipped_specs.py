"""Where the specs that mplug2 ships are."""

from __future__ import annotations

import os
from pathlib import Path


def spec_folder(package: str) -> Path:
    """Return the folder with `configs_video` and the others: inside the package if it was installed from a
    wheel, next to it in a checkout."""
    installed = os.path.join(package, "specs")
    return Path(installed if os.path.isdir(installed) else os.path.dirname(package))
