"""Image and video encoders: CLIP's vision transformer on timm's blocks, with temporal layers for video."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from modules.attention import head_count
from modules.recompute import checkpoint_layer
from modules.sizes import check_rate, check_sizes
from modules.streams import Tokens
from modules.temporal import LocalTemporal, QuickGELU
from modules.torchvision_guard import ensure_torchvision

ensure_torchvision()

from timm.layers import PatchEmbed  # noqa: E402
from timm.models.vision_transformer import Block  # noqa: E402

CLIP_EPS = 1e-5


class TubeletEmbed(nn.Module):
    """The released temporal down-sampling: patches of three frames, every ``stride``-th of them."""

    def __init__(self, width: int, patch: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(
            # One frame of zeros before and after, so that three frames fit around the first one, too.
            3,
            width,
            (3, patch, patch),
            (stride, patch, patch),
            (1, 0, 0),
            bias=False,
        )

    def forward(
        self, video: Float[Tensor, "b 3 t h w"]
    ) -> Float[Tensor, "bt patches width"]:
        """Embed; frames are folded into the batch."""
        # (b, width, frames, rows, columns) -> (b * frames, patches, width)
        return self.proj(video).permute(0, 2, 3, 4, 1).flatten(0, 1).flatten(1, 2)


class Stem(nn.Module):
    """Patches to tokens: convolution without bias, class token in front, positions, norm (CLIP's ``ln_pre``).

    ``temporal_stride`` above 0 uses the released down-sampling convolution of three frames with that stride.
    """

    def __init__(
        self, width: int, patch: int, size: int, temporal_stride: int = 0
    ) -> None:
        super().__init__()
        self.tubes = temporal_stride > 0
        self.patch: nn.Module
        if self.tubes:
            self.patch = TubeletEmbed(width, patch, temporal_stride)
        else:
            self.patch = PatchEmbed(size, patch, embed_dim=width, bias=False)
        self.cls = nn.Parameter(torch.empty(1, 1, width))
        self.position = nn.Parameter(torch.empty(1, 1 + (size // patch) ** 2, width))
        self.norm = nn.LayerNorm(width, eps=CLIP_EPS)
        # CLIP's scale
        nn.init.normal_(self.cls, std=width**-0.5)
        # The size of a fresh patch embedding of normalised pixels (docs/decisions/0003): with CLIP's
        # width^-0.5 the position embedding is too small compared with the patch embedding.
        nn.init.normal_(self.position, std=3**-0.5)

    def forward(
        self, video: Float[Tensor, "b 3 t h w"]
    ) -> Float[Tensor, "b frames tokens width"]:
        """Embed the patches of every frame; ``tokens`` is 1 + patches."""
        if not self.tubes:
            # Every frame is an image: (b, 3, t, h, w) -> (b * t, 3, h, w)
            video_or_frames = video.transpose(1, 2).flatten(0, 1)
        else:
            video_or_frames = video
        patches = self.patch(video_or_frames)
        # Each frame has its class token: (b * frames, 1 + patches, width)
        cls = self.cls.expand(patches.shape[0], -1, -1)
        x = torch.cat([cls, patches], dim=1) + self.position
        return self.norm(x).unflatten(0, (video.shape[0], -1))


class VideoBlock(Block):
    """A timm block with LocalTemporal on the patch tokens before and after spatial attention."""

    def __init__(
        self,
        width: int,
        heads: int,
        temporal: bool,
        mlp_ratio: float,
        drop_path: float,
        attention_dropout: float = 0.0,
    ) -> None:
        super().__init__(
            width,
            heads,
            mlp_ratio,
            qkv_bias=True,
            attn_drop=attention_dropout,
            drop_path=drop_path,
            act_layer=QuickGELU,
            norm_layer=partial(nn.LayerNorm, eps=CLIP_EPS),
        )
        # Each block mixes time twice, with separate weights (released `lmhra1` and `lmhra2`).
        self.before = LocalTemporal(width) if temporal else None
        self.after = LocalTemporal(width) if temporal else None

    @staticmethod
    def _mix(temporal: nn.Module | None, x: Tensor) -> Tensor:
        if temporal is None:
            return x
        # The class token of a frame stays out: time is mixed for each patch position.
        patches = x[:, :, 1:]
        return torch.cat([x[:, :, :1], patches + temporal(patches)], dim=2)

    def forward(
        self, x: Float[Tensor, "b frames n width"], mix_time: bool = True
    ) -> Float[Tensor, "b frames n width"]:
        """Mix time, attend within each frame, mix time, feed forward; without ``mix_time`` attend alone."""
        b = x.shape[0]
        before, after = (self.before, self.after) if mix_time else (None, None)
        x = self._mix(before, x)
        # attention knows frames only as further samples: (b, frames, n, width) -> (b * frames, n, width)
        attended = self.attn(self.norm1(x).flatten(0, 1)).unflatten(0, (b, -1))
        x = self._mix(after, x + self.drop_path1(attended))
        return x + self.drop_path2(self.mlp(self.norm2(x)))


class VideoViT(nn.Module):
    """mPLUG-2's video encoder: CLIP ViT on every frame, time mixed by LocalTemporal alone.

    Output: the mean of the frames' class tokens, then all patch tokens frame by frame, all through the final
    norm (released ``visual_encoder.visual``, ``ln_post``). With ``temporal: none`` frames never see each
    other. The weights fit any number of frames; ``frames`` only fixes that of the input. An image, or a clip
    of one frame, has no time to mix: it skips the temporal layers. ``attention_dropout``: of attention's
    weights while it is trained (released mPLUG: 0.1).
    ``early``: the output of that name is the hidden states after so many blocks, before the final norm.
    """

    inputs = {"video": "frames B 3 frames size size | image B 3 size size"}
    outputs = {"": "tokens B N width", "early?": "tokens B N width"}
    off = {"early": "early"}

    def __init__(
        self,
        width: int,
        depth: int,
        patch: int,
        frames: int | None = None,
        size: int = 224,
        heads: int = 0,
        mlp_ratio: float = 4.0,
        temporal: Literal["local", "none"] = "local",
        temporal_stride: int = 0,
        drop_path: float = 0.0,
        attention_dropout: float = 0.0,
        recompute: Literal["none", "all"] = "none",
        early: int | None = None,
    ) -> None:
        super().__init__()
        check_sizes(
            width=width,
            depth=depth,
            patch=patch,
            frames=1 if frames is None else frames,
            size=size,
        )
        check_rate(drop_path=drop_path, attention_dropout=attention_dropout)
        if size % patch:
            raise ValueError(
                f"size must be a multiple of patch, but size is {size} and patch is {patch}"
            )
        if early is not None and not 1 <= early <= depth:
            raise ValueError(f"early must be 1 to {depth} (depth), but is {early}")
        heads = head_count(width, heads)
        # Stochastic depth grows linearly from 0 to the last block (arXiv 1603.09382).
        rates = [drop_path * i / max(depth - 1, 1) for i in range(depth)]
        self.stem = Stem(width, patch, size, temporal_stride)
        self.blocks = nn.ModuleList(
            VideoBlock(
                width, heads, temporal == "local", mlp_ratio, p, attention_dropout
            )
            for p in rates
        )
        self.norm = nn.LayerNorm(width, eps=CLIP_EPS)
        self.recompute = recompute
        self.early = early

    def forward(
        self,
        video: Float[Tensor, "b 3 *t h w"],
        *,
        requested: frozenset[str] = frozenset(),
    ) -> Tokens | dict[str, Tokens]:
        """Encode clips [B 3 T H W] or images [B 3 H W]; every token is valid, so there is no mask."""
        clips = video if video.ndim == 5 else video.unsqueeze(2)
        # Over one frame the convolution with its zero padding would not be the identity.
        mix_time = clips.shape[2] > 1
        x = self.stem(clips)
        more: dict[str, Tokens] = {}
        for number, block in enumerate(self.blocks, start=1):
            x = checkpoint_layer(block, x, mix_time, recompute=self.recompute)
            # Nothing is kept for an output that no line of the flow reads.
            if number == self.early and "early" in requested:
                more["early"] = Tokens(_join_frames(x))
        # The norm comes after the mean of the class tokens, as released: the order changes the result.
        tokens = Tokens(self.norm(_join_frames(x)))
        return {"": tokens, **more} if more else tokens


def _join_frames(
    x: Float[Tensor, "b frames n width"],
) -> Float[Tensor, "b joined width"]:
    """Return the mean of the frames' class tokens, then the patches of all frames."""
    # (b, frames, 1 + patches, width) -> (b, 1 + frames * patches, width)
    return torch.cat(
        [x[:, :, 0].mean(dim=1, keepdim=True), x[:, :, 1:].flatten(1, 2)], dim=1
    )


class ImageViT(nn.Module):
    """CLIP's vision transformer on single images: the class token, then the patch tokens, through the final
    norm.

    ``early``: the output of that name is the hidden states after so many blocks, before the final norm.
    """

    inputs = {"image": "image B 3 size size"}
    outputs = {"": "tokens B N width", "early?": "tokens B N width"}
    off = {"early": "early"}

    def __init__(
        self,
        width: int,
        depth: int,
        patch: int,
        size: int = 224,
        heads: int = 0,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        attention_dropout: float = 0.0,
        recompute: Literal["none", "all"] = "none",
        early: int | None = None,
    ) -> None:
        super().__init__()
        self.body = VideoViT(
            width,
            depth,
            patch,
            1,
            size,
            heads,
            mlp_ratio,
            "none",
            drop_path=drop_path,
            attention_dropout=attention_dropout,
            recompute=recompute,
            early=early,
        )

    def forward(
        self,
        image: Float[Tensor, "b 3 h w"],
        *,
        requested: frozenset[str] = frozenset(),
    ) -> Tokens | dict[str, Tokens]:
        """Encode images as clips of one frame."""
        return self.body(image.unsqueeze(2), requested=requested)
