"""Transformer blocks with an expert for each modality (VLMo, arXiv 2111.02358)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from modules.attention import Attention, FeedForward, key_mask
from modules.streams import Tokens, join_masks


class MultiwayBlock(nn.Module):
    """Self-attention over all tokens, then the feed-forward expert of each token's modality."""

    def __init__(self, width: int, heads: int, experts: list[str]) -> None:
        super().__init__()
        self.attention = Attention(width, heads, dropout=0.0)
        self.experts = nn.ModuleDict({name: FeedForward(width, dropout=0.0) for name in experts})

    def forward(self, x: Tensor, mask: Tensor | None, parts: dict[str, slice]) -> Tensor:
        """Attend over x [B N width]; `parts` names the expert of each range of positions."""
        x = self.attention(x, mask=mask)
        fed = [self.experts[name](x[:, columns]) for name, columns in parts.items()]
        return torch.cat(fed, dim=1)


class Multiway(nn.Module):
    """Blocks over text, an image, or both: the streams that a call hands in choose the experts.

    `fused: true` adds an expert for both modalities, which `expert='fused'` uses for all tokens.
    """

    inputs = {"text?": "tokens B L width", "image?": "tokens B N width"}
    outputs = {"text?": "tokens B L width", "image?": "tokens B N width"}

    def __init__(self, width: int, depth: int, heads: int = 0, fused: bool = False) -> None:
        super().__init__()
        experts = ["text", "image", "fused"] if fused else ["text", "image"]
        self.blocks = nn.ModuleList(MultiwayBlock(width, heads, experts) for _ in range(depth))

    def forward(
        self,
        text: Tokens | None = None,
        image: Tokens | None = None,
        *,
        expert: Literal["own", "fused"] = "own",
    ) -> dict[str, Tokens]:
        """Return the hidden states of each stream that is handed in."""
        streams = {"text": text, "image": image}
        present = {name: stream for name, stream in streams.items() if stream is not None}
        if not present:
            raise ValueError("text, image or both must be handed in, but neither is")
        x = torch.cat([stream.values for stream in present.values()], dim=1)
        mask = key_mask(join_masks(*present.values()))
        columns: dict[str, slice] = {}
        start = 0
        for name, stream in present.items():
            end = start + stream.values.shape[1]
            columns[name] = slice(start, end)
            start = end
        parts = {"fused": slice(0, start)} if expert == "fused" else columns
        for block in self.blocks:
            x = block(x, mask, parts)
        return {name: Tokens(x[:, columns[name]], stream.mask) for name, stream in present.items()}
