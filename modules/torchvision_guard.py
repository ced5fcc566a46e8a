"""Let timm and transformers import where torchvision's operators were compiled for another build of torch.

torchvision 0.28 from the package index carries CUDA operators. With a CPU build of torch its library cannot
be loaded, ``import torchvision`` fails, and timm and transformers fail with it, although neither needs those
operators.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys

_MISSING = "operator torchvision::nms does not exist"
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
# An operator disappears with the library object that defined it, so the objects are kept.
_libraries: list[object] = []


def ensure_torchvision() -> None:
    """Import torchvision once, defining its two missing operators if, and only if, they are what it lacks.

    Call before the first import of timm or transformers. On a healthy install this is a plain import; where
    torchvision is absent nothing happens; every other error of the import is passed on.
    """
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        # Any other error is a fault of the installation that must be seen.
        if _MISSING not in str(error):
            raise
        _forget_half_imported()
        _define_operators()
        importlib.import_module("torchvision")


def _forget_half_imported() -> None:
    # A copy of the names, since the loop deletes from the mapping.
    for name in list(sys.modules):
        if name == "torchvision" or name.startswith("torchvision."):
            del sys.modules[name]


def _define_operators() -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(name + _SIGNATURE)
    _libraries.append(library)
