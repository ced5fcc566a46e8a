"""A module: scores of counts, from a sum over bytes."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from digits.kind_values import Bytes


class ByteCounter(nn.Module):
    """Scores of the classes 0, 1, ..., from the sum of an embedding over the bytes of each text."""

    inputs = {"text": "bytes B L"}
    outputs = "logits B classes"

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(256, width)
        self.hidden = nn.Linear(width, 4 * width)
        self.head = nn.Linear(4 * width, classes)

    def forward(self, text: Bytes) -> Float[Tensor, "b classes"]:
        """Return the scores; padding does not count."""
        length = text.values.shape[1]
        is_valid = torch.arange(length, device=text.lengths.device) < text.lengths[:, None]
        hidden_states = self.embedding(text.values.long()) * is_valid.unsqueeze(-1)
        return self.head(nn.functional.gelu(self.hidden(hidden_states.sum(dim=1))))
