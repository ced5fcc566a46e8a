"""Heads and embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modules.streams import Tokens


class MaskedLMHead(nn.Module):
    """Logits of the vocabulary for hidden states: BERT's transform, and a word layer."""

    inputs = {"hidden": "vector M width"}
    outputs = "logits M vocab_size"

    def __init__(self, width: int, vocab_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.word = nn.Linear(width, vocab_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """Score every word of the vocabulary for hidden states [M width]."""
        return self.word(self.norm(F.gelu(self.dense(hidden))))


class PatchRelevance(nn.Module):
    """For each patch the logits of "does not belong to the text" and "belongs to it"."""

    inputs = {"patches": "tokens B N width", "text": "tokens B L width"}
    outputs = "logits B N 2"

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.out = nn.Linear(width, 2)

    def forward(self, patches: Tokens, text: Tokens) -> Tensor:
        """Score patches [B N width] by the first token of their text."""
        query = self.query(text.values[:, :1])
        return self.out(torch.tanh(patches.values * query))
