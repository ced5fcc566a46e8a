"""A queue of features from earlier steps: negatives for the contrastive loss beyond the batch (MoCo)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from modules.distributed import all_gather_rows
from modules.sizes import check_sizes
from registry import UserError

NOBODY = -100  # the group of a slot that nothing was put in yet


class FeatureQueue(nn.Module):
    """The features of the batch of all ranks, then those of ``size`` samples before it (arXiv 1911.05722).

    Hand it momentum features. In training a batch enters the queue in the place of the oldest, after it was
    given out. Slots start with random directions and group -100. ``size=0``: the batch of all ranks alone.
    Buffers, never trained: released ``image_queue``, ``text_queue``, ``idx_queue``, ``queue_ptr``.
    """

    inputs = {"vision": "vector B width", "text": "vector B width", "group": "index B"}
    outputs = {"vision": "vector S width", "text": "vector S width", "group": "index S"}

    # Groups mean other samples where the data are others: `init: own:` leaves these buffers out.
    run_state_buffers = ("vision", "text", "group", "pointer")
    vision: Float[Tensor, "size width"]
    text: Float[Tensor, "size width"]
    group: Int[Tensor, " size"]
    pointer: Int[Tensor, " 1"]

    def __init__(self, width: int, size: int = 65536) -> None:
        super().__init__()
        check_sizes(width=width)
        if size < 0:
            raise ValueError(f"size must be 0 or more, but is {size}")
        # Random directions are unlike all features: a fresh queue is a set of easy negatives.
        self.register_buffer("vision", F.normalize(torch.randn(size, width), dim=1))
        self.register_buffer("text", F.normalize(torch.randn(size, width), dim=1))
        self.register_buffer("group", torch.full((size,), NOBODY))
        self.register_buffer("pointer", torch.zeros(1, dtype=torch.long))

    @torch.no_grad()
    def _enqueue(self, fresh: dict[str, Tensor]) -> None:
        """Put ``fresh`` rows at the pointer, and advance it."""
        size, count = len(self.group), len(fresh["group"])
        # Two rows would enter one slot, and which stays would be chance.
        if count > size:
            raise UserError(
                f"size must be 0 or at least the rows of one step on all ranks ({count}), but is {size}"
            )
        slots = (self.pointer + torch.arange(count, device=self.pointer.device)) % size
        for name, rows in fresh.items():
            slot = self.get_buffer(name)
            slot.index_copy_(0, slots, rows.to(slot.dtype))
        # In place, so that the buffer stays the one that state dicts and engines know.
        self.pointer.copy_((self.pointer + count) % size)

    def forward(
        self,
        vision: Float[Tensor, "b width"],
        text: Float[Tensor, "b width"],
        group: Int[Tensor, " b"],
    ) -> dict[str, Tensor]:
        """Return the batch and the queue, then enqueue the batch. Raise UserError if the batch is larger
        than the queue."""
        fresh: dict[str, Tensor] = {}
        outputs: dict[str, Tensor] = {}
        batch = {"vision": vision.detach(), "text": text.detach(), "group": group}
        for name, rows in batch.items():
            fresh[name] = all_gather_rows(rows)
            earlier = self.get_buffer(name).to(rows.dtype)
            # The batch first: row i of a loss finds its partner at column i.
            outputs[name] = torch.cat([fresh[name], earlier])
        # After the outputs, so that a batch is not compared with itself twice; not in evaluation.
        if self.training and torch.is_grad_enabled() and len(self.group):
            self._enqueue(fresh)
        return outputs
