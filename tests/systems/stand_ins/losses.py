"""A loss with soft targets."""

from __future__ import annotations

from torch import Tensor

from registry import operation

TEMPERATURE = 0.07


@operation(
    inputs={"vision": "vector B width", "text": "vector B width", "target": "scores B B"},
    outputs="scalar",
)
def soft_contrastive(vision: Tensor, text: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of the similarities of vision and text with a distribution over all texts of a batch."""
    logits = vision.float() @ text.float().T / TEMPERATURE
    return -(target.detach() * logits.log_softmax(dim=-1)).sum(dim=-1).mean()
