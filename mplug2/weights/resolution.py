"""The weights of a run in a network for another resolution: positions of patches are resized."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from mplug2.runtime import distributed
from mplug2.runtime.manifest import damage
from mplug2.weights.momentum import load_momentum
from mplug2.weights.shape_fixes import grid_positions
from mplug2.weights.sources import load_source
from mplug2.weights.store import WEIGHTS
from registry.errors import UserError

if TYPE_CHECKING:
    from mplug2.network import Network

log = logging.getLogger(__name__)


def load_at_resolution(net: Network, checkpoint: str | Path) -> None:
    """Load a checkpoint folder or ``.safetensors`` file into a network of another resolution, all or nothing.

    Weights and momentum copies are resized as `init: checkpoint:` resizes them: positions of a square grid by
    bilinear interpolation, as the released code does for CLIP. UserError if the file lacks a weight, or one
    differs in another way.
    """
    path = Path(checkpoint)
    problem = damage(path, [WEIGHTS]) if path.is_dir() else None
    if problem is not None:
        raise UserError(problem)
    report = load_source(net, "checkpoint", str(checkpoint))
    parameters = dict(net.named_parameters())
    absent = [row.target for row in report.of("missing") if row.target in parameters]
    if absent:
        raise UserError(
            f"{checkpoint}: must hold all weights of this network, but {len(absent)} are missing, such as "
            f"{absent[0]}. Is it the checkpoint of this spec?"
        )
    load_momentum(net, checkpoint, resize=resized_positions)
    if distributed.rank() == 0:
        for row in report.of("resized"):
            log.info("resized: %s, %s", row.target, row.reason)


def resized_positions(
    tensors: Mapping[str, Tensor], targets: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return tensors with those of another shape resized where they are positions of a square grid."""
    resized = dict(tensors)
    for name, target in targets.items():
        tensor = tensors.get(name)
        if tensor is None or tensor.shape == target.shape:
            continue
        fitted = (
            grid_positions(tensor, target) if name.endswith("stem.position") else None
        )
        if fitted is not None:
            resized[name] = fitted[0].to(tensor.dtype)
    return resized
