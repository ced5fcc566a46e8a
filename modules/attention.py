"""Multi-head attention and feed-forward blocks in BERT's post-norm form, through torch SDPA and `attention`."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from modules.dropout_attention import attention
from modules.linear import Linear
from modules.memory_attention import memory_attention, pays

EPS = 1e-12  # BERT's LayerNorm epsilon


class KeysValues(NamedTuple):
    """Projected keys and values, computed once and used by any number of queries."""

    keys: Float[Tensor, "batch heads memory head_width"]
    values: Float[Tensor, "batch heads memory head_width"]


def head_count(width: int, heads: int) -> int:
    """The number of heads: as given, or one for every 64 channels where ``heads`` is 0."""
    # 64 channels a head, as in BERT and ViT; a narrow network still gets one head.
    heads = heads or max(1, width // 64)
    if heads < 1 or width % heads:
        raise ValueError(
            f"heads must divide width, but width is {width} and heads is {heads}"
        )
    return heads


class MultiheadAttention(nn.Module):
    """``out(softmax(q k^T / sqrt(d)) v)``, queries from x, keys and values from x or a memory."""

    def __init__(self, width: int, heads: int = 0, dropout: float = 0.1) -> None:
        super().__init__()
        self.heads = head_count(width, heads)
        self.query = Linear(width, width)
        self.key = Linear(width, width)
        self.value = Linear(width, width)
        self.out = Linear(width, width)
        self.dropout = dropout

    def _split(
        self, x: Float[Tensor, "b n width"]
    ) -> Float[Tensor, "b heads n head_width"]:
        # (b, n, heads * head_width) -> (b, heads, n, head_width)
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def project_kv(self, memory: Float[Tensor, "b m width"]) -> KeysValues:
        """Project ``memory`` to keys and values, to be attended to by many later queries."""
        return KeysValues(
            self._split(self.key(memory)), self._split(self.value(memory))
        )

    def _reads_unprojected(self, x: Tensor, memory: Tensor) -> bool:
        # Adapters add to a projection, and hooks (observers, ZeRO-3) wait for its call: both need the call.
        for projection in (self.key, self.value):
            has_hooks = projection._forward_hooks or projection._forward_pre_hooks
            if type(projection) is not Linear or has_hooks:
                return False
        return pays(x, memory, self.heads)

    def forward(
        self,
        x: Float[Tensor, "b n width"],
        memory: Float[Tensor, "b m width"] | KeysValues | None = None,
        mask: Bool[Tensor, "*_ #n m"] | None = None,
    ) -> Float[Tensor, "b n width"]:
        """Attend from ``x`` to ``memory`` (to itself if none); ``mask`` is True where attention is
        allowed."""
        queries = self._split(self.query(x))
        dropout = self.dropout if self.training else 0.0
        if isinstance(memory, Tensor) and self._reads_unprojected(x, memory):
            key, value = self.key, self.value
            attended = memory_attention(
                queries,
                memory,
                (key.weight, key.bias),
                (value.weight, value.bias),
                mask,
                dropout,
            )
        else:
            if not isinstance(memory, KeysValues):
                memory = self.project_kv(x if memory is None else memory)
            attended = attention(queries, memory.keys, memory.values, mask, dropout)
        # (b, heads, n, head_width) -> (b, n, heads * head_width)
        return self.out(attended.transpose(1, 2).flatten(2))


# Post-norm, as in BERT: the norm is applied to the sum, not to what enters the attention.
class Attention(MultiheadAttention):
    """``norm(x + dropout(attention))``: BERT's self- or cross-attention with its residual (arXiv 1810.04805).

    Released layers ``attention`` and ``crossattention``.
    """

    def __init__(self, width: int, heads: int = 0, dropout: float = 0.1) -> None:
        super().__init__(width, heads, dropout)
        self.norm = nn.LayerNorm(width, eps=EPS)

    def forward(
        self,
        x: Float[Tensor, "b n width"],
        memory: Float[Tensor, "b m width"] | KeysValues | None = None,
        mask: Bool[Tensor, "*_ #n m"] | None = None,
    ) -> Float[Tensor, "b n width"]:
        """Attend from ``x`` to ``memory`` (to itself if none); ``mask`` is True where attention is
        allowed."""
        mixed = super().forward(x, memory, mask)
        return self.norm(x + F.dropout(mixed, self.dropout, self.training))


class FeedForward(nn.Module):
    """``norm(x + dropout(down(gelu(up(x)))))`` with the exact GELU; BERT's intermediate and output layers."""

    def __init__(self, width: int, hidden: int = 0, dropout: float = 0.1) -> None:
        super().__init__()
        self.up = Linear(width, hidden or 4 * width)
        self.down = Linear(hidden or 4 * width, width)
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.dropout = dropout

    def forward(
        self, x: Float[Tensor, "*batch width"]
    ) -> Float[Tensor, "*batch width"]:
        """Apply the block to every position."""
        update = self.down(F.gelu(self.up(x)))
        return self.norm(x + F.dropout(update, self.dropout, self.training))


class Layer(nn.Module):
    """One BERT layer: self-attention, cross-attention if ``cross``, feed-forward, each with its residual
    and norm."""

    def __init__(
        self,
        width: int,
        heads: int = 0,
        hidden: int = 0,
        dropout: float = 0.1,
        cross: bool = False,
    ) -> None:
        super().__init__()
        self.attention = Attention(width, heads, dropout)
        # None, not an unused module: a parameter without a gradient would be in the optimizer and in
        # checkpoints.
        self.cross = Attention(width, heads, dropout) if cross else None
        self.feed = FeedForward(width, hidden, dropout)

    def forward(
        self,
        x: Float[Tensor, "b n width"],
        mask: Bool[Tensor, "*_ #n n"] | None = None,
        memory: Float[Tensor, "samples m width"] | None = None,
        memory_mask: Bool[Tensor, "samples 1 1 m"] | None = None,
    ) -> Float[Tensor, "b n width"]:
        """Run the layer; cross-attention is skipped where no memory is given.

        ``b`` may be a multiple of ``samples``: neighbouring rows then share a memory, of which nothing is
        repeated.
        """
        x = self.attention(x, mask=mask)
        if memory is not None:
            # A memory for such a layer is a mistake of the caller, which would be lost silently.
            assert self.cross is not None, (
                "this layer was built without cross-attention"
            )
            # (samples * k, n, width) -> (samples, k * n, width) and back
            queries = x.reshape(memory.shape[0], -1, x.shape[-1])
            x = self.cross(queries, memory, memory_mask).reshape(x.shape)
        return self.feed(x)


def key_mask(mask: Bool[Tensor, "b n"] | None) -> Bool[Tensor, "b 1 1 n"] | None:
    """A padding mask in the form attention wants: which keys any query may see."""
    return None if mask is None else mask[:, None, None, :]


def init_weights(module: nn.Module) -> None:
    """Fresh weights that keep the size of what passes through: normal, with variance 1 / inputs; biases zero.

    BERT's 0.02 is about half of that at width 768 and a fifth at width 96, where it delays learning for long.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=part.in_features**-0.5)
            # Heads of features and tied word matrices have none.
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        # Each row of the table then has about the length 1, whatever the width.
        elif isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=part.embedding_dim**-0.5)


def causal_mask(length: int, device: torch.device) -> Bool[Tensor, "length length"]:
    """True where query position i may see key position j <= i."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()
