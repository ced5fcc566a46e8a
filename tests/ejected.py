"""Ejected networks: built from their file, and compared with the network that the spec composes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import mplug2
from mplug2.build.eject import eject
from mplug2.build.smoke import rehearse, tiny_batch
from registry import Spec
from registry.training import LOSS


def ejected_network(spec: Spec, folder: Path) -> nn.Module:
    """Build the network of a spec from its written file, with the random weights of seed 0."""
    file = folder / f"net_{abs(hash(spec.path))}.py"
    file.write_text(eject(spec), encoding="utf-8")
    loaded = importlib.util.spec_from_file_location(file.stem, file)
    assert loaded is not None
    assert loaded.loader is not None
    module = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(module)
    classes = []
    for value in vars(module).values():
        if isinstance(value, type) and value.__module__ == file.stem:
            classes.append(value)
    torch.manual_seed(0)
    network: nn.Module = classes[0]()
    return network


def tensors_of(value: Any) -> list[Tensor]:
    """Return the tensors in an output, or in all outputs of a goal."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if not isinstance(value, tuple):
        return [value]
    tensors: list[Tensor] = []
    for part in value:
        if part is not None:
            tensors += tensors_of(part)
    return tensors


def assert_same_network(spec: Spec, ejected: nn.Module) -> None:
    """Assert that both networks give the same bits for every goal, and for the gradients of all losses."""
    torch.manual_seed(0)
    composed = mplug2.compose(spec, initial=False)
    assert list(ejected.state_dict()) == list(composed.state_dict())
    for left, right in zip(ejected.parameters(), composed.parameters(), strict=True):
        assert torch.equal(left, right)
        assert left.requires_grad == right.requires_grad
    networks = (composed, ejected)
    for network in networks:
        rehearse(network)
    for goal, outputs_of_goal in spec.goals.items():
        has_loss = LOSS in outputs_of_goal
        batch = tiny_batch(composed, goal)
        outputs = []
        for network in networks:
            torch.manual_seed(1)  # dropout
            outputs.append(network.train(has_loss)(batch, goal))
        assert list(outputs[0]) == list(outputs[1])
        for left, right in zip(
            tensors_of(outputs[0]), tensors_of(outputs[1]), strict=True
        ):
            assert torch.equal(left, right)
        if has_loss:
            for values in outputs:
                values[LOSS].backward()
    for left, right in zip(ejected.parameters(), composed.parameters(), strict=True):
        if left.grad is None or right.grad is None:
            assert left.grad is right.grad
        else:
            assert torch.equal(left.grad, right.grad)
