"""Loading a key costs as much for a deep network as for a shallow one: modules are not walked each time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from torch import nn

import mplug2
from mplug2.weights.files import Released
from mplug2.weights.load import load_mapped
from registry import KEY_MAPS, parse_spec

SPEC = """
inputs: {{image: image B 3 8 8}}
modules: {{vision: {{use: image_vit, width: 16, heads: 1, depth: {depth}, patch: 4, size: 8}}}}
flow: {{patches: vision(image)}}
goals: {{predict: {{patches: patches}}}}
"""


def walks_of_a_load(depth: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how often the modules of a network are walked while its own checkpoint is loaded."""
    net = mplug2.compose(
        parse_spec(SPEC.format(depth=depth), "deep.yaml"), initial=False
    )
    released = Released("own.safetensors", net.state_dict())
    walk = nn.Module.named_modules
    walks = 0

    def counted(
        module: nn.Module, *args: Any, **options: Any
    ) -> Iterator[tuple[str, nn.Module]]:
        nonlocal walks
        walks += module is net
        return walk(module, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(nn.Module, "named_modules", counted)
        report = load_mapped(net, KEY_MAPS.load("checkpoint"), released)
    assert len(report.of("loaded")) == len(released.tensors)
    return walks


def test_modules_are_not_walked_for_every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert walks_of_a_load(8, monkeypatch) == walks_of_a_load(1, monkeypatch)
