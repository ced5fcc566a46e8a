"""The text decoder, and the cached state that generation steps through."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from modules.attention import (
    EPS,
    KeysValues,
    Layer,
    causal_mask,
    init_weights,
    key_mask,
)
from modules.linear import Linear, Packs, linear, packing
from modules.packing import visible
from modules.recompute import checkpoint_layer
from modules.sizes import check_sizes
from modules.streams import Text, Tokens
from modules.text import TextEmbedding
from registry.errors import UserError

PACK_FROM = 8  # words: packing the weights takes the time that five words then save


class WordHead(nn.Module):
    """Logits over the vocabulary: dense, GELU, norm, then the tied word matrix (BERT's
    ``cls.predictions``)."""

    def __init__(self, width: int, vocab: int) -> None:
        super().__init__()
        self.dense = Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.bias = nn.Parameter(torch.zeros(vocab))

    def forward(
        self, x: Float[Tensor, "*batch width"], words: Float[Tensor, "vocab width"]
    ) -> Float[Tensor, "*batch vocab"]:
        """Score every word of ``words`` at every position."""
        return linear(self.norm(F.gelu(self.dense(x))), words, self.bias)


@dataclass
class DecoderCache:
    """Key-value cache for generation: cross-attention entries per sample, self-attention entries per beam.

    Samples whose first words were of unequal length end at the same place: ``left_pad`` places before each
    are unused.
    """

    cross_attention_cache: list[KeysValues]
    memory_mask: Bool[Tensor, "samples 1 1 m"] | None
    self_attention_cache: list[KeysValues] = field(default_factory=list)
    length: int = 0
    left_pad: Int[Tensor, " samples"] | None = None
    # The weights in the order that the CPU reads quickest; None where copying them takes longer.
    packs: Packs | None = None

    def reorder(self, rows: Int[Tensor, " rows"]) -> None:
        """Let row i continue from row ``rows[i]`` (samples x beams, flattened)."""
        self.self_attention_cache = _select_rows(self.self_attention_cache, rows)

    def keep(self, samples: Int[Tensor, " kept"]) -> None:
        """Drop the memories of all samples but ``samples``."""
        self.cross_attention_cache = _select_rows(self.cross_attention_cache, samples)
        if self.memory_mask is not None:
            self.memory_mask = self.memory_mask[samples]
        if self.left_pad is not None:
            self.left_pad = self.left_pad[samples]

    def attention_mask(
        self, new: int, beams: int, device: torch.device
    ) -> Bool[Tensor, "*_ new total"] | None:
        """What each of ``new`` words sees: all cached words and the new ones up to itself; None for all."""
        # A single new word sees all cached ones: without a mask torch has faster kernels.
        if new == 1 and self.left_pad is None:
            return None
        seen = torch.ones(new, self.length + new, dtype=torch.bool, device=device)
        # Query i is word `length + i`, so the diagonal is shifted by what is cached.
        causal = seen.tril(self.length)
        if self.left_pad is None:
            return causal
        used = torch.arange(self.length + new, device=device) >= self.left_pad[:, None]
        # (samples, total) -> (samples * beams, heads, queries, total)
        used = used.repeat_interleave(beams, dim=0)[:, None, None, :]
        # Let padding positions attend to themselves: softmax over a fully masked row gives NaN.
        return causal & (used | seen.triu(self.length))


def _select_rows(
    cache: list[KeysValues], rows: Int[Tensor, " rows"]
) -> list[KeysValues]:
    """Return the keys and values of each layer for some rows, which may repeat."""
    selected = []
    for keys, values in cache:
        selected.append(KeysValues(keys[rows], values[rows]))
    return selected


class TextDecoder(nn.Module):
    """BERT layers with causal self-attention and cross-attention to a memory, and a tied word head.

    With ``cross_attention: false`` it is a causal language model, which reads no memory. Released layers
    ``text_decoder.bert`` and ``text_decoder.cls.predictions``. Without a memory, texts may be packed into
    rows: each sees itself alone.
    """

    reads_packed = True
    inputs = {"text": "text A L", "memory?": "tokens A M width"}
    outputs = "logits A L vocab_size"
    token_limits = {"text": "max_positions"}

    def __init__(
        self,
        width: int,
        depth: int,
        vocab_size: int,
        max_positions: int,
        types: int = 2,
        heads: int = 0,
        hidden: int = 0,
        dropout: float = 0.1,
        recompute: Literal["none", "all"] = "none",
        cross_attention: bool = True,
    ) -> None:
        super().__init__()
        check_sizes(width=width, depth=depth)
        self.embedding = TextEmbedding(width, vocab_size, max_positions, types, dropout)
        self.layers = nn.ModuleList(
            Layer(width, heads, hidden, dropout, cross=cross_attention)
            for _ in range(depth)
        )
        self.cross_attention = cross_attention
        # It has no matrix of words: the embedding is passed in, so that the two are one tensor.
        self.head = WordHead(width, vocab_size)
        self.recompute = recompute
        init_weights(self)

    @property
    def vocab_size(self) -> int:
        """The number of words that can be written."""
        return self.embedding.word.num_embeddings

    def forward(
        self, text: Text, memory: Tokens | None = None
    ) -> Float[Tensor, "a l vocab"]:
        """Logits of the word after each position, with the true words before it (teacher forcing).

        Segments of the text are not read, because generated tokens do not have any. Several texts may share a
        memory: ``a`` is then a multiple of the memories, neighbouring rows of text belonging to one.
        """
        self._check_memory(memory)
        # Each text of a row would need another memory.
        if memory is not None and text.parts is not None:
            raise UserError(
                "packed texts cannot share a memory. Remove `row_tokens` from the source"
            )
        positions = self.embedding.packed_positions(text)
        x = self.embedding.embed(text.ids, positions=positions)
        # (b, heads, queries, keys): earlier words of the same text that are not padding
        mask = causal_mask(text.ids.shape[1], x.device) & visible(text.mask, text.parts)
        values, memory_mask = None, None
        if memory is not None:
            values, memory_mask = memory.values, key_mask(memory.mask)
        for layer in self.layers:
            x = checkpoint_layer(
                layer, x, mask, values, memory_mask, recompute=self.recompute
            )
        return self.head(x, self.embedding.word.weight)

    def _layers(self) -> list[Layer]:
        # A `ModuleList` has no element type, which mypy needs.
        return list(self.layers)  # type: ignore[arg-type]

    def _check_memory(self, memory: Tokens | None) -> None:
        if memory is None and self.cross_attention:
            raise ValueError(
                "a decoder with cross-attention needs a memory: add it, or `cross_attention: false`"
            )
        if memory is not None and not self.cross_attention:
            raise ValueError(
                "a decoder with `cross_attention: false` reads no memory: remove either of the two"
            )

    def init_cache(self, memory: Tokens | None, words: int = 1) -> DecoderCache:
        """Return the state before the first of up to ``words`` tokens; the keys and values of ``memory`` are
        projected here, once.

        For ``PACK_FROM`` words and more a CPU works with a copy of the weights that the state holds.
        """
        self._check_memory(memory)
        # Filled by `linear` as layers are used.
        packs: Packs | None = {} if words >= PACK_FROM else None
        if memory is None:
            return DecoderCache([], None, packs=packs)
        projected = []
        for layer in self._layers():
            assert layer.cross is not None  # A memory was accepted.
            keys, values = layer.cross.project_kv(memory.values)
            # Each head's keys in one piece: attention from few queries reads them 1.4 times faster.
            projected.append(KeysValues(keys.contiguous(), values.contiguous()))
        return DecoderCache(projected, key_mask(memory.mask), packs=packs)

    def decode(
        self,
        ids: Int[Tensor, "samples beams new"],
        state: DecoderCache,
        last_only: bool = True,
    ) -> Float[Tensor, "samples beams out vocab"]:
        """Read ``new`` more words of every beam and score the next one (after each of them unless
        ``last_only``).

        The beams of a sample share its memory: they are placed along the query axis, so that nothing is
        repeated.
        """
        with packing(state.packs):
            return self._decode(ids, state, last_only)

    def _decode(
        self,
        ids: Int[Tensor, "samples beams new"],
        state: DecoderCache,
        last_only: bool,
    ) -> Float[Tensor, "samples beams out vocab"]:
        samples, beams, new = ids.shape
        left_pad = state.left_pad
        if left_pad is not None:
            left_pad = left_pad.repeat_interleave(beams)
        # Beams are rows here: (samples * beams, new, width)
        x = self.embedding.embed(ids.flatten(0, 1), state.length, left_pad)
        mask = state.attention_mask(new, beams, x.device)
        words = []
        for i, layer in enumerate(self._layers()):
            keys, values = layer.attention.project_kv(x)
            # Before the first words there is nothing in the cache.
            if state.self_attention_cache:
                earlier = state.self_attention_cache[i]
                keys = torch.cat([earlier.keys, keys], dim=2)
                values = torch.cat([earlier.values, values], dim=2)
            cached = KeysValues(keys, values)
            words.append(cached)
            x = layer.attention(x, cached, mask)
            if layer.cross is not None:
                # (samples * beams, new, width) -> (samples, beams * new, width) and back
                queries = x.reshape(samples, beams * new, -1)
                memory = state.cross_attention_cache[i]
                x = layer.cross(queries, memory, state.memory_mask)
            x = layer.feed(x).reshape(samples * beams, new, -1)
        # After all layers, which read the cache of the step before.
        state.self_attention_cache, state.length = words, state.length + new
        # The word head is the largest product of a step: only the scores that are read are computed.
        x = x[:, -1:] if last_only else x
        return self.head(x, self.embedding.word.weight).unflatten(0, (samples, beams))
