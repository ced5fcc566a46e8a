"""Layer-wise decay of the learning rate: layers farther from the output learn more slowly."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from registry.errors import UserError

_LAYER = re.compile(r"(.*?)\.(\d+)\.")


def layer_scales(names: Sequence[str], decays: Mapping[str, float]) -> dict[str, float]:
    """Return the factor of the learning rate for each parameter of the modules in ``decays``.

    ``names`` are all parameters, in the order of the network. Of a module with numbered layers 0 to n - 1,
    layer i has the factor ``decay ** (n - i)``, what comes before the layers (patches, positions)
    ``decay ** (n + 1)``, and what follows them 1 (arXiv 2106.08254, as in the released code of BEiT).
    Raises UserError for a module that does not exist, or without numbered layers.
    """
    scales: dict[str, float] = {}
    for module, decay in decays.items():
        members = [name for name in names if name.startswith(f"{module}.")]
        if not members:
            modules = dict.fromkeys(name.split(".")[0] for name in names)
            raise UserError(
                f"train.layer_decay: there is no module with parameters of this name (got {module!r}). "
                f"Modules: {', '.join(modules)}"
            )
        layers = _layer_numbers(members)
        if not layers:
            raise UserError(
                f"train.layer_decay: the module must have numbered layers (got {module!r}). Name one with "
                "blocks, such as a vision transformer, or one of its parts"
            )
        num_layers = max(layers.values()) + 1
        # Parameters before the first layer are farthest from the output, those after the last one nearest.
        first = min(members.index(name) for name in layers)
        for position, name in enumerate(members):
            distance = num_layers + 1 if position < first else 0
            if name in layers:
                distance = num_layers - layers[name]
            scales[name] = decay**distance
    return scales


def _layer_numbers(members: Sequence[str]) -> dict[str, int]:
    """Return the layer of each parameter in the longest list of layers of a module."""
    lists: dict[str, dict[str, int]] = {}
    for name in members:
        match = _LAYER.match(name)
        if match:
            lists.setdefault(match[1], {})[name] = int(match[2])
    # A module may have short lists, too, such as the stem: the longest is that of its layers.
    return max(lists.values(), key=lambda layers: max(layers.values()), default={})
