"""The self-critical objective: its gradient is that of the policy gradient theorem."""

import pytest
import torch

from modules.losses.self_critical import self_critical
from modules.streams import Sequences

REWARD = torch.tensor([[1.0, 3.0, 5.0], [2.0, 2.0, 8.0]])


def _gradient(baseline: torch.Tensor | None, **options: str) -> torch.Tensor:
    scores = torch.zeros(2, 3, requires_grad=True)
    ids = torch.zeros(2, 3, 4, dtype=torch.long)
    self_critical(Sequences(ids, scores), REWARD, baseline, **options).mean().backward()
    assert scores.grad is not None
    return scores.grad


def test_the_gradient_is_the_advantage_over_the_others() -> None:
    others = torch.tensor([[4.0, 3.0, 2.0], [5.0, 5.0, 2.0]])
    torch.testing.assert_close(_gradient(None), -(REWARD - others) / 6)


def test_the_gradient_is_the_advantage_over_the_baseline() -> None:
    baseline = torch.tensor([[2.0], [4.0]])
    torch.testing.assert_close(_gradient(baseline), -(REWARD - baseline) / 6)


def test_the_released_advantage_is_over_all_texts() -> None:
    torch.testing.assert_close(
        _gradient(None, baseline_mode="all"),
        -(REWARD - REWARD.mean(1, keepdim=True)) / 6,
    )
    torch.testing.assert_close(
        _gradient(None, baseline_mode="all") * 3 / 2, _gradient(None)
    )


def test_climbing_finds_the_rewarded_word() -> None:
    """A policy over four words, of which one is rewarded: its probability rises to nearly one."""
    torch.manual_seed(0)
    logits = torch.zeros(4, requires_grad=True)
    for _ in range(200):
        words = torch.distributions.Categorical(logits=logits.detach()).sample((1, 8))
        scores = logits.log_softmax(dim=0)[words]
        (step,) = torch.autograd.grad(
            self_critical(
                Sequences(words[..., None], scores), (words == 2).float()
            ).mean(),
            logits,
        )
        logits = (logits - step).detach().requires_grad_()
    assert logits.softmax(dim=0)[2] > 0.95


def test_a_single_text_has_no_others() -> None:
    with pytest.raises(ValueError, match="n=2 or more"):
        self_critical(
            Sequences(torch.zeros(2, 1, 3, dtype=torch.long), torch.zeros(2, 1)),
            torch.zeros(2, 1),
        ).mean()
