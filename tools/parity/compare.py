"""Compare a fixture of any kind known here with a composed network."""

from __future__ import annotations

from pathlib import Path

from tools.parity import mplug2_compare, mplug_compare
from tools.parity.rows import Row


def compare(folder: Path) -> list[Row]:
    """All rows of the fixture in ``folder``; UserError if it is no fixture of a kind known here."""
    # mPLUG's numbers of a configuration lie in a file of their own, mPLUG-2's in meta.json
    family = mplug_compare if any(folder.glob("*config.json")) else mplug2_compare
    return family.compare(folder)
