"""A transformer with shared attention and an expert for each modality (VLMo, arXiv 2111.02358)."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from modules.attention import head_count, init_weights, key_mask
from modules.recompute import checkpoint_layer
from modules.relative_bias import RelativeBias
from modules.sizes import check_rate, check_sizes
from modules.streams import Tokens, join_masks
from modules.torchvision_guard import ensure_torchvision

ensure_torchvision()

from timm.layers import DropPath, LayerScale, Mlp  # noqa: E402
from timm.models.beit import Attention  # noqa: E402

EXPERTS = ("text", "image", "fused")
BEIT_EPS = 1e-6

# The expert of each range of positions, and its length.
Parts = tuple[tuple[str, int], ...]


class MultiwayBlock(nn.Module):
    """Self-attention over all tokens, then the feed-forward expert of each range of them, both pre-norm.

    ``x += scale1 * attn(norm1(x))``, ``x += scale2 * mlp_e(norm2_e(x))`` with expert ``e``; the layer scales
    are absent where ``layer_scale`` is 0. Released ``transformer.blocks.{i}``.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        experts: list[str],
        layer_scale: float,
        drop_path: float,
    ) -> None:
        super().__init__()
        # One norm for attention, and one before each expert: VLMo's released layers.
        norm = partial(nn.LayerNorm, width, eps=BEIT_EPS)
        self.norm1 = norm()
        self.attn = Attention(width, heads, qkv_bias=True)
        self.scale1 = LayerScale(width, layer_scale) if layer_scale else nn.Identity()
        self.scale2 = LayerScale(width, layer_scale) if layer_scale else nn.Identity()
        self.norm2 = nn.ModuleDict({name: norm() for name in experts})
        self.mlp = nn.ModuleDict({name: Mlp(width, hidden) for name in experts})
        self.drop_path = DropPath(drop_path)

    def forward(
        self,
        x: Float[Tensor, "b n width"],
        bias: Float[Tensor, "#b #heads #n n"] | None,
        parts: Parts,
    ) -> Float[Tensor, "b n width"]:
        """Attend with ``bias`` added to the scores, then feed each part to its expert."""
        x = x + self.drop_path(self.scale1(self.attn(self.norm1(x), bias)))
        lengths = [length for _, length in parts]
        outputs = []
        for (name, _), tokens in zip(parts, x.split(lengths, dim=1), strict=True):
            update = self.mlp[name](self.norm2[name](tokens))
            outputs.append(tokens + self.drop_path(self.scale2(update)))
        # (b, text, width), (b, image, width) -> (b, text + image, width); one part needs no copy
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)


