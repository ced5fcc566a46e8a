"""The EMA copies of a network, read from a checkpoint: `ema(...)` uses them in training and after it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mplug2.runtime import distributed
from mplug2.runtime.manifest import damage
from mplug2.weights.module_names import in_new_names
from mplug2.weights.store import MOMENTUM, read_tensors
from registry.errors import UserError

log = logging.getLogger(__name__)


Resize = Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], dict[str, Tensor]]


def load_momentum(
    net: Any,
    checkpoint: str | Path,
    *,
    required: bool = False,
    resize: Resize | None = None,
) -> None:
    """Fill the EMA copies of ``net`` from a checkpoint folder or, if it has none, from its own weights.

    Nothing happens for a network without `ema(...)`. Raises UserError if the copies are ``required`` but
    absent, damaged, or those of another network; ``resize(stored, expected)`` may fit them to it.
    """
    expected = net.ema_state_dict()
    file = Path(checkpoint) / MOMENTUM
    if not expected:
        return
    if file.is_file():
        problem = damage(Path(checkpoint), [MOMENTUM])
        if problem is not None:
            raise UserError(problem)
        modules = {name.split(".")[0] for name in expected}
        stored = in_new_names(read_tensors(file), modules, str(file))
        if resize is not None:
            stored = resize(stored, expected)
        missing = [
            name
            for name, tensor in expected.items()
            if name not in stored or stored[name].shape != tensor.shape
        ]
        if missing:
            raise UserError(
                f"{file} must hold the momentum copies of this network, but {len(missing)} are missing or of "
                f"another shape, such as {missing[0]}: `ema(...)` was used for other streams when it was "
                f"written. Use it in the same way, or start a new run from its weights with another "
                f"train.output_dir and init: {{'*': 'checkpoint:{checkpoint}'}}"
            )
        net.load_ema_state_dict(stored)
        return
    if required:
        raise UserError(
            f"{file} is missing, and the checkpoint was written with it: copy it there"
        )
    weights = net.state_dict()
    net.load_ema_state_dict({name: weights[name] for name in expected})
    if distributed.rank() == 0:
        log.warning("%s has no momentum copies: they begin as its weights", checkpoint)
