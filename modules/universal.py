"""Universal layers: one set of weights that text and vision share, by two routes (mPLUG-2, section 3.2)."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from modules.attention import EPS, Layer, init_weights, key_mask
from modules.recompute import checkpoint_layer
from modules.sizes import check_sizes
from modules.streams import Tokens


class Universal(nn.Module):
    """The last layers of mPLUG-2's text encoder, which vision enters through learned latents.

    Route ``text``: plain layers (self-attention, feed-forward). Route ``vision``: learned latents read the
    visual tokens in all layers but the last; in the last one the visual tokens read the latents; the result
    is ``norm(tokens + routed)``. Self-attention and feed-forward weights serve both routes; released layers
    ``text_encoder.encoder.layer.{N-depth..N-1}``, ``latents``, ``visn_emb_norm``.
    """

    inputs = {"tokens": "tokens B N width"}
    outputs = "tokens B N width"

    def __init__(
        self,
        width: int,
        depth: int = 2,
        latents: int = 50,
        heads: int = 0,
        hidden: int = 0,
        dropout: float = 0.1,
        recompute: Literal["none", "all"] = "none",
    ) -> None:
        super().__init__()
        check_sizes(width=width, depth=depth, latents=latents)
        if depth < 2:
            raise ValueError(
                f"universal needs depth 2 or more (latents read, then are read), but depth is {depth}"
            )
        self.layers = nn.ModuleList(
            Layer(width, heads, hidden, dropout, cross=True) for _ in range(depth)
        )
        self.latents = nn.Parameter(torch.empty(latents, width))
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.dropout = dropout
        self.recompute = recompute
        init_weights(self)
        # After `init_weights`, which does not reach parameters outside of layers: latents start as embeddings
        # do.
        nn.init.normal_(self.latents, std=width**-0.5)

    def vision_route(self, tokens: Tokens) -> Float[Tensor, "b n width"]:
        """The visual route before its residual and norm: visual tokens updated by what the latents
        gathered."""
        x, mask = tokens.values, key_mask(tokens.mask)
        # Latents gather in all layers but the last, and are spread to the tokens in that one.
        *gather, spread = self.layers
        # (latents, width) -> (b, latents, width): the same for all samples.
        latents = self.latents.expand(x.shape[0], -1, -1)
        for layer in gather:
            latents = checkpoint_layer(
                layer, latents, None, x, mask, recompute=self.recompute
            )
        # Latents have no padding, so nothing masks them.
        return checkpoint_layer(
            spread, x, mask, latents, None, recompute=self.recompute
        )

    def forward(
        self, tokens: Tokens, *, route: Literal["text", "vision"] = "text"
    ) -> Tokens:
        """Run the layers by the route named."""
        # Only this route has the residual and the norm: text stays as in BERT, so that its weights fit.
        if route == "vision":
            x = self.norm(tokens.values + self.vision_route(tokens))
            return Tokens(F.dropout(x, self.dropout, self.training), tokens.mask)
        x, mask = tokens.values, key_mask(tokens.mask)
        for layer in self.layers:
            x = checkpoint_layer(layer, x, mask, recompute=self.recompute)
        return Tokens(x, tokens.mask)
