"""Attention to a memory that is not projected: the same numbers, by the rule of costs."""

import pytest
import torch
from torch import Tensor

from modules import memory_attention as module
from modules.adapters import adapt_linear
from modules.attention import KeysValues, MultiheadAttention
from modules.memory_attention import flops_projected, flops_unprojected, pays


def _layer(
    dropout: float = 0.0, kind: torch.dtype = torch.float64
) -> MultiheadAttention:
    torch.manual_seed(0)
    layer = MultiheadAttention(12, heads=3, dropout=dropout).to(kind)
    for bias in (layer.key.bias, layer.value.bias):
        torch.nn.init.normal_(bias)
    return layer


def _run(
    layer: MultiheadAttention, memory: Tensor | KeysValues, mask: Tensor | None
) -> list[Tensor]:
    """Return the output, and the gradients of the queries and all weights."""
    torch.manual_seed(1)
    x = torch.randn(2, 4, 12, dtype=layer.out.weight.dtype, requires_grad=True)
    out = layer(x, memory, mask)
    inputs = [x, *layer.parameters()]
    gradients = torch.autograd.grad(out.square().sum(), inputs)
    return [out, *gradients]


@pytest.mark.parametrize("masked", ["none", "padding", "heads", "sees nothing"])
def test_it_equals_attention_to_keys_and_values(
    masked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = _layer()
    memory = torch.randn(2, 7, 12, dtype=torch.float64)
    mask = None
    if masked == "padding":
        mask = torch.tensor([[True] * 7, [True] * 4 + [False] * 3])[:, None, None]
    elif masked == "heads":
        mask = torch.rand(2, 3, 4, 7) < 0.7
    elif masked == "sees nothing":
        mask = torch.tensor([[True] * 7, [False] * 7])[:, None, None]
    monkeypatch.setattr(module, "LEAST_SAVING", -(10**9))
    monkeypatch.setattr(module, "LEAST_RATIO", 0.0)
    found = _run(layer, memory, mask)
    expected = _run(layer, layer.project_kv(memory), mask)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_dropout_scales_the_bias_of_values_as_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LEAST_SAVING", -(10**9))
    monkeypatch.setattr(module, "LEAST_RATIO", 0.0)
    layer = _layer(dropout=0.5)
    layer.value.weight.data.zero_()
    layer.out.weight.data.copy_(torch.eye(12))
    layer.out.bias.data.zero_()
    layer.value.bias.data.fill_(1.0)
    x, memory = torch.zeros(8, 50, 12).double(), torch.zeros(8, 4, 12).double()
    # all weights are 1/4 and all values 1: an output is half of the number of weights kept
    halves = layer(x, memory)[..., ::4] * 2
    torch.testing.assert_close(halves, halves.round())
    shares = [(halves.round() == count).double().mean().item() for count in range(5)]
    # 1,200 draws of the binomial distribution
    assert shares == pytest.approx([1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16], abs=0.06)


def test_adapted_and_observed_projections_are_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LEAST_SAVING", -(10**9))
    monkeypatch.setattr(module, "LEAST_RATIO", 0.0)
    observed, adapted, memory = _layer(), _layer(), torch.randn(2, 7, 12).double()
    calls = []
    observed.value.register_forward_hook(lambda *_: calls.append("value"))
    _run(observed, memory, None)
    assert calls == ["value"]
    adapt_linear(adapted.key, 2, 4.0)
    torch.nn.init.normal_(adapted.key.lora_up)
    found = _run(adapted, memory, None)[0]
    expected = _run(adapted, adapted.project_kv(memory), None)[0]
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, _run(_layer(), memory, None)[0])


def test_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = _layer(kind=torch.float32)
    x, memory = torch.randn(2, 4, 12), torch.randn(2, 7, 12)
    with torch.autocast("cpu", torch.bfloat16):
        expected = layer(x, layer.project_kv(memory))
        monkeypatch.setattr(module, "LEAST_SAVING", -(10**9))
        monkeypatch.setattr(module, "LEAST_RATIO", 0.0)
        found = layer(x, memory)
    assert found.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected, rtol=5e-2, atol=5e-2)


def test_the_rule_compares_costs() -> None:
    # by hand: 2 x 2 x 10 x 8^2 + 2 x 2 x 3 x 10 x 8, and with 4 heads 2 x 2 x 3 x 8^2 + 4 times the latter
    assert flops_projected(1, 3, 10, 8) == 2560 + 960
    assert flops_unprojected(1, 3, 10, 8, 4) == 768 + 3840
    memory = torch.empty(2, 1569, 768)
    assert pays(torch.empty(2, 16, 768), memory, 12)
    assert pays(torch.empty(2, 32, 768), memory, 12)
    assert not pays(torch.empty(2, 50, 768), memory, 12)
    # so little work that the number of operations decides
    assert not pays(torch.empty(2, 4, 64), torch.empty(2, 17, 64), 1)
    assert not pays(torch.empty(2, 4, 768, device="meta"), memory, 12)
