"""An operation: a function without weights."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from modules.streams import Tokens, full_mask
from registry import operation


@operation(inputs={"tokens": "tokens B N width"}, outputs="vector B width")
def pool(tokens: Tokens, *, by: Literal["mean", "first"] = "mean") -> Tensor:
    """Return one vector for each row: the mean of its valid tokens, or its first token."""
    if by == "first":
        return tokens.values[:, 0]
    valid = full_mask(tokens).unsqueeze(-1).to(tokens.values.dtype)
    return (tokens.values * valid).sum(dim=1) / valid.sum(dim=1)
