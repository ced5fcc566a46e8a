"""Captions of videos and images: for writing them, and for finding one by the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mplug2.data.batch import Sample
from mplug2.data.rows import fields, names, read_rows, shown
from mplug2.data.tasks.limits import at_least
from mplug2.data.tasks.reader import MediaReader
from mplug2.data.text import clean_caption
from registry.errors import UserError

_KEYS = ("caption", "captions", "golden_captions")
_FORM = (
    "a line must be a JSON object with 'video_id' (or 'image') and 'caption', or a list of them under "
    "'golden_captions' or 'captions'"
)


@dataclass(frozen=True)
class Caption:
    """One caption, or in evaluation all captions, of a video or image."""

    id: int | str
    key: str
    media: tuple[str, ...]
    texts: tuple[str, ...]

    def record(self, **more: Any) -> dict[str, Any]:
        """Return what evaluation writes down: the captions are what a generated one is measured against."""
        return {"question_id": self.id, self.key: self.media[0], "references": list(self.texts)} | more


class CaptionReader(MediaReader[Caption]):
    """Videos or images with captions to be written: in training one sample is a file with up to
    ``captions_per_clip`` of its captions, in evaluation a file with all of them.

    ``path`` holds JSON lines ``{"video_id" | "image": ..., "caption": "text" | [texts]}``; `golden_captions`
    and `captions` are read, too. ``prompt`` is put before every caption, as it stands (released: "a video
    of", without a space between them); the input ``prompt`` is [CLS] and its words, to begin generation
    with. Captions are cut to ``caption_words`` words, and with [CLS], prompt and [SEP] to ``caption_tokens``
    tokens: of a longer one [SEP] is cut off with the rest, so the network does not learn to end there (as
    released). ``references``: all captions of each file as they are written. All else is as for every reader
    (`MediaReader`).
    """

    submission = "captions"  # the form of result files for evaluation servers
    outputs = {
        "video": "frames V 3 T H W",
        "image": "image V 3 H W",
        "clip": "index Q",
        "picture": "index Q",
        "caption": "text Q L",
        "prompt": "text Q P",
        "references": "strings Q",
    }

    def __init__(
        self,
        captions_per_clip: int = 1,
        caption_words: int = 50,
        caption_tokens: int = 20,
        prompt: str = "",
        **settings: Any,
    ) -> None:
        at_least(
            1,
            settings,
            captions_per_clip=captions_per_clip,
            caption_words=caption_words,
            caption_tokens=caption_tokens,
        )
        self.together, self.prompt = captions_per_clip, prompt
        self.caption_words, self.caption_tokens = caption_words, caption_tokens
        super().__init__(**settings)
        self._references: dict[tuple[str, ...], list[str]] = {}
        for item in self.items:
            self._references.setdefault(item.media, []).extend(item.texts)

    def annotations(self, path: Path) -> list[Caption]:
        """Return the captions of the annotation file: for training one by one, else all of a file
        together."""
        found = [
            one
            for number, (where, row) in enumerate(read_rows(path, _FORM))
            for one in _line(row, number, where)
        ]
        if self.training:
            return found
        merged: dict[tuple[str, ...], list[Caption]] = {}
        for one in found:
            merged.setdefault(one.media, []).append(one)
        return [
            Caption(every[0].id, every[0].key, media, tuple(text for one in every for text in one.texts))
            for media, every in merged.items()
        ]

    def item(self, number: int, media: tuple[str, ...], text: str) -> Caption:
        """Return a file, with the caption to find it by where one is given."""
        return Caption(number, "image", media, (text,))

    def references(self) -> list[list[str]]:
        """Return all captions of every file, as they are written."""
        return list(self._references.values())

    def clean(self, caption: str) -> str:
        """Return a caption as the network reads and writes it."""
        return clean_caption(caption, self.caption_words)

    def streams(
        self, told: Sequence[tuple[int, Caption]], samples: Sequence[Sample]
    ) -> dict[str, Callable[[], Any]]:
        """Return makers of captions, prompts and references, one row each."""
        return {
            "caption": lambda: self.tokenizer(
                [f"{self.prompt}{self.clean(item.texts[0])}[SEP]" for _, item in told], self.caption_tokens
            ),
            "prompt": lambda: self.tokenizer([self.prompt for _ in told]),
            "references": lambda: [self._references[item.media] for _, item in told],
        }


class RetrievalReader(CaptionReader):
    """Videos or images with captions to find them by.

    In training one sample is one file with up to ``captions_per_clip`` of its captions, and an epoch shows
    every caption once (as released). ``group`` says which file a caption belongs to: captions of one file,
    of which a batch may hold several, are no wrong partners of it. In evaluation one sample is a file with
    all its captions Q: there are more captions than files.
    """

    outputs = {
        "video": "frames V 3 T H W",
        "image": "image V 3 H W",
        "clip": "index Q",
        "picture": "index Q",
        "caption": "text Q L",
        "group": "index Q",
    }
    asks = "caption"

    def __init__(
        self,
        caption_words: int = 30,
        caption_tokens: int = 40,
        **settings: Any,
    ) -> None:
        super().__init__(caption_words=caption_words, caption_tokens=caption_tokens, **settings)
        self.repeats = self.training
        self.numbers = {media: number for number, media in enumerate(self.by_media)}

    def streams(
        self, told: Sequence[tuple[int, Caption]], samples: Sequence[Sample]
    ) -> dict[str, Callable[[], Any]]:
        """Return makers of the captions, and of the samples and the groups they belong to."""
        texts = [(row, item, text) for row, item in told for text in item.texts]
        return {
            self.index: lambda: torch.tensor([row for row, _, _ in texts]),
            "caption": lambda: self.tokenizer([self.clean(text) for *_, text in texts], self.caption_tokens),
            "group": lambda: torch.tensor([self.numbers[item.media] for _, item, _ in texts]),
        }


def _line(row: Any, number: int, where: str) -> list[Caption]:
    fields(row, where, _FORM, "|".join(_KEYS))
    key, media = names(row, where)
    given = next(row[name] for name in _KEYS if name in row)
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(one, str) for one in texts):
        raise UserError(f"{where}: 'caption' must be a text or a list of texts, but is {shown(given)}")
    return [Caption(row.get("question_id", number), key, media, (one,)) for one in texts]
