"""Devices by name, tried before anything is put on them."""

from __future__ import annotations

import torch

from registry.errors import UserError


def usable_device(name: torch.device | str) -> torch.device:
    """Return a device after a trial allocation; UserError if PyTorch cannot use it here."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    # PyTorch raises each of these: an unknown name, a build without that backend, one without its kernels.
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(
            f"device must be one that PyTorch has here, but is {str(name)!r} ({reason})"
        ) from None
    return device
