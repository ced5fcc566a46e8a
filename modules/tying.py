"""Transposed ties: a weight of one module that is the transpose of a parameter of another."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

_OWNERS = "_transposed_owners"


def tie_transposed(
    module: nn.Module, name: str, owner: nn.Module, owner_name: str
) -> None:
    """Make ``module.name`` [A, B] the transpose of the parameter ``owner.owner_name`` [B, A].

    The weight is computed from the parameter at each access. It is not a parameter: optimizers, state
    dicts and engines see the owner's parameter alone, which gets the gradients of both uses.
    """
    # A parameter of that name would hide the property.
    del module._parameters[name]
    # In a dict, so that the owner does not become a submodule. `copy.deepcopy` maps it to the owner's copy.
    owners: dict[str, tuple[nn.Module, str]] = module.__dict__.setdefault(_OWNERS, {})
    owners[name] = (owner, owner_name)
    original = type(module)
    attributes: dict[str, Any] = {
        name: property(_reader(name)),
        "__module__": original.__module__,
        "__qualname__": original.__qualname__,
    }
    # A property belongs to a class, and other instances of the class keep their parameter.
    module.__class__ = type(original.__name__, (original,), attributes)


def _reader(name: str) -> Any:
    """Return the getter of a transposed weight."""

    def read(module: nn.Module) -> Tensor:
        owner, owner_name = module.__dict__[_OWNERS][name]
        # Through the owner's attribute: ZeRO 3 gathers a parameter when it is read there.
        weight: Tensor = getattr(owner, owner_name)
        return weight.T

    return read
