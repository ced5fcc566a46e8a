"""Text: embedding of word pieces, and the encoder over them."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from modules.attention import EPS, Layer, init_weights, key_mask
from modules.packing import positions_in_text, visible
from modules.recompute import checkpoint_layer
from modules.sizes import check_sizes
from modules.streams import Text, Tokens, full_mask


class TextEmbedding(nn.Module):
    """``norm(word + position + type)``, then dropout: BERT's embeddings (released layer ``embeddings``).

    The type of a token is its segment in the text, 0 in a text without segments. ``types``: the size of
    their table. With 1 all segments share a vector, with 0 there is no such embedding. ``position='none'``: a
    text without such embeddings, for a network with relative positions (VLMo); it still has a longest length.
    Positions of texts that are packed into a row begin at 0 in each of them.
    """

    reads_packed = True
    inputs = {"text": "text B L"}
    token_limits = {"text": "max_positions"}
    outputs = "tokens B L width"

    def __init__(
        self,
        width: int,
        vocab_size: int,
        max_positions: int,
        types: int = 2,
        dropout: float = 0.1,
        position: Literal["absolute", "none"] = "absolute",
    ) -> None:
        super().__init__()
        check_sizes(width=width, vocab_size=vocab_size, max_positions=max_positions)
        if types < 0:
            raise ValueError(f"types must be at least 0, but is {types}")
        self.word = nn.Embedding(vocab_size, width)
        self.max_positions = max_positions
        self.position = (
            nn.Embedding(max_positions, width) if position == "absolute" else None
        )
        self.kind = nn.Embedding(types, width) if types else None
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.dropout = dropout
        init_weights(self)

    def embed(
        self,
        ids: Int[Tensor, "*batch length"],
        offset: int = 0,
        left_pad: Int[Tensor, "*batch"] | None = None,
        segments: Int[Tensor, "*batch length"] | None = None,
        positions: Int[Tensor, "*batch length"] | None = None,
    ) -> Float[Tensor, "*batch length width"]:
        """Embed ``ids`` at ``positions``: by default ``offset``, ``offset + 1``, ... of their sequences.

        Of a sequence that begins after ``left_pad`` unused places, positions count from there.
        """
        if positions is None:
            last = offset + ids.shape[-1]
            self._check_length(last)
            positions = torch.arange(offset, last, device=ids.device)
        # Before padding is subtracted: it has one element on the right device, which is all that is used.
        first_position = positions.flatten()[:1]
        if left_pad is not None:
            # Unused places before a text get position 0, which exists; the attention mask hides them.
            positions = (positions - left_pad[..., None]).clamp(min=0)
        x = self.word(ids)
        # VLMo adds positions in the attention instead.
        if self.position is not None:
            x = x + self.position(positions)
        if self.kind is not None:
            has_several = segments is not None and self.kind.num_embeddings > 1
            # Type 0 for all: one look-up that is broadcast, not one for each token.
            types = segments if has_several else torch.zeros_like(first_position)
            x = x + self.kind(types)
        return F.dropout(self.norm(x), self.dropout, self.training)

    def forward(self, text: Text) -> Tokens:
        """Embed a batch of token ids with their segments."""
        if text.segments is not None and self.kind is not None:
            _check_segments(text.segments, self.kind.num_embeddings)
        positions = self.packed_positions(text)
        embeds = self.embed(text.ids, segments=text.segments, positions=positions)
        return Tokens(embeds, text.mask, text.parts)

    def packed_positions(self, text: Text) -> Int[Tensor, "b l"] | None:
        """Return the positions of packed texts, which begin at 0 in each of them; None if rows are texts."""
        if text.parts is None:
            return None
        positions = positions_in_text(text) * text.mask
        # On a GPU, reading a value would wait for all work before it.
        if positions.device.type == "cpu" and positions.numel():
            self._check_length(int(positions.max()) + 1)
        return positions

    def _check_length(self, length: int) -> None:
        if length > self.max_positions:
            raise ValueError(
                f"text must be at most {self.max_positions} tokens long, but is {length}: "
                "shorten it or raise `positions`"
            )


def _check_segments(segments: Int[Tensor, "batch length"], types: int) -> None:
    """Raise ValueError for a segment without an embedding; only on the CPU, since it reads the values."""
    # With one type, all segments share its embedding.
    if types < 2 or segments.device.type != "cpu" or not segments.numel():
        return
    highest = int(segments.max())
    if highest >= types:
        raise ValueError(
            f"the segments of a text must be below types, {types}, but one is {highest}: "
            "raise `types`"
        )


class TextEncoder(nn.Module):
    """``depth`` BERT layers over embedded text, without cross-attention (released
    ``text_encoder.encoder``). Texts that are packed into a row do not see each other."""

    reads_packed = True
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
        self.layers = nn.ModuleList(
            Layer(width, heads, hidden, dropout) for _ in range(depth)
        )
        self.recompute = recompute
        init_weights(self)

    def forward(self, tokens: Tokens) -> Tokens:
        """Encode; padding is neither seen nor changed in length."""
        x, mask = tokens.values, key_mask(tokens.mask)
        # Packed: a mask for each query, not one for all: (b, 1, length, length).
        if tokens.parts is not None:
            mask = visible(full_mask(tokens), tokens.parts)
        for layer in self.layers:
            x = checkpoint_layer(layer, x, mask, recompute=self.recompute)
        return tokens._replace(values=x)