class Multiway(nn.Module):
    """VLMo's transformer over text, an image, or both: the streams of a call choose the experts.

    With both, attention sees the text followed by the image. ``expert='own'`` feeds each token to the expert
    of its modality, ``'fused'`` all of them to the expert ``fused``. A stack may be cut into several modules:
    ``first`` is the number of blocks before this module's and ``total`` that of the complete stack (0: no
    others), which drop path grows over; the last module has the final ``norm``. ``position='relative'`` needs
    images of ``size`` in patches of ``patch``, and texts of at most ``text_positions`` tokens. With
    ``experts: [image]`` this is BEiT (arXiv 2106.08254).
    """

    inputs = {"text?": "tokens B L width", "image?": "tokens B N width"}
    outputs = {"text?": "tokens B L width", "image?": "tokens B N width"}

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int = 0,
        hidden: int = 0,
        experts: list[Literal["text", "image", "fused"]] | None = None,
        layer_scale: float = 0.1,
        drop_path: float = 0.0,
        norm: bool = False,
        first: int = 0,
        total: int = 0,
        position: Literal["relative", "none"] = "relative",
        size: int = 224,
        patch: int = 16,
        text_positions: int = 196,
        recompute: Literal["none", "all"] = "none",
    ) -> None:
        super().__init__()
        check_sizes(width=width, depth=depth, patch=patch, size=size)
        check_rate(drop_path=drop_path)
        # A module that is the complete stack need not repeat its depth.
        total = total or first + depth
        if not 0 <= first <= total - depth:
            raise ValueError(
                f"first and depth must fit into total, {total} blocks, but are {first} and {depth}"
            )
        # A list as a default would be shared by all instances.
        names: list[str] = ["text", "image"] if experts is None else list(experts)
        if not names or len(set(names)) < len(names):
            raise ValueError(
                f"experts must be different ones of {', '.join(EXPERTS)}, but are {names}"
            )
        if layer_scale < 0:
            raise ValueError(f"layer_scale must be at least 0, but is {layer_scale}")
        heads = head_count(width, heads)
        self.heads, self.experts, self.recompute = heads, tuple(names), recompute
        # Grows over the complete stack, not over this module's part of it.
        rates = [drop_path * (first + i) / max(total - 1, 1) for i in range(depth)]
        self.blocks = nn.ModuleList(
            MultiwayBlock(width, heads, hidden or 4 * width, names, layer_scale, rate)
            for rate in rates
        )
        self.norm = nn.LayerNorm(width, eps=BEIT_EPS) if norm else None
        init_weights(self)
        self.bias = None
        if position == "relative":
            # Fused tokens are those of a text and an image.
            reads_text = "text" in names or "fused" in names
            positions = text_positions if reads_text else 0
            self.bias = _bias(heads, depth, size, patch, positions)

    def forward(
        self,
        text: Tokens | None = None,
        image: Tokens | None = None,
        *,
        expert: Literal["own", "fused"] = "own",
    ) -> dict[str, Tokens]:
        """Return the hidden states of each stream; ValueError without any, or without its expert."""
        streams = {"text": text, "image": image}
        # In this order, text before image: the positions of the relative bias count on it.
        present = {
            name: stream for name, stream in streams.items() if stream is not None
        }
        if not present:
            raise ValueError("a call needs text, image or both, but has neither")
        lengths = {name: stream.values.shape[1] for name, stream in present.items()}
        parts: Parts = tuple(lengths.items())
        if expert == "fused":
            parts = (("fused", sum(lengths.values())),)
        missing = [name for name, _ in parts if name not in self.experts]
        if missing:
            raise ValueError(
                f"experts must hold '{missing[0]}' for this call, but are {list(self.experts)}"
            )
        x = torch.cat([stream.values for stream in present.values()], dim=1)
        mask = key_mask(join_masks(*present.values()))
        index = None
        if self.bias is not None:
            index = self.bias.index(lengths.get("text", 0), "image" in lengths)
            self._check_image(lengths.get("image"))
        for number, block in enumerate(self.blocks):
            # Each block has a separate table for the relative positions.
            bias = None if self.bias is None else self.bias(number, index)
            bias = _masked(bias, mask, x)
            x = checkpoint_layer(block, x, bias, parts, recompute=self.recompute)
        if self.norm is not None:
            x = self.norm(x)
        # Back to the streams, in the order in which they were joined.
        outputs = {}
        values = x.split(list(lengths.values()), dim=1)
        for (name, stream), hidden in zip(present.items(), values, strict=True):
            outputs[name] = Tokens(hidden, stream.mask)
        return outputs

    def _check_image(self, tokens: int | None) -> None:
        """Raise ValueError for an image of another size than the table of positions."""
        assert self.bias is not None
        expected = 1 + self.bias.side**2
        if tokens is not None and tokens != expected:
            raise ValueError(
                f"image must have {expected} tokens for this `size` and `patch`, but has {tokens}"
            )


def _bias(
    heads: int, depth: int, size: int, patch: int, positions: int
) -> RelativeBias:
    if size % patch:
        raise ValueError(
            f"size must be a multiple of patch, but size is {size} and patch is {patch}"
        )
    # [CLS] and [SEP] are part of every text.
    if positions and positions < 2:
        raise ValueError(f"text_positions must be at least 2, but is {positions}")
    return RelativeBias(heads, depth, size // patch, positions)


def _masked(
    bias: Float[Tensor, "1 heads n n"] | None,
    mask: Bool[Tensor, "b 1 1 n"] | None,
    x: Float[Tensor, "b n width"],
) -> Float[Tensor, "#b #heads #n n"] | None:
    """Return what is added to the attention scores: the bias, and minus infinity where a key is padding."""
    if mask is None:
        return None if bias is None else bias.to(x.dtype)
    # A zero is broadcast: padding alone is added to the scores.
    if bias is None:
        bias = x.new_zeros(1, 1, 1, 1)
    # (1, heads, n, n) with (b, 1, 1, n) -> (b, heads, n, n)
    return bias.to(x.dtype).masked_fill(~mask, -torch.inf)
