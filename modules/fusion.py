"""Fusion layers: text and vision meet (mPLUG's skip-connected fusion, arXiv 2205.12005, section 3.2)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from modules.attention import Layer, init_weights, key_mask
from modules.recompute import checkpoint_layer
from modules.sizes import check_sizes
from modules.streams import Tokens, join_masks


class Fusion(nn.Module):
    """``depth`` layers in which text reads vision; every ``stride``-th one (but the first) joins both.

    Co-attention layer: text self-attention, text -> vision cross-attention, feed-forward; vision is left
    alone. Connected layer r (r > 0 and r mod ``stride`` == 0): self-attention and feed-forward over [vision;
    text], and ``vision = vision + its part``. Released layers: the last ``depth`` ones of
    ``fusion_encoder.encoder``.
    """

    inputs = {"text": "tokens B L width", "vision": "tokens B M width"}
    outputs = {"text": "tokens B L width", "vision": "tokens B M width"}

    def __init__(
        self,
        width: int,
        depth: int,
        stride: int = 1000,
        heads: int = 0,
        hidden: int = 0,
        dropout: float = 0.1,
        recompute: Literal["none", "all"] = "none",
    ) -> None:
        super().__init__()
        check_sizes(width=width, depth=depth)
        if stride < 1:
            raise ValueError(
                f"stride must be 1 or more (1000: never connected), but is {stride}"
            )
        connected = [r > 0 and r % stride == 0 for r in range(depth)]
        # A connected layer has no cross-attention, so it gets no weights for one.
        self.layers = nn.ModuleList(
            Layer(width, heads, hidden, dropout, cross=not joined) for joined in connected
        )
        self.recompute = recompute
        init_weights(self)

    def forward(self, text: Tokens, vision: Tokens) -> dict[str, Tokens]:
        """Fuse; both streams keep their lengths and masks."""
        t, v = text.values, vision.values
        text_mask, vision_mask = key_mask(text.mask), key_mask(vision.mask)
        for layer in self.layers:
            if layer.cross is not None:
                t = checkpoint_layer(
                    layer, t, text_mask, v, vision_mask, recompute=self.recompute
                )
                continue
            mask = key_mask(join_masks(vision, text))
            both = checkpoint_layer(
                layer, torch.cat([v, t], dim=1), mask, recompute=self.recompute
            )
            v, t = v + both[:, : v.shape[1]], both[:, v.shape[1] :]
        return {"text": Tokens(t, text.mask), "vision": Tokens(v, vision.mask)}
