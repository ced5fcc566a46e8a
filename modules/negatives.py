"""Hard negatives for image-text matching: partners that look right and are not."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from modules.distributed import all_gather_rows, own_rows

BITS = (1 << 32) - 1
FIRST = 0x9E3779B9  # any number but 0, which the hash does not change


def uniform(
    seed: int, salt: int, step: Int[Tensor, " 1"], rows: Int[Tensor, "*b"]
) -> Float[Tensor, "*b"]:
    """Numbers in [0, 1) that follow from ``seed``, ``salt``, ``step`` and row alone, on any device and number
    of ranks.

    An integer hash of 32 bits (shifts and multipliers of C. Wellons' "lowbias32") takes them in one after
    another: sums of them would make two draws of neighbouring steps or seeds the same.
    """
    x = torch.full_like(rows, FIRST)
    for part in (seed & BITS, salt, step, rows):
        x = (x + part) & BITS
        x = ((x ^ (x >> 16)) * 0x7FEB352D) & BITS
        x = ((x ^ (x >> 15)) * 0x846CA68B) & BITS
        x = x ^ (x >> 16)
    # 24 bits: every value is exact in float32, too, and below 1.
    return (x >> 8).double() / (1 << 24)


def chances(
    similarity: Float[Tensor, "b s"], same: Bool[Tensor, "b joint"]
) -> Float[Tensor, "b joint"]:
    """How likely each row of the batch of all ranks is drawn: softmax over those that are not ``same``."""
    # Columns after the batch are those of a queue, whose samples are no longer here.
    logits = similarity[:, : same.shape[1]].float().masked_fill(same, -torch.inf)
    return F.softmax(logits, dim=1).nan_to_num(0.0)


class HardNegatives(nn.Module):
    """Rows for the matching loss: every pair, every text with a wrong image, every image with a wrong text.

    A wrong partner is drawn from the batch of all ranks by ``softmax(similarity)``, those of the same
    ``group`` left out (ALBEF, arXiv 2107.07651, section 3.2); without groups, a row's own partner.
    ``vision``, ``text``: 3 B rows of the batch of all ranks (for `gather_rows`); ``label``: 1 for a pair, 0
    for a wrong one, -1 (not to be counted) where a batch holds nothing of another group. Draws follow from
    ``seed`` and the number of steps, which is a buffer: a resumed run draws the same ones, and dropout's
    random numbers are not used. ``wrong_vision``, ``wrong_text`` replay given ones.
    """

    inputs = {
        "vision_to_text": "scores B S",
        "text_to_vision": "scores B S",
        "group?": "index B",
        "wrong_vision?": "index B -> B",
        "wrong_text?": "index B -> B",
    }
    outputs = {"vision": "index P -> B", "text": "index P -> B", "label": "labels P"}

    # Weights of another run (`init: own:`) start at the first draw again.
    run_state_buffers = ("step",)
    step: Int[Tensor, " 1"]

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed
        self.register_buffer("step", torch.zeros(1, dtype=torch.long))

    def draw(
        self,
        similarity: Float[Tensor, "b s"],
        group: Int[Tensor, " b"],
        all_groups: Int[Tensor, " joint"],
        salt: int,
    ) -> tuple[Int[Tensor, " b"], Int[Tensor, " b"]]:
        """A wrong partner for each row, and 0, or -1 where there is none."""
        same = group[:, None] == all_groups
        reached = chances(similarity, same).double().cumsum(dim=1)
        number = uniform(self.seed, salt, self.step, own_rows(len(group), group.device))
        # The first row whose sum is beyond the number drawn; rows with weight 0 are never it.
        threshold = number[:, None] * reached[:, -1:]
        num_below = (reached <= threshold).sum(dim=1)
        # Where every row is of the same group, no sum is beyond 0: any row will do, with the label -1.
        chosen = num_below.clamp(max=len(all_groups) - 1)
        return chosen, -same.all(dim=1).long()

    def forward(
        self,
        vision_to_text: Float[Tensor, "b s"],
        text_to_vision: Float[Tensor, "b s"],
        group: Int[Tensor, " b"] | None = None,
        wrong_vision: Int[Tensor, " b"] | None = None,
        wrong_text: Int[Tensor, " b"] | None = None,
    ) -> dict[str, Tensor]:
        """Draw; each forward pass in training is a step."""
        own = own_rows(len(vision_to_text), vision_to_text.device)
        if group is None:
            group = own
        all_groups = all_gather_rows(group)
        vision, no_vision = self.draw(text_to_vision.detach(), group, all_groups, 0)
        text, no_text = self.draw(vision_to_text.detach(), group, all_groups, 1)
        if wrong_vision is not None:
            vision, no_vision = wrong_vision, torch.zeros_like(wrong_vision)
        if wrong_text is not None:
            text, no_text = wrong_text, torch.zeros_like(wrong_text)
        # Only a pass that trains is a step.
        if self.training and torch.is_grad_enabled():
            self.step.add_(1)
        return {
            "vision": torch.cat([own, vision, own]),
            "text": torch.cat([own, own, text]),
            "label": torch.cat([torch.ones_like(own), no_vision, no_text]),
        }
