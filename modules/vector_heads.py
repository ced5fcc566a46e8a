"""Heads over vectors and over single tokens: BERT's pooler, scores of classes, one score for each token."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from modules.attention import EPS, init_weights
from modules.sizes import check_sizes
from modules.streams import Tokens

VLMO_EPS = 1e-5
PADDING_SCORE = -1e4  # of a padded token, as in the released code


class Pooler(nn.Module):
    """``tanh(dense(first token))``, then dropout: BERT's pooler."""

    inputs = {"tokens": "tokens B N width"}
    outputs = "vector B width"

    def __init__(self, width: int, dropout: float = 0.1) -> None:
        super().__init__()
        check_sizes(width=width)
        self.dense = nn.Linear(width, width)
        self.dropout = dropout
        init_weights(self)

    def forward(self, tokens: Tokens) -> Float[Tensor, "b width"]:
        """Return one vector for each row."""
        # The first token is [CLS], which attends to all others.
        vector = torch.tanh(self.dense(tokens.values[:, 0]))
        return F.dropout(vector, self.dropout, self.training)


class _Layers(nn.Module):
    """``out(norm(gelu(dense(x))))``; ``out(x)`` with depth 1. ``norm_first``: norm before the activation."""

    def __init__(
        self,
        width: int,
        outputs: int,
        depth: int,
        hidden: int,
        norm_first: bool = False,
    ) -> None:
        super().__init__()
        hidden = hidden or width
        self.norm_first = norm_first
        self.dense = nn.Linear(width, hidden) if depth == 2 else None
        # VLMo's heads have the norm first, and torch's default epsilon; BERT's and UNITER's have neither.
        eps = VLMO_EPS if norm_first else EPS
        self.norm = nn.LayerNorm(hidden, eps=eps) if depth == 2 else None
        self.out = nn.Linear(hidden if depth == 2 else width, outputs)
        init_weights(self)

    def score(self, x: Float[Tensor, "*rows width"]) -> Float[Tensor, "*rows outputs"]:
        """Apply the layers to every row."""
        if self.dense is not None and self.norm is not None:
            x = self.dense(x)
            x = F.gelu(self.norm(x)) if self.norm_first else self.norm(F.gelu(x))
        return self.out(x)


class VectorHead(_Layers):
    """Scores of classes, or a reconstructed feature, for vectors: ``out(norm(gelu(dense(x))))``.

    ``hidden``: the width between both layers; 0 is that of the vectors. ``depth: 1`` is the layer ``out``
    alone. BERT's and UNITER's heads of masked words and regions, UNITER's head of answers. For masked words
    ``out.weight`` is tied to the words of the embedding. ``norm='before'`` normalizes before the activation,
    ``out(gelu(norm(dense(x))))``: VLMo's ``vqa_classifier`` and ``nlvr2_classifier``.
    """

    inputs = {"vector": "vector M width"}
    outputs = "logits M classes"

    def __init__(
        self,
        width: int,
        classes: int,
        depth: Literal[1, 2] = 2,
        hidden: int = 0,
        norm: Literal["after", "before"] = "after",
    ) -> None:
        # Before the layers are built: a wrong size would otherwise fail inside torch.
        check_sizes(width=width, classes=classes, hidden=hidden or width)
        super().__init__(width, classes, depth, hidden, norm == "before")

    def forward(self, vector: Float[Tensor, "m width"]) -> Float[Tensor, "m classes"]:
        """Score every class."""
        return self.score(vector)


class TokenScores(_Layers):
    """One score for each token, to choose one of them: ``out(norm(gelu(dense(x))))``.

    Padding scores -10,000. ``depth: 1`` is the layer ``out`` alone. UNITER's head of referring
    expressions, over regions.
    """

    inputs = {"tokens": "tokens B N width"}
    outputs = "logits B N"

    def __init__(self, width: int, depth: Literal[1, 2] = 2) -> None:
        check_sizes(width=width)
        super().__init__(width, 1, depth, 0)

    def forward(self, tokens: Tokens) -> Float[Tensor, "b n"]:
        """Score every token."""
        # (b, n, 1) -> (b, n)
        scores = self.score(tokens.values).squeeze(-1)
        if tokens.mask is None:
            return scores
        return scores.masked_fill(~tokens.mask, PADDING_SCORE)
