"""Text: embedding of word pieces, and the encoder over them."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from modules.attention import EPS, Layer, init_fresh, key_mask
from modules.recompute import run
from modules.sizes import check_sizes
from modules.streams import Text, Tokens


class TextEmbedding(nn.Module):
    """``norm(word + position + type 0)``, then dropout: BERT's embeddings (released layer ``embeddings``)."""

    inputs = {"text": "text B L"}
    outputs = "tokens B L width"

    def __init__(
        self, width: int, vocab: int = 30522, positions: int = 512, types: int = 2, dropout: float = 0.1
    ) -> None:
        super().__init__()
        check_sizes(width=width, vocab=vocab, positions=positions, types=types)
        self.word = nn.Embedding(vocab, width)
        self.position = nn.Embedding(positions, width)
        self.kind = nn.Embedding(types, width)
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.dropout = dropout
        init_fresh(self)

    def embed(
        self, ids: Int[Tensor, "*batch length"], offset: int = 0, empty: Int[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch length width"]:
        """Embed ``ids`` that stand at positions ``offset``, ``offset + 1``, ... of their sequences.

        Of a sequence that begins after ``empty`` unused places, positions count from there.
        """
        last = offset + ids.shape[-1]
        if last > self.position.num_embeddings:
            raise ValueError(
                f"text must be at most {self.position.num_embeddings} tokens long, but is {last}: "
                "shorten it or raise `positions`"
            )
        positions = torch.arange(offset, last, device=ids.device)
        first_type = self.kind(torch.zeros_like(positions[:1]))
        if empty is not None:
            positions = (positions - empty[..., None]).clamp(min=0)
        x = self.norm(self.word(ids) + self.position(positions) + first_type)
        return F.dropout(x, self.dropout, self.training)

    def forward(self, text: Text) -> Tokens:
        """Embed a batch of token ids."""
        return Tokens(self.embed(text.ids), text.mask)


class TextEncoder(nn.Module):
    """``depth`` BERT layers over embedded text, without cross-attention (released
    ``text_encoder.encoder``)."""

    inputs = {"tokens": "tokens B L width"}
    outputs = "tokens B L width"

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int = 0,
        hidden: int = 0,
        dropout: float = 0.1,
        recompute: Literal["none", "all"] = "none",
    ) -> None:
        super().__init__()
        check_sizes(width=width, depth=depth)
        self.layers = nn.ModuleList(Layer(width, heads, hidden, dropout) for _ in range(depth))
        self.recompute = recompute
        init_fresh(self)

    def forward(self, tokens: Tokens) -> Tokens:
        """Encode; padding is neither seen nor changed in length."""
        x, mask = tokens.values, key_mask(tokens.mask)
        for layer in self.layers:
            x = run(layer, x, mask, recompute=self.recompute)
        return Tokens(x, tokens.mask)
