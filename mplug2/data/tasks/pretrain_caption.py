"""Captions for pre-training: complete, cut into a prefix and its continuation, and as answers to an
instruction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from modules.streams import Text
from mplug2.data.batch import SampleRequest
from mplug2.data.tasks.caption import Caption, RetrievalTask
from mplug2.data.tasks.media_task import BatchItem

# Separates the places of cuts from the random numbers that crop and mirror a sample.
_SPLIT_STREAM = 3


class PretrainCaptionTask(RetrievalTask):
    """Videos or images with captions, in the forms that the objectives of pre-training read.

    Files and captions are those of `retrieval`: ``caption`` is [CLS] and the words, and ``media_id`` the
    number of the file. In addition, ``prefix`` holds the words before a random place (mPLUG: it may be empty)
    and ``continuation`` the other words and [SEP]; ``response`` holds the complete caption and [SEP], which
    answers the ``instruction`` ("describe the video:" or "describe the image:" unless it is set). The place
    of the cut follows from the seed, the epoch and the caption.
    """

    outputs = {
        "video": "frames V 3 T H W",
        "image": "image V 3 H W",
        "video_index": "index Q -> V",
        "image_index": "index Q -> V",
        "caption": "text Q L",
        "media_id": "index Q",
        "prefix": "text Q Lp",
        "continuation": "text Q Lc",
        "instruction": "text Q Li",
        "response": "text Q Lr",
    }
    token_limits = {
        "caption": "caption_tokens",
        "prefix": "caption_tokens",
        "continuation": "caption_tokens",
        "response": "caption_tokens",
    }

    def __init__(self, instruction: str | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.instruction = (
            f"describe the {self.views[0]}:" if instruction is None else instruction
        )

    def input_builders(
        self, batch_items: Sequence[BatchItem[Caption]]
    ) -> dict[str, Callable[[], Any]]:
        """Return builders of the captions in all their forms, one row each."""
        builders = super().input_builders(batch_items)
        captions: list[list[str]] = []
        for entry in batch_items:
            captions += [self.clean(text).split() for text in entry.item.texts]
        starts = _places(batch_items, captions)

        def prefixes() -> Text:
            rows = zip(captions, starts, strict=True)
            texts = [" ".join(words[:start]) for words, start in rows]
            return self.tokenizer(texts, self.caption_tokens)

        def continuations() -> Text:
            rows = zip(captions, starts, strict=True)
            return self._with_end([words[start:] for words, start in rows])

        return builders | {
            "prefix": prefixes,
            "continuation": continuations,
            "instruction": lambda: self.tokenizer([self.instruction for _ in captions]),
            "response": lambda: self._with_end(captions),
        }

    def _with_end(self, rows: Sequence[Sequence[str]]) -> Text:
        """Return texts for the decoder: what is cut off takes [SEP] with it, as in `caption`."""
        texts = [" ".join(words) + "[SEP]" for words in rows]
        return self.tokenizer(texts, self.caption_tokens)


def _places(
    batch_items: Sequence[BatchItem[Caption]], captions: Sequence[Sequence[str]]
) -> list[int]:
    """Return where each caption is cut: before its word number k, drawn from 0 to the last one."""
    owners: list[SampleRequest] = []
    for entry in batch_items:
        owners += [entry.sample.request] * len(entry.item.texts)
    places = []
    for row, (request, words) in enumerate(zip(owners, captions, strict=True)):
        # By the number of the caption within its sample: the rest of the batch must not matter.
        number = row - owners.index(request)
        seed = [*request.seed, request.items[0], _SPLIT_STREAM, number]
        rng = np.random.default_rng(seed)
        places.append(int(rng.integers(max(len(words), 1))))
    return places
