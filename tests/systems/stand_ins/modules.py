"""The head of masked words."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


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
