"""A gate: how much of vision each word lets in."""

from __future__ import annotations

import torch
from torch import nn

from modules.streams import Tokens


class Gate(nn.Module):
    """``text + sigmoid(weigh(text)) * mean(vision)``: every word takes its share of the picture's mean."""

    inputs = {"text": "tokens B L width", "vision": "tokens B M width"}
    outputs = "tokens B L width"

    def __init__(self, width: int, bias: float = 0.0) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width must be at least 1, but is {width}")
        self.weigh = nn.Linear(width, 1)
        nn.init.constant_(self.weigh.bias, bias)

    def forward(self, text: Tokens, vision: Tokens) -> Tokens:
        """Gate; the text keeps its length and mask."""
        seen = vision.values.mean(dim=1, keepdim=True)
        return Tokens(
            text.values + torch.sigmoid(self.weigh(text.values)) * seen, text.mask
        )
