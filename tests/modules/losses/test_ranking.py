"""The hinge between pairs of rows."""

from __future__ import annotations

import torch

from modules.losses.ranking import ranking_loss


def test_a_pair_costs_what_it_lacks_of_the_margin() -> None:
    chances = torch.tensor([0.9, 0.8, 0.3])
    logits = torch.logit(chances)[:, None].requires_grad_()
    higher, lower = torch.tensor([0, 0]), torch.tensor([1, 2])
    loss = ranking_loss(logits, higher, lower, margin=0.2)
    assert loss.count.item() == 2
    torch.testing.assert_close(loss.total, torch.tensor(0.1))
    loss.mean().backward()
    assert logits.grad is not None
    # The third row is far enough below: only the first pair moves.
    assert logits.grad[0] < 0 < logits.grad[1]
    assert logits.grad[2] == 0
