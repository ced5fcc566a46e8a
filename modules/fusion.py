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
        self.layers = nn.ModuleList()
        for number in range(depth):
            is_connected = number > 0 and number % stride == 0
            # A connected layer has no cross-attention, so it gets no weights for one.
            layer = Layer(width, heads, hidden, dropout, cross=not is_connected)
            self.layers.append(layer)
        self.recompute = recompute
        init_weights(self)

    def forward(self, text: Tokens, vision: Tokens) -> dict[str, Tokens]:
        """Fuse; both streams keep their lengths and masks."""
        t, v = text.values, vision.values
        text_mask, vision_mask = key_mask(text.mask), key_mask(vision.mask)
        vision_length = v.shape[1]
        for layer in self.layers:
            # The weights decide which kind a layer is, so that no second list can disagree with them.
            if layer.cross is not None:
                t = checkpoint_layer(
                    layer, t, text_mask, v, vision_mask, recompute=self.recompute
                )
                continue
            # Vision first, as released: (b, vision + text, width)
            both = torch.cat([v, t], dim=1)
            mask = key_mask(join_masks(vision, text))
            both = checkpoint_layer(layer, both, mask, recompute=self.recompute)
            # Vision skipped the layers before this one, so it is added to the result; text skipped none.
            v, t = v + both[:, :vision_length], both[:, vision_length:]
        return {"text": Tokens(t, text.mask), "vision": Tokens(v, vision.mask)}
