"""The self-critical objective: texts that were rewarded above a baseline become likelier."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from modules.losses.reduction import LossSum, count_of
from modules.streams import Sequences
from registry import operation


def reward_count(reward: Float[Tensor, "b n"]) -> Float[Tensor, ""]:
    """Return the number of texts."""
    return count_of(reward.numel(), reward)


@operation(
    inputs={
        "texts": "sequences B n",
        "reward": "scores B n",
        "baseline?": "scores B m",
    },
    outputs="scalar",
    count=reward_count,
)
def self_critical(
    texts: Sequences,
    reward: Float[Tensor, "b n"],
    baseline: Float[Tensor, "b m"] | None = None,
    *,
    baseline_mode: Literal["others", "all"] = "others",
) -> LossSum:
    """``-mean((reward - baseline) * score)`` over all texts of all ranks (REINFORCE; arXiv 1612.00563).

    ``texts``: scores with gradient, as `score_sequences` gives them. ``baseline``: the reward of other texts,
    such as the greedy one, averaged for each sample; without it the mean reward of the sample's other texts
    (arXiv 2003.09971), or ``baseline_mode='all'`` of them: released mPLUG's, a loss ``(n - 1) / n`` times as
    large.
    """
    count = reward.shape[1]
    # (b, 1), or (b, n) where each text has a different baseline
    if baseline is not None:
        expected_reward = baseline.mean(dim=1, keepdim=True)
    elif count == 1:
        raise ValueError(
            "a single text has no others to compare with: draw n=2 or more, or give a baseline"
        )
    elif baseline_mode == "all":
        expected_reward = reward.mean(dim=1, keepdim=True)
    else:
        expected_reward = (reward.sum(dim=1, keepdim=True) - reward) / (count - 1)
    # REINFORCE: the gradient goes through the scores of the texts, never through their rewards.
    advantage = (reward - expected_reward).detach()
    return LossSum(-(advantage * texts.scores).sum(), reward_count(reward))
