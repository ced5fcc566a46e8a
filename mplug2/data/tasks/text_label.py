"""Sentences about videos, images or pairs of images, with a label each: entailment, NLVR2, and any other
choice among few classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mplug2.data.batch import FailedSample, Sample, SampleRequest
from mplug2.data.rows import fields, names, read_rows, shown, text
from mplug2.data.tasks.limits import at_least
from mplug2.data.tasks.reader import MediaReader
from mplug2.data.text import clean_question, swap_sides
from registry.errors import UserError

_FORM = "a line must be a JSON object with 'video_id' (or 'image', or 'images'), 'sentence' and 'label'"

_PLACES = 1  # tells the random numbers that swap a pair from those that augment its images
_CHANGED = "changed places"


@dataclass(frozen=True)
class Sentence:
    """A sentence about a video, an image or a pair of images, and its label."""

    id: int | str
    key: str
    media: tuple[str, ...]
    text: str
    label: str
    kind: str | None = None

    def record(self, **more: Any) -> dict[str, Any]:
        """Return what evaluation writes down: the sentence stands as question, its label as answer."""
        about = list(self.media) if len(self.media) > 1 else self.media[0]
        known = {
            "question_id": self.id,
            self.key: about,
            "question": self.text,
            "answers": [self.label],
        }
        return known | ({"type": self.kind} if self.kind is not None else {}) | more


class TextLabel(MediaReader[Sentence]):
    """Videos, images or pairs of them with labelled sentences: one sample is one with up to
    ``sentences_per_clip`` sentences.

    ``path`` holds JSON lines ``{"video_id" | "image" | "images": ..., "sentence": ..., "label": ..., "type"?,
    "question_id"?}``; ``labels`` are the names of the classes, in the order of the network's outputs.
    ``augment: full`` lets the images of one pair in two change places, with the words left and right (mPLUG's
    training on NLVR2). All else is as for every reader (`MediaReader`).
    """

    outputs = {
        "video": "frames V 3 T H W",
        "image": "image V 3 H W",
        "left": "image V 3 H W",
        "right": "image V 3 H W",
        "clip": "index Q",
        "picture": "index Q",
        "sentence": "text Q L",
        "label": "labels Q",
    }
    asks = "sentence"

    def __init__(
        self,
        labels: list[str],
        sentences_per_clip: int = 1,
        sentence_words: int | None = None,
        sentence_tokens: int = 50,
        **settings: Any,
    ) -> None:
        if len(set(labels)) != len(labels) or len(labels) < 2:
            raise UserError(f"labels must be two or more different names, but are {labels}")
        at_least(
            1,
            settings,
            sentences_per_clip=sentences_per_clip,
            sentence_words=sentence_words,
            sentence_tokens=sentence_tokens,
        )
        self.labels = {name: index for index, name in enumerate(labels)}
        self.together, self.sentence_tokens = sentences_per_clip, sentence_tokens
        super().__init__(**settings)
        self.words = sentence_words or (30 if self.training else 50)

    def annotations(self, path: Path) -> list[Sentence]:
        """Return the sentences of the annotation file."""
        return [
            self._sentence(row, number, where) for number, (where, row) in enumerate(read_rows(path, _FORM))
        ]

    def item(self, number: int, media: tuple[str, ...], text: str) -> Sentence:
        """Return a sentence without a label."""
        return Sentence(number, "images" if len(media) > 1 else "image", media, text, "")

    def _sentence(self, row: Any, number: int, where: str) -> Sentence:
        fields(row, where, _FORM, "sentence", "label")
        key, media = names(row, where)
        said, label = text(row, "sentence", where), row["label"]
        if isinstance(label, bool):
            label = str(label)  # NLVR2 writes True and False, with and without quotes
        if not isinstance(label, str) or label not in self.labels:
            known = ", ".join(self.labels)
            raise UserError(f"{where}: 'label' must be one of {known} (data.labels), but is {shown(label)}")
        return Sentence(row.get("question_id", number), key, media, said, label, row.get("type"))

    def read(self, request: SampleRequest) -> Sample | FailedSample:
        """Return one sample; the two images of a pair may have changed places."""
        sample = super().read(request)
        pairs = len(self.views) == 2 and self.training and self.media.augment == "full"
        if not pairs or isinstance(sample, FailedSample):
            return sample
        if np.random.default_rng([*request.seed, request.items[0], _PLACES]).random() < 0.5:
            return sample
        return replace(sample, views=sample.views[::-1], crop_geometry=_CHANGED)

    def marks(self, item: Sentence, sample: Sample) -> dict[str, Any]:
        """Return the names of the classes, by which evaluation says what was chosen."""
        return {"classes": list(self.labels)}

    def streams(
        self, told: Sequence[tuple[int, Sentence]], samples: Sequence[Sample]
    ) -> dict[str, Callable[[], Any]]:
        """Return makers of the sentences Q and their labels."""
        return {
            "sentence": lambda: self.tokenizer(
                [self._said(item, samples[row]) for row, item in told], self.sentence_tokens
            ),
            "label": lambda: torch.tensor([self.labels[sentence.label] for _, sentence in told]),
        }

    def _said(self, item: Sentence, sample: Sample) -> str:
        said = clean_question(item.text, self.words)
        return swap_sides(said) if sample.crop_geometry == _CHANGED else said
