"""State dicts of the shipped specs from before their modules had their present names."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping

from torch import Tensor

from registry.language.aliases import module_names
from registry.language.renames import RenamedWarning


def new_keys(
    stored: Iterable[str], modules: Collection[str], origin: str
) -> dict[str, str]:
    """Return the key of each weight in a file by its present name.

    ``modules``: the modules of the network. ``origin``: the file, for the warning of an old name.
    """
    keys = list(stored)
    names = module_names(dict.fromkeys(modules), {key.split(".")[0] for key in keys})
    for old, new in names.items():
        message = f"{origin}: module '{old}' is now '{new}'"
        warnings.warn(message, RenamedWarning, stacklevel=3)
    present: dict[str, str] = {}
    for key in keys:
        module, dot, rest = key.partition(".")
        present[names.get(module, module) + dot + rest] = key
    return present


def in_new_names(
    tensors: Mapping[str, Tensor], modules: Collection[str], origin: str
) -> dict[str, Tensor]:
    """Return the tensors of a file by the present names of their modules."""
    return {
        name: tensors[key] for name, key in new_keys(tensors, modules, origin).items()
    }
