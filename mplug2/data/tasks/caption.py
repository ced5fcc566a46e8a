"""Captions of videos and images: for writing them, and for finding one by the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from mplug2.data.arguments import ArgumentError, at_least
from mplug2.data.rows import fields, names, read_rows, shown
from mplug2.data.tasks.media_task import BatchItem, MediaTask
from mplug2.data.template import TextTemplate
from mplug2.data.text_cleaning import clean_caption, mirrored_words
from registry.errors import UserError

_KEYS = ("caption", "captions", "golden_captions")
_FORM = (
    "a line must be a JSON object with 'video_id' (or 'image') and 'caption', or a list of them under "
    "'golden_captions' or 'captions'"
)


@dataclass(frozen=True)
class Caption:
    """One caption, or in evaluation all captions, of a video or image; ``references`` are always all."""

    id: int | str
    key: str
    media: tuple[str, ...]
    texts: tuple[str, ...]
    references: tuple[str, ...] = ()

    def record(self, **more: Any) -> dict[str, Any]:
        """Return what evaluation writes down: the captions are what a generated one is measured against."""
        record: dict[str, Any] = {"question_id": self.id}
        if self.media:
            record[self.key] = self.media[0]
        return record | {"references": list(self.texts)} | more


class CaptionTask(MediaTask[Caption]):
    """Videos or images with captions to be written: in training one sample is a file with up to
    ``captions_per_clip`` of its captions, in evaluation a file with all of them.

    ``path`` holds JSON lines ``{"video_id" | "image": ..., "caption": "text" | [texts]}``; `golden_captions`
    and `captions` are read, too. ``prompt`` is put before every caption, unchanged (released: "a video
    of", without a space between them); the input ``prompt`` is [CLS] and its words, to begin generation
    with. Captions are cut to ``caption_words`` words, and with [CLS], prompt and [SEP] to ``caption_tokens``
    tokens: of a longer one [SEP] is cut off with the rest, so the network does not learn to end there (as
    released). ``template`` (`[CLS] {caption} [SEP]`) replaces prompt and [SEP]: then the caption is cut
    and the template's own tokens stay. ``references``: all captions of each file as they are written.
    The network reads captions ``cleaned`` (lower case, no punctuation, at most ``caption_words`` words), or
    ``as written``.
    """

    submission = "captions"  # the form of result files for evaluation servers
    outputs = {
        "video": "frames V 3 T H W",
        "image": "image V 3 H W",
        "video_index": "index Q -> V",
        "image_index": "index Q -> V",
        "caption": "text Q L",
        "prompt": "text Q P",
        "references": "strings Q",
    }
    token_limits = {"caption": "caption_tokens"}

    def __init__(
        self,
        captions_per_clip: int = 1,
        caption_words: int = 50,
        caption_tokens: int = 20,
        prompt: str = "",
        template: str | None = None,
        caption_text: Literal["cleaned", "as written"] = "cleaned",
        **settings: Any,
    ) -> None:
        at_least(
            1,
            captions_per_clip=captions_per_clip,
            caption_words=caption_words,
            caption_tokens=caption_tokens,
        )
        self.items_per_sample, self.prompt = captions_per_clip, prompt
        self.caption_words, self.caption_tokens = caption_words, caption_tokens
        self.cleaned = caption_text == "cleaned"
        super().__init__(**settings)
        self.template = self._template(template)

    def _template(self, template: str | None) -> TextTemplate | None:
        if template is None:
            return None
        if self.prompt:
            raise ArgumentError(
                "template", "a template contains its prompt: set 'template' or 'prompt'"
            )
        read = TextTemplate(template, self.tokenizer, self.caption_tokens)
        if read.fields != ("caption",):
            raise ArgumentError(
                "template",
                f"the template of a caption must have one field, {{caption}} (got {template!r})",
            )
        return read

    def read(self, path: Path) -> list[Caption]:
        """Return the captions of the annotation file: for training one by one, else all of a file
        together."""
        captions: list[Caption] = []
        for number, (where, row) in enumerate(read_rows(path, _FORM)):
            captions += _captions_of_line(row, number, where)
        by_media: dict[tuple[str, ...], list[Caption]] = {}
        for caption in captions:
            by_media.setdefault(caption.media, []).append(caption)
        references = {}
        for media, group in by_media.items():
            texts: list[str] = []
            for caption in group:
                texts += caption.texts
            references[media] = tuple(texts)
        # One by one in training, so that every caption is a target in each epoch.
        if self.training:
            items = []
            for caption in captions:
                items.append(replace(caption, references=references[caption.media]))
            return items
        merged = []
        for media, group in by_media.items():
            merged.append(
                replace(group[0], texts=references[media], references=references[media])
            )
        return merged

    def question(self, text: str) -> Caption:
        """Return an item without references, with the caption to find a file by, if there is one."""
        return Caption(0, "image", (), (text,))

    def mirror(self, item: Caption) -> Caption:
        """Return captions with left and right swapped."""
        texts = tuple(mirrored_words(text) for text in item.texts)
        references = tuple(mirrored_words(text) for text in item.references)
        return replace(item, texts=texts, references=references)

    def references(self, items: Sequence[Caption]) -> list[list[str]]:
        """Return all captions of every file, as they are written."""
        # The captions of one file are several items in training: its references count once.
        by_media = {item.media: list(item.references) for item in items}
        return list(by_media.values())

    def num_tokens(self, item: Caption) -> int:
        """Return the tokens of all captions of an item, as they are cut."""
        return sum(len(self._caption_ids(text)) for text in item.texts)

    def _caption_ids(self, caption: str) -> list[int]:
        """Return the token ids of one caption, cut to ``caption_tokens``."""
        if self.template is not None:
            return self.template.encode({"caption": self.clean(caption)})
        return self.tokenizer.encode(self._caption_text(caption), self.caption_tokens)

    def _caption_text(self, caption: str) -> str:
        return f"{self.prompt}{self.clean(caption)}[SEP]"

    def clean(self, caption: str) -> str:
        """Return a caption as the network reads and writes it."""
        return clean_caption(caption, self.caption_words) if self.cleaned else caption

    def input_builders(
        self, batch_items: Sequence[BatchItem[Caption]]
    ) -> dict[str, Callable[[], Any]]:
        """Return builders of captions, prompts and references, one row each."""
        captions = [entry.item for entry in batch_items]
        # In evaluation an item has all captions of its file: the network is scored on the first one.
        texts = [caption.texts[0] for caption in captions]
        return {
            "caption": lambda: self._padded_captions(texts),
            "prompt": lambda: self.tokenizer([self.prompt] * len(captions)),
            "references": lambda: [list(caption.references) for caption in captions],
        }

    def _padded_captions(self, texts: Sequence[str]) -> Any:
        """Return captions as the input `caption`, padded to the longest."""
        return self.tokenizer.pad_rows([self._caption_ids(text) for text in texts])


class RetrievalTask(CaptionTask):
    """Videos or images with captions to find them by.

    In training one sample is one file with up to ``captions_per_clip`` of its captions, and an epoch shows
    every caption once (as released). ``media_id`` is the number of a caption's file: captions of one file are
    not negatives of each other. In evaluation one sample is a file with all its captions Q: there are more
    captions than files.
    """

    outputs = {
        "video": "frames V 3 T H W",
        "image": "image V 3 H W",
        "video_index": "index Q -> V",
        "image_index": "index Q -> V",
        "caption": "text Q L",
        "media_id": "index Q",
    }
    query_input = "caption"

    def __init__(
        self,
        caption_words: int = 30,
        caption_tokens: int = 40,
        **settings: Any,
    ) -> None:
        super().__init__(
            caption_words=caption_words, caption_tokens=caption_tokens, **settings
        )
        # In evaluation each file is embedded once, and there are more captions than files.
        self.repeat_media = self.training

    def _caption_text(self, caption: str) -> str:
        return self.clean(caption)

    def input_builders(
        self, batch_items: Sequence[BatchItem[Caption]]
    ) -> dict[str, Callable[[], Any]]:
        """Return builders of the captions, and of the samples and the groups they belong to."""
        rows, groups, texts = [], [], []
        for entry in batch_items:
            for text in entry.item.texts:
                rows.append(entry.row)
                groups.append(entry.sample.request.media_id)
                texts.append(text)
        return {
            self.index: lambda: torch.tensor(rows, dtype=torch.long),
            "caption": lambda: self._padded_captions(texts),
            "media_id": lambda: torch.tensor(groups, dtype=torch.long),
        }


def _captions_of_line(row: Any, number: int, where: str) -> list[Caption]:
    fields(row, where, _FORM, "|".join(_KEYS))
    key, media = names(row, where)
    value = next(row[name] for name in _KEYS if name in row)
    texts = [value] if isinstance(value, str) else value
    is_list = isinstance(texts, list) and bool(texts)
    if not is_list or not all(isinstance(text, str) for text in texts):
        raise UserError(
            f"{where}: 'caption' must be a text or a list of texts, but is {shown(value)}"
        )
    captions = []
    for text in texts:
        # An empty caption would teach the network to write nothing.
        if not text.strip():
            raise UserError(
                f"{where}: a caption must have words, but is empty. Remove it, or write one"
            )
        item_id = row.get("question_id", number)
        captions.append(Caption(item_id, key, media, (text,)))
    return captions
