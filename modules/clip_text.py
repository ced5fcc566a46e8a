"""CLIP's text tower, and its feature at the end of a text (arXiv 2103.00020)."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from modules.attention import head_count, init_weights
from modules.recompute import checkpoint_layer
from modules.sizes import check_sizes
from modules.streams import Text, Tokens
from modules.temporal import QuickGELU
from modules.torchvision_guard import ensure_torchvision

ensure_torchvision()

from timm.models.vision_transformer import Block  # noqa: E402

CLIP_EPS = 1e-5


class CausalBlock(Block):
    """``x += attn(norm1(x))``, ``x += mlp(norm2(x))``; a token attends to itself and to those before it."""

    def __init__(self, width: int, heads: int) -> None:
        norm = partial(nn.LayerNorm, eps=CLIP_EPS)
        super().__init__(
            width, heads, qkv_bias=True, act_layer=QuickGELU, norm_layer=norm
        )

    def forward(self, x: Float[Tensor, "b n width"]) -> Float[Tensor, "b n width"]:
        """Attend, then feed forward."""
        # (b, n, 3 * width) -> (b, n, 3, heads, head_width) -> (3, b, heads, n, head_width)
        projected = self.attn.qkv(self.norm1(x)).unflatten(
            -1, (3, self.attn.num_heads, -1)
        )
        queries, keys, values = projected.permute(2, 0, 3, 1, 4).unbind(0)
        # timm's block has no causal mask, so attention is called here.
        attended = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        x = x + self.attn.proj(attended.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


class ClipText(nn.Module):
    """Words and positions, ``depth`` causal pre-norm blocks, and a final norm: CLIP's text tower.

    Padding follows the text, so no token of the text attends to it. Released ``token_embedding``,
    ``positional_embedding``, ``transformer`` and ``ln_final``.
    """

    inputs = {"text": "text B L"}
    outputs = "tokens B L width"
    token_limits = {"text": "max_positions"}

    def __init__(
        self,
        width: int,
        depth: int,
        vocab_size: int,
        max_positions: int,
        heads: int = 0,
        recompute: Literal["none", "all"] = "none",
    ) -> None:
        super().__init__()
        check_sizes(
            width=width, depth=depth, vocab_size=vocab_size, max_positions=max_positions
        )
        heads = head_count(width, heads)
        self.vocab_size, self.max_positions = vocab_size, max_positions
        self.word = nn.Embedding(vocab_size, width)
        self.position = nn.Parameter(torch.empty(max_positions, width))
        self.blocks = nn.ModuleList(CausalBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=CLIP_EPS)
        self.recompute = recompute
        init_weights(self)
        # After `init_weights`, which reaches layers only: positions are as large as words.
        nn.init.normal_(self.position, std=width**-0.5)

    def forward(self, text: Text) -> Tokens:
        """Encode texts of at most ``max_positions`` tokens; ValueError for a longer one."""
        length = text.ids.shape[1]
        if length > self.max_positions:
            raise ValueError(
                f"a text must have at most {self.max_positions} tokens, but has {length}"
            )
        # No norm after the embeddings, unlike BERT.
        x = self.word(text.ids) + self.position[:length]
        for block in self.blocks:
            x = checkpoint_layer(block, x, recompute=self.recompute)
        return Tokens(self.norm(x), text.mask)


class EndHead(nn.Module):
    """A vector of length 1 for each text: ``normalize(linear(token at the end of the text))``.

    ``end``: ``highest_id`` is the first token with the highest id of the text, as released (the end-of-text
    token of CLIP's vocabulary has its highest id). ``last`` is the last valid token, for other vocabularies.
    Released ``text_projection``.
    """

    inputs = {"tokens": "tokens B L width_in", "text": "text B L"}
    outputs = "vector B width"

    def __init__(
        self,
        width_in: int,
        width: int,
        end: Literal["highest_id", "last"] = "highest_id",
    ) -> None:
        super().__init__()
        check_sizes(width_in=width_in, width=width)
        self.linear = nn.Linear(width_in, width, bias=False)
        self.end = end
        init_weights(self)

    def at_end(self, tokens: Tokens, text: Text) -> Float[Tensor, "b width_in"]:
        """Return the hidden state at the end of each text."""
        if self.end == "last":
            ends = text.mask.sum(dim=1) - 1
        else:
            # argmax is the first of equal ids: some tokenizers pad with the end-of-text token.
            ends = text.ids.argmax(dim=1)
        rows = torch.arange(ends.shape[0], device=ends.device)
        return tokens.values[rows, ends]

    def forward(self, tokens: Tokens, text: Text) -> Float[Tensor, "b width"]:
        """Project and normalise, the latter in float32."""
        # The norm of half-precision features is inaccurate, so it is computed in float32.
        x = self.linear(self.at_end(tokens, text))
        return F.normalize(x.float(), dim=-1).to(x.dtype)
