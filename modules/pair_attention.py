"""Two images under one text: each attends to the other (UNITER's paired attention, arXiv 1909.11740)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from modules.attention import MultiheadAttention, init_weights, key_mask
from modules.sizes import check_sizes
from modules.streams import Tokens
from modules.vector_heads import PADDING_SCORE


class PairAttention(nn.Module):
    """One vector of two encoded images with their text: each attends to the other, and both are pooled.

    With both directions of attention, ``y = relu(fuse([attended; x]))`` at every position, then the mean of y
    weighted by ``softmax(relu(pool(y)))``; `left` and `right` share ``fuse`` and ``pool``. The vector is
    ``[left; right]``, of twice the width. Released ``attn1``, ``attn2``, ``fc`` and ``attn_pool``.
    """

    inputs = {"left": "tokens B N width", "right": "tokens B M width"}
    outputs = "vector B W"

    def __init__(self, width: int, heads: int = 0, dropout: float = 0.1) -> None:
        super().__init__()
        check_sizes(width=width)
        self.left_to_right = MultiheadAttention(width, heads, dropout)
        self.right_to_left = MultiheadAttention(width, heads, dropout)
        self.fuse = nn.Linear(2 * width, width)
        self.pool = nn.Linear(width, 1)
        self.dropout = dropout
        init_weights(self)

    def forward(self, left: Tokens, right: Tokens) -> Float[Tensor, "b both"]:
        """Return vectors of twice the width."""
        from_right = self.left_to_right(left.values, right.values, key_mask(right.mask))
        from_left = self.right_to_left(right.values, left.values, key_mask(left.mask))
        vectors = [self._pooled(left, from_right), self._pooled(right, from_left)]
        return torch.cat(vectors, dim=-1)

    def _pooled(
        self, tokens: Tokens, attended: Float[Tensor, "b n width"]
    ) -> Float[Tensor, "b width"]:
        # What the image sees of the other, then itself: released order.
        fused = F.relu(self.fuse(torch.cat([attended, tokens.values], dim=-1)))
        fused = F.dropout(fused, self.dropout, self.training)
        # (b, n, width) -> (b, n)
        scores = F.relu(self.pool(fused)).squeeze(-1)
        if tokens.mask is not None:
            scores = scores + PADDING_SCORE * (~tokens.mask).to(scores.dtype)
        # Weights that add up to 1 lose this in half precision.
        weights = F.softmax(scores.float(), dim=-1).to(fused.dtype)
        # (b, 1, n) x (b, n, width) -> (b, width)
        vector = (weights[:, None] @ fused).squeeze(1)
        return F.dropout(vector, self.dropout, self.training)
