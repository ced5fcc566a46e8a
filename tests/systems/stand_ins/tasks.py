"""Tasks of pre-training: captions with instructions, plain text, regions with their captions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from modules.streams import Regions
from mplug2.data.batch import Sample
from mplug2.data.text import Tokenizer


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the JSON objects of a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class DocumentLines:
    """The lines of a text file, each cut to `document_tokens` tokens."""

    outputs = {"document": "text N Ld"}
    token_limits = {"document": "document_tokens"}

    def __init__(self, tokenizer: Tokenizer, document_tokens: int = 12) -> None:
        self.tokenizer, self.document_tokens = tokenizer, document_tokens

    def read(self, path: Path) -> list[str]:
        """Return the lines of a file."""
        return path.read_text(encoding="utf-8").splitlines()

    def question(self, text: str) -> str:
        """Return the text of a user."""
        return text

    def encode(self, items: Sequence[str], samples: Sequence[Sample]) -> dict[str, Any]:
        """Return the documents of a batch."""
        return {"document": self.tokenizer(items, self.document_tokens)}

    def num_tokens(self, item: str) -> int:
        """Return the tokens of a document, as it is cut."""
        return len(self.tokenizer.encode(item, self.document_tokens))


class RegionCaption:
    """Captions with the features and class probabilities of image regions.

    Lines are `{"caption": ..., "regions": [[...], ...], "classes": [[...], ...]}`. `mismatched`: the
    fraction of samples whose caption is that of the next sample; their `match` is 0.
    """

    outputs = {
        "caption": "text B L",
        "regions": "regions B R width",
        "region_classes": "scores B R classes",
        "match": "labels B",
    }

    def __init__(
        self, tokenizer: Tokenizer, caption_tokens: int = 8, mismatched: float = 0.0
    ) -> None:
        self.tokenizer, self.caption_tokens, self.mismatched = (
            tokenizer,
            caption_tokens,
            mismatched,
        )

    def read(self, path: Path) -> list[dict[str, Any]]:
        """Return the samples; the first of each group of them are mismatched."""
        rows = read_lines(path)
        captions = [row["caption"] for row in rows]
        num_mismatched = round(self.mismatched * len(rows))
        for number, row in enumerate(rows):
            row["match"] = int(number >= num_mismatched)
            row["caption"] = captions[
                number if row["match"] else (number + 1) % len(rows)
            ]
        return rows

    def question(self, text: str) -> dict[str, Any]:
        """Return a caption without regions."""
        return {"caption": text, "regions": [], "classes": [], "match": 1}

    def encode(
        self, items: Sequence[dict[str, Any]], samples: Sequence[Sample]
    ) -> dict[str, Any]:
        """Return captions, regions, their classes, and whether they match."""
        captions = [item["caption"] for item in items]
        features = torch.tensor([item["regions"] for item in items])
        boxes = torch.tensor([0.0, 0.0, 1.0, 0.5]).expand(*features.shape[:2], 4)
        return {
            "caption": self.tokenizer(captions, self.caption_tokens),
            "regions": Regions(features, boxes),
            "region_classes": torch.tensor([item["classes"] for item in items]),
            "match": torch.tensor([item["match"] for item in items]),
        }

    def num_tokens(self, item: dict[str, Any]) -> int:
        """Return the tokens of a caption and its regions."""
        return len(self.tokenizer.encode(item["caption"], self.caption_tokens)) + len(
            item["regions"]
        )
