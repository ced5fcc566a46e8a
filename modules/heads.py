"""Small heads between and after the large modules."""

from __future__ import annotations

from typing import Literal

from torch import nn
from torch.nn import functional as F

from modules.attention import EPS, init_bert
from modules.sizes import check_sizes
from modules.streams import Tokens


class Project(nn.Module):
    """Bring tokens from one width to another: linear, then ``norm`` and dropout.

    With ``norm: layer`` this is the released ``visn_fc``, ``visn_layer_norm`` between vision and text widths.
    """

    inputs = {"tokens": "tokens B N width_in"}
    outputs = "tokens B N width"

    def __init__(
        self, width_in: int, width: int, norm: Literal["layer", "none"] = "layer", dropout: float = 0.1
    ) -> None:
        super().__init__()
        check_sizes(width_in=width_in, width=width)
        self.linear = nn.Linear(width_in, width)
        self.norm = nn.LayerNorm(width, eps=EPS) if norm == "layer" else nn.Identity()
        self.dropout = dropout
        init_bert(self, width)

    def forward(self, tokens: Tokens) -> Tokens:
        """Project every token."""
        x = self.norm(self.linear(tokens.values))
        return Tokens(F.dropout(x, self.dropout, self.training), tokens.mask)
