"""docs/extending/key_map.md: its family reads ten keys, writes the same ten, and accounts for each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

import mplug2
from mplug2.build.convert import export_file, import_file
from mplug2.weights.sources import load_tensors
from registry import KEY_MAPS, UserError, check, parse_spec

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extending" / "key_map.md"
SPEC = """
inputs: {tokens: tokens B N 6}
modules:
  layer: {use: project, width_in: 6, width: 4}
  out: {use: feature_head, width_in: 4, width: 3}
flow:
  hidden: layer(tokens)
  features: out(hidden)
goals: {predict: {features: features}}
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(
        r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    (tmp_path / "toy_family.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(KEY_MAPS, "_entries", dict(KEY_MAPS._entries))
    KEY_MAPS.register("toy", "toy_family:KEY_MAP")


def released() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {
        "encoder.proj.w": torch.randn(6, 4),
        "encoder.proj.b": torch.randn(4),
        "encoder.norm.weight": torch.randn(4),
        "encoder.norm.bias": torch.randn(4),
        "head.weight": torch.randn(3, 4),
        "head.bias": torch.randn(3),
        "head_ema.weight": torch.randn(3, 4),
        "head_ema.bias": torch.randn(3),
        "position_ids": torch.arange(4)[None],
        "aux.weight": torch.randn(2),
    }


@pytest.mark.usefixtures("toy")
def test_there_and_back(tmp_path: Path) -> None:
    tensors = {
        key: value.half() if value.is_floating_point() else value
        for key, value in released().items()
    }
    torch.save({"module": tensors}, tmp_path / "original.pth")
    (tmp_path / "toy.yaml").write_text(SPEC)
    text = import_file(
        tmp_path / "original.pth",
        tmp_path / "toy.yaml",
        tmp_path / "ours.safetensors",
        "toy",
    )
    assert "6 loaded, 4 dropped" in text
    export_file(
        tmp_path / "ours.safetensors",
        tmp_path / "toy.yaml",
        tmp_path / "back.pth",
        "toy",
    )
    back = torch.load(tmp_path / "back.pth", weights_only=True)["module"]
    assert list(back) == list(tensors)
    for key, value in tensors.items():
        assert back[key].dtype == value.dtype and torch.equal(back[key], value), key


@pytest.mark.usefixtures("toy")
def test_every_key_has_its_reason() -> None:
    net = mplug2.compose(parse_spec(SPEC, "toy.yaml"), initial=False)
    tensors = released()
    report = load_tensors(net, "toy", tensors | {"other": torch.zeros(1)})
    assert torch.equal(
        net.get_parameter("layer.linear.weight"), tensors["encoder.proj.w"].T
    )
    assert {row.source: row.reason for row in report.of("dropped")} == {
        "head_ema.weight": "a momentum copy, and this network keeps none",
        "head_ema.bias": "a momentum copy, and this network keeps none",
        "position_ids": "a constant",
        "aux.weight": "a head of pre-training",
        "other": "not a key of Toy",
    }
    with pytest.raises(UserError, match=r"file has \[5, 4\], network has \[4, 6\]"):
        load_tensors(net, "toy", tensors | {"encoder.proj.w": torch.zeros(5, 4)})


@pytest.mark.usefixtures("toy")
def test_a_spec_names_it(tmp_path: Path) -> None:
    torch.save(released(), tmp_path / "original.pth")
    text = SPEC + f"init: {{'*': 'toy:{tmp_path}/original.pth'}}\n"
    assert check(parse_spec(text, "toy.yaml"), files=True).good
    net = mplug2.compose(parse_spec(text, "toy.yaml"))
    assert torch.equal(net.get_parameter("out.linear.bias"), released()["head.bias"])


def test_the_page_is_short() -> None:
    assert len(PAGE.read_text(encoding="utf-8").splitlines()) <= 60
