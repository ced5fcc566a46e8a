"""Sentences about videos, images or pairs of images, with a label each: entailment, NLVR2, and any other
choice among few classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from mplug2.data.arguments import ArgumentError, at_least
from mplug2.data.batch import Sample
from mplug2.data.rows import fields, names, read_rows, shown, text
from mplug2.data.tasks.media_task import BatchItem, MediaTask
from mplug2.data.text_cleaning import clean_question, mirrored_words, swap_sides
from registry.errors import UserError

_FORM = "a line must be a JSON object with 'video_id' (or 'image', or 'images'), 'sentence' and 'label'"

# Separates the random numbers that swap a pair from those that augment its images.
_PLACES = 1
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
        """Return what evaluation writes down: the sentence is the question, its label the answer."""
        record: dict[str, Any] = {"question_id": self.id}
        if self.media:
            record[self.key] = (
                list(self.media) if len(self.media) > 1 else self.media[0]
            )
        record |= {"question": self.text, "answers": [self.label]}
        if self.kind is not None:
            record["type"] = self.kind
        return record | more


class TextLabelTask(MediaTask[Sentence]):
    """Videos, images or pairs of them with labelled sentences: one sample is one with up to
    ``sentences_per_clip`` sentences.

    ``path`` holds JSON lines ``{"video_id" | "image" | "images": ..., "sentence": ..., "label": ..., "type"?,
    "question_id"?}``; ``labels`` are the names of the classes, in the order of the network's outputs.
    ``augment: full`` lets the images of one pair in two change places, with the words left and right (mPLUG's
    training on NLVR2). Sentences are ``cleaned`` (lower case, no punctuation, at most ``sentence_words``
    words), or taken ``as written``.
    """

    outputs = {
        "video": "frames V 3 T H W",
        "image": "image V 3 H W",
        "left": "image V 3 H W",
        "right": "image V 3 H W",
        "video_index": "index Q -> V",
        "image_index": "index Q -> V",
        "regions": "regions V R F",
        "left_regions": "regions V R F",
        "right_regions": "regions V S F",
        "sentence": "text Q L",
        "label": "labels Q",
    }
    query_input = "sentence"
    token_limits = {"sentence": "sentence_tokens"}
    class_names = {"label": "labels"}

    def __init__(
        self,
        labels: list[str],
        sentences_per_clip: int = 1,
        sentence_words: int | None = None,
        sentence_tokens: int = 50,
        sentence_text: Literal["cleaned", "as written"] = "cleaned",
        augment: Literal["none", "crop", "full"] = "none",
        **settings: Any,
    ) -> None:
        if len(set(labels)) != len(labels) or len(labels) < 2:
            raise ArgumentError(
                "labels",
                f"labels must be two or more different names, but are {labels}",
            )
        at_least(
            1,
            sentences_per_clip=sentences_per_clip,
            sentence_words=sentence_words,
            sentence_tokens=sentence_tokens,
        )
        self.labels = {name: index for index, name in enumerate(labels)}
        self.items_per_sample, self.sentence_tokens = (
            sentences_per_clip,
            sentence_tokens,
        )
        self.cleaned = sentence_text == "cleaned"
        super().__init__(**settings)
        self.sentence_words = sentence_words or (30 if self.training else 50)
        self.swap_pairs = len(self.views) == 2 and self.training and augment == "full"

    def read(self, path: Path) -> list[Sentence]:
        """Return the sentences of the annotation file."""
        sentences = []
        for number, (where, row) in enumerate(read_rows(path, _FORM)):
            sentences.append(self._sentence(row, number, where))
        return sentences

    def question(self, text: str) -> Sentence:
        """Return a sentence without a label."""
        return Sentence(0, "images" if len(self.views) > 1 else "image", (), text, "")

    def mirror(self, item: Sentence) -> Sentence:
        """Return a sentence with left and right swapped."""
        return replace(item, text=mirrored_words(item.text))

    def _sentence(self, row: Any, number: int, where: str) -> Sentence:
        fields(row, where, _FORM, "sentence", "label")
        key, media = names(row, where)
        sentence, label = text(row, "sentence", where), row["label"]
        # NLVR2 writes True and False, with and without quotes.
        if isinstance(label, bool):
            label = str(label)
        if not isinstance(label, str) or label not in self.labels:
            choices = ", ".join(self.labels)
            raise UserError(
                f"{where}: 'label' must be one of {choices} (data.labels), but is {shown(label)}"
            )
        return Sentence(
            row.get("question_id", number), key, media, sentence, label, row.get("type")
        )

    def encode(
        self, items: Sequence[Sentence], samples: Sequence[Sample]
    ) -> dict[str, Any]:
        """Return the inputs of a batch; the two images of a pair may have changed places."""
        return super().encode(items, [self._swapped(sample) for sample in samples])

    def _swapped(self, sample: Sample) -> Sample:
        if not self.swap_pairs:
            return sample
        request = sample.request
        rng = np.random.default_rng([*request.seed, request.items[0], _PLACES])
        if rng.random() < 0.5:
            return sample
        # The mark lets `_sentence_text` swap left and right.
        return replace(sample, views=sample.views[::-1], crop_geometry=_CHANGED)

    def extra_record(self, item: Sentence, sample: Sample | None) -> dict[str, Any]:
        """Return the names of the classes, for the rows of an evaluation."""
        return {"classes": list(self.labels)}

    def num_tokens(self, item: Sentence) -> int:
        """Return the tokens of a sentence, as it is cut."""
        return len(self.tokenizer.encode(self._shown(item), self.sentence_tokens))

    def input_builders(
        self, batch_items: Sequence[BatchItem[Sentence]]
    ) -> dict[str, Callable[[], Any]]:
        """Return builders of the sentences Q and their labels."""
        texts = [self._sentence_text(entry.item, entry.sample) for entry in batch_items]

        # Within the function: an item without a label has no number, and prediction asks for none.
        def label_numbers() -> torch.Tensor:
            return torch.tensor(
                [self.labels[entry.item.label] for entry in batch_items]
            )

        return {
            "sentence": lambda: self.tokenizer(texts, self.sentence_tokens),
            "label": label_numbers,
        }

    def _shown(self, item: Sentence) -> str:
        if not self.cleaned:
            return item.text
        return clean_question(item.text, self.sentence_words)

    def _sentence_text(self, item: Sentence, sample: Sample) -> str:
        sentence = self._shown(item)
        return swap_sides(sentence) if sample.crop_geometry == _CHANGED else sentence
