"""Heads: what they pool."""

from __future__ import annotations

import torch

from modules.heads import ClassHead, FeatureHead, ValueHead, pooled
from modules.streams import Tokens


def test_mean_leaves_padding_out_and_first_takes_the_first() -> None:
    torch.manual_seed(0)
    values, mask = (
        torch.randn(2, 4, 8),
        torch.tensor([[True, True, False, False], [True] * 4]),
    )
    torch.testing.assert_close(
        pooled(Tokens(values, mask), "mean")[0], values[0, :2].mean(dim=0)
    )
    torch.testing.assert_close(pooled(Tokens(values), "mean"), values.mean(dim=1))
    torch.testing.assert_close(pooled(Tokens(values, mask), "first"), values[:, 0])
    assert ClassHead(8, 3, pool="mean")(Tokens(values, mask)).shape == (2, 3)


def test_depth_1_is_one_linear_layer() -> None:
    values = torch.randn(2, 4, 8)
    head = ClassHead(8, 2, depth=1, dropout=0.0)
    assert {name for name, _ in head.named_parameters()} == {"out.weight", "out.bias"}
    torch.testing.assert_close(head(Tokens(values)), head.out(values[:, 0]))


def test_a_value_is_the_only_logit() -> None:
    values = Tokens(torch.randn(3, 4, 8))
    head = ValueHead(8, dropout=0.0)
    assert head(values).shape == (3,)
    torch.testing.assert_close(head(values), head.layers(values)[:, 0])


def test_features_have_length_1_in_half_precision_too() -> None:
    head = FeatureHead(8, 4).bfloat16()
    found = head(Tokens(torch.randn(2, 4, 8, dtype=torch.bfloat16)))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(
        found.float().norm(dim=1), torch.ones(2), atol=0.01, rtol=0.0
    )


def test_patches_are_pooled_without_the_class_token() -> None:
    torch.manual_seed(0)
    values, mask = torch.randn(3, 4, 8), torch.tensor([[True, True, True, False]] * 3)
    head = ClassHead(8, 3, pool="patches", depth=1, dropout=0.0, norm="layer")
    assert isinstance(head.norm, torch.nn.LayerNorm)
    torch.nn.init.normal_(head.norm.bias)
    torch.testing.assert_close(
        head(Tokens(values)), head.out(head.norm(values[:, 1:].mean(dim=1)))
    )
    torch.testing.assert_close(
        head(Tokens(values, mask)), head.out(head.norm(values[:, 1:3].mean(dim=1)))
    )


def test_a_feature_head_without_bias() -> None:
    head = FeatureHead(8, 4, bias=False)
    assert [name for name, _ in head.named_parameters()] == ["linear.weight"]
    torch.testing.assert_close(
        head(Tokens(torch.randn(3, 4, 8))).norm(dim=-1), torch.ones(3)
    )
