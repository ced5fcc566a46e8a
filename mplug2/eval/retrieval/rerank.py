"""Scores of the pairs of an image and a caption that one of the two found: a block of images at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from modules.distributed import any_rank_active
from mplug2.eval.evaluator import OnProgress
from mplug2.eval.retrieval.gallery import Gallery
from mplug2.eval.retrieval.token_cache import TokenCache
from mplug2.runtime import distributed
from registry.errors import UserError

BLOCK = 1 << 16  # pairs that are listed at once (more if a single image has more)


@dataclass(frozen=True)
class Scorer:
    """The goal ``rerank`` over stored images and captions, ``size`` pairs at a time."""

    call: Callable[..., Any]
    images: TokenCache  # of this rank
    captions: TokenCache  # of all ranks
    size: int
    dtype: torch.dtype
    device: torch.device

    def scores(
        self, images: Int[Tensor, " pairs"], captions: Int[Tensor, " pairs"]
    ) -> Iterator[Float[Tensor, " batch"]]:
        """Yield the scores of the pairs, a batch at a time."""
        for start in range(0, len(images), self.size):
            rows = slice(start, start + self.size)
            any_rank_active(True, self.device)
            yield match(self._call(images[rows], captions[rows])).float().cpu()

    def keep_up(self) -> None:
        """Call the network on a pair of no interest for as long as other ranks do, where that is asked
        (ZeRO stage 3)."""
        none = torch.empty(0, dtype=torch.long)
        while any_rank_active(False, self.device):
            self._call(none, none)

    def _call(
        self, images: Int[Tensor, " pairs"], captions: Int[Tensor, " pairs"]
    ) -> dict[str, Tensor]:
        batch = self.images.batch(images, self.device, self.dtype)
        batch |= self.captions.batch(captions, self.device, self.dtype)
        outputs: dict[str, Tensor] = self.call(batch, goal="rerank")
        return outputs


@torch.no_grad()
def rerank(
    gallery: Gallery,
    by_files: Int[Tensor, "files k"],
    by_captions: Int[Tensor, "captions k"],
    scorer: Scorer,
    on_progress: OnProgress,
) -> tuple[Float[Tensor, "files k"], Float[Tensor, "captions k"]]:
    """Return the scores of the captions that this rank's files retrieved, and of the files that its captions
    retrieved; all ranks must call it.

    A rank scores the pairs with one of its files. A pair that both modalities retrieved is scored once.
    """
    files, num_captions = gallery.files, len(gallery.texts)
    all_by_captions = torch.cat(distributed.all_gather_object(by_captions.contiguous()))
    of_files = torch.empty(by_files.shape)
    # Zeros, since the ranks' parts are added up at the end.
    of_captions = torch.zeros(all_by_captions.shape)
    retrieved = torch.bincount(all_by_captions.flatten(), minlength=len(gallery.names))
    pairs = (by_files.shape[1] + retrieved)[files.start : files.stop].tolist()
    total, done = sum(pairs), 0
    on_progress(0, total, "pairs")
    for block in _blocks(pairs):
        first, last = block.start + files.start, block.stop + files.start
        in_block = (all_by_captions >= first) & (all_by_captions < last)
        captions, columns = in_block.nonzero(as_tuple=True)
        their_files = all_by_captions[captions, columns].long() - files.start
        local_files = torch.arange(block.start, block.stop)[:, None]
        # A pair as one number: its file in the block of captions.
        file_keys = local_files * num_captions + by_files[block.start : block.stop]
        caption_keys = their_files * num_captions + captions
        # Ascending order brings the pairs of an image together; each pair is scored once.
        all_keys = torch.cat([file_keys.flatten(), caption_keys])
        keys, inverse = all_keys.unique(return_inverse=True)
        block_pairs = sum(pairs[block.start : block.stop])
        scores, scored = torch.empty(len(keys)), 0
        for part in scorer.scores(keys // num_captions, keys % num_captions):
            scores[scored : scored + len(part)] = part
            scored += len(part)
            on_progress(done + block_pairs * scored // len(keys), total, "pairs")
        done += block_pairs
        # The inverse has the files' pairs first, as they were joined above.
        num_by_files = file_keys.numel()
        file_scores = scores[inverse[:num_by_files]].view(file_keys.shape)
        of_files[block.start : block.stop] = file_scores
        of_captions[captions, columns] = scores[inverse[num_by_files:]]
    scorer.keep_up()
    all_of_captions = distributed.all_reduce_tensor(of_captions)
    return of_files, all_of_captions[gallery.captions.start : gallery.captions.stop]


def _blocks(pairs: Sequence[int]) -> Iterator[range]:
    """Runs of images with at most ``BLOCK`` pairs, or of one image."""
    start = held = 0
    for number, more in enumerate(pairs):
        if held and held + more > BLOCK:
            yield range(start, number)
            start, held = number, 0
        held += more
    if held:
        yield range(start, len(pairs))


def match(outputs: dict[str, Tensor]) -> Float[Tensor, " pairs"]:
    """Return the logit of a match: column 1 of two classes (released ``itm_head``)."""
    (value,) = outputs.values()
    if value.ndim != 2 or value.shape[1] != 2:
        raise UserError(
            "goal 'rerank' must give logits of 2 classes, the second of which is a match, but gives "
            f"{list(value.shape)}"
        )
    return value[:, 1]
