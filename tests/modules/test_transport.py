"""Optimal transport: a plan that keeps its masses and finds the cheap pairs, and the sign of its loss."""

from __future__ import annotations

import torch

from modules.streams import Tokens
from modules.transport import optimal_transport, transport_loss, transport_plan


def test_a_plan_keeps_its_masses() -> None:
    torch.manual_seed(0)
    words = torch.tensor([[True] * 4, [True, True, False, False]])
    regions = torch.tensor([[True] * 3, [True, True, False]])
    plan = transport_plan(torch.rand(2, 4, 3), words, regions)
    # The last update fits the words exactly, and the regions as far as the iteration has converged.
    expected = words / words.sum(dim=1, keepdim=True)
    torch.testing.assert_close(plan.sum(dim=2), expected)
    shares = regions / regions.sum(dim=1, keepdim=True)
    torch.testing.assert_close(plan.sum(dim=1), shares, atol=1e-3, rtol=0.0)


def test_each_word_goes_to_the_region_like_it() -> None:
    vectors = torch.eye(3)
    order = torch.tensor([2, 0, 1])
    outputs = optimal_transport(Tokens(vectors[None]), Tokens(vectors[order][None]))
    assert outputs["plan"][0].argmax(dim=1).tolist() == order.argsort().tolist()
    assert outputs["distance"].item() < 0.01
    blind = optimal_transport(Tokens(vectors[None]), Tokens(torch.ones(1, 3, 3)))
    assert blind["distance"].item() > 0.4


def test_no_gradient_flows_through_the_plan() -> None:
    torch.manual_seed(0)
    text, regions = torch.randn(1, 2, 4, requires_grad=True), torch.randn(1, 3, 4)
    outputs = optimal_transport(Tokens(text), Tokens(regions))
    assert not outputs["plan"].requires_grad
    (gradient,) = torch.autograd.grad(
        outputs["distance"].sum(), text, retain_graph=True
    )
    fixed = (outputs["cost"] * outputs["plan"]).sum()
    torch.testing.assert_close(gradient, torch.autograd.grad(fixed, text)[0])


def test_matched_pairs_count_against_the_others() -> None:
    loss = transport_loss(torch.tensor([0.5, 2.0, 1.0]), torch.tensor([1, 0, 1]))
    assert loss.count.item() == 3
    torch.testing.assert_close(loss.mean(), torch.tensor((0.5 - 2.0 + 1.0) / 3))
