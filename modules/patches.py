"""An image as patch tokens without a transformer, and an embedding of modalities."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from modules.attention import init_weights
from modules.sizes import check_sizes
from modules.streams import Tokens
from modules.torchvision_guard import ensure_torchvision

ensure_torchvision()

from timm.layers import PatchEmbed  # noqa: E402


class ImageEmbedding(nn.Module):
    """Patches of an image through one convolution with bias, and a class token in front.

    ``position='absolute'`` adds a learned embedding of each token. With ``mask_token: true`` a call may have
    a mask over patches, and a learned token replaces those where it is True (BEiT, arXiv 2106.08254).
    Released ``patch_embed.proj``, ``cls_token``, ``pos_embed``, ``mask_token``.
    """

    inputs = {"image": "image B 3 size size", "mask?": "mask B P"}
    outputs = "tokens B N width"

    def __init__(
        self,
        width: int,
        patch: int,
        size: int = 224,
        position: Literal["absolute", "none"] = "none",
        mask_token: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(width=width, patch=patch, size=size)
        if size % patch:
            raise ValueError(
                f"size must be a multiple of patch, but size is {size} and patch is {patch}"
            )
        self.patch = PatchEmbed(size, patch, embed_dim=width)
        self.cls = nn.Parameter(torch.empty(1, 1, width))
        nn.init.normal_(self.cls, std=width**-0.5)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width)) if mask_token else None
        self.position = None
        if position == "absolute":
            self.position = nn.Parameter(
                torch.empty(1, 1 + (size // patch) ** 2, width)
            )
            # The size of a fresh patch embedding of normalized pixels (docs/decisions/0003).
            nn.init.normal_(self.position, std=3**-0.5)

    def forward(
        self, image: Float[Tensor, "b 3 h w"], mask: Bool[Tensor, "b p"] | None = None
    ) -> Tokens:
        """Embed images; ValueError for a mask without ``mask_token``."""
        # (b, 3, h, w) -> (b, patches, width)
        x = self.patch(image)
        if mask is not None:
            if self.mask_token is None:
                raise ValueError("mask needs `mask_token: true`")
            # Before the class token and the positions: a masked patch keeps its position.
            x = torch.where(mask[..., None], self.mask_token.to(x.dtype), x)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], dim=1)
        return Tokens(x if self.position is None else x + self.position)


class ModalityEmbedding(nn.Module):
    """Add one vector to all tokens of a stream: row ``modality`` of a table of ``modalities`` rows.

    VLMo's rows are text, image, and for pairs of images the second one; released ``token_type_embeddings``.
    """

    inputs = {"tokens": "tokens B N width"}
    outputs = "tokens B N width"

    def __init__(self, width: int, modalities: int = 2) -> None:
        super().__init__()
        check_sizes(width=width, modalities=modalities)
        self.table = nn.Embedding(modalities, width)
        init_weights(self)

    def forward(self, tokens: Tokens, *, modality: int = 0) -> Tokens:
        """Add the row; ValueError if the table does not have it."""
        if not 0 <= modality < self.table.num_embeddings:
            raise ValueError(
                f"modality must be 0 to {self.table.num_embeddings - 1}, but is {modality}"
            )
        return Tokens(tokens.values + self.table.weight[modality], tokens.mask)
