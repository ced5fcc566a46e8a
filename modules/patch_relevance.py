"""Which patches of an image a text speaks of: TiMix's text-aware patch predictor."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from modules.attention import init_weights
from modules.sizes import check_sizes
from modules.streams import Tokens

CLASSES = 2  # the text does not speak of the patch, or does
PATCH_EPS = 1e-5


class PatchRelevance(nn.Module):
    """Logits of two classes for each patch: the text does not speak of it (0), or does (1).

    ``patches`` are the class token, which gets no score, and P patches (the output ``early`` of `image_vit`);
    the text's first token is its meaning. ``y = gelu(dense(norm(patch)))``; its first half, the second half
    averaged over the patches, and the text are concatenated and go through three layers. TiMix's released
    ``score_predictor``, which ends in the log-softmax that `cross_entropy` and `log_softmax` compute here.
    """

    inputs = {"patches": "tokens B N width", "text": "tokens B L text_width"}
    outputs = "logits B P 2"
    conditions = ("width % 4 == 0",)

    def __init__(self, width: int, text_width: int) -> None:
        super().__init__()
        check_sizes(width=width, text_width=text_width)
        if width % 4:
            raise ValueError(f"width must be a multiple of 4, but is {width}")
        self.norm = nn.LayerNorm(width, eps=PATCH_EPS)
        self.dense = nn.Linear(width, width)
        self.join = nn.Linear(width + text_width, width // 2)
        self.reduce = nn.Linear(width // 2, width // 4)
        self.out = nn.Linear(width // 4, CLASSES)
        init_weights(self)

    def forward(self, patches: Tokens, text: Tokens) -> Float[Tensor, "b p 2"]:
        """Score all tokens after the first, each by the text of its row."""
        x = F.gelu(self.dense(self.norm(patches.values[:, 1:])))
        # Half of the channels stay with the patch, the other half describe the image.
        local, shared = x.chunk(2, dim=-1)
        # (b, p, width / 2) -> (b, 1, width / 2) -> (b, p, width / 2)
        shared = shared.mean(dim=1, keepdim=True).expand_as(local)
        meaning = text.values[:, :1].expand(-1, local.shape[1], -1)
        x = F.gelu(self.join(torch.cat([local, shared, meaning], dim=-1)))
        return self.out(F.gelu(self.reduce(x)))
