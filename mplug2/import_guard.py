"""Make sure that `registry` and `modules` are mplug2's own: another package may hide such common names."""

from __future__ import annotations

import importlib.util
import os

LOWER_FLOORS = ("registry", "modules")


def check_neighbours(home: str) -> None:
    """Raise ImportError unless each lower layer is in ``home``, next to mplug2; nothing is imported."""
    for name in LOWER_FLOORS:
        found = _location(name)
        wanted = os.path.join(home, name)
        if found is None:
            raise ImportError(
                f"mplug2 needs its package '{name}' at {wanted}, but Python finds none: install mplug2 "
                f"completely (sh scripts/setup.sh, or pip install -e .), or keep its three packages "
                f"together",
                name=name,
            )
        if os.path.realpath(found) != os.path.realpath(wanted):
            raise ImportError(
                f"mplug2 needs its own package '{name}' at {wanted}, but Python finds {found}, which comes "
                "first in sys.path and hides it: rename or uninstall it, start in another folder, or put "
                f"PYTHONPATH={home} before the command",
                name=name,
                path=found,
            )


def _location(name: str) -> str | None:
    """The folder (or file) that ``import name`` would take, None if there is none."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.origin is not None and os.path.basename(spec.origin) != "__init__.py":
        return spec.origin
    folders = list(spec.submodule_search_locations or ())
    return folders[0] if folders else spec.origin
