"""A small network that finds images by captions, and batches of random ones for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from modules.streams import Text
from mplug2.build.compose import compose
from mplug2.network import Network
from registry import Spec, parse_spec

SPEC = """
inputs: {image: image B 3 H W, caption: text B L}
modules:
  vision: {use: image_vit, width: 32, depth: 1, heads: 2, patch: 8, size: 16}
  words: {use: text_embedding, width: 32, vocab_size: 50, max_positions: 16}
  fusion: {use: fusion, width: 32, depth: 1, heads: 2}
  to_v: {use: feature_head, width_in: 32, width: 8}
  to_t: {use: feature_head, width_in: 32, width: 8, pool: mean}
  match: {use: class_head, width: 32, classes: 2}
flow:
  visual: vision(image)
  asked: words(caption)
  v: to_v(visual)
  t: to_t(asked)
  one: fusion(text=asked, vision=visual)
  score: match(one.text)
goals:
  embed_vision: {v: v, visual: visual}
  embed_text: {t: t, asked: asked}
  rerank: {score: score}
eval: {metrics: [recall]}
"""


def spec(**more: Any) -> Spec:
    """The spec with further keys of `eval`."""
    keys = "".join(f", {key}: {value}" for key, value in more.items())
    return parse_spec(SPEC.replace("[recall]", f"[recall]{keys}"), "retrieval.yaml")


def network(**more: Any) -> Network:
    """The network with the same weights every time."""
    torch.manual_seed(0)
    return compose(spec(**more))


@dataclass
class Batch:
    inputs: dict[str, Any]
    records: list[dict[str, Any]]


@dataclass
class World:
    """Image i has 1 to 3 captions; batches of ``size`` images for one of ``ranks``, the last ones padded."""

    images: int
    size: int = 3
    rank: int = 0
    world: int = 1
    bad: tuple[int, ...] = ()

    def image(self, number: int) -> torch.Tensor:
        return torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(number))

    def captions(self, number: int) -> list[list[int]]:
        draw = torch.Generator().manual_seed(1000 + number)
        return [
            [1, *torch.randint(3, 50, (2 + (number + i) % 5,), generator=draw).tolist()]
            for i in range(1 + number % 3)
        ]

    def batch(self, numbers: list[tuple[int, bool]]) -> Batch:
        ids = [caption for number, _ in numbers for caption in self.captions(number)]
        records = []
        for number, padding in numbers:
            texts = [" ".join(map(str, caption)) for caption in self.captions(number)]
            record = {
                "question_id": number,
                "image": f"{number}.jpg",
                "references": texts,
            }
            records.append(record | ({"padding": True} if padding else {}))
            if number in self.bad:
                records[-1]["bad"] = "no image"
        image = torch.stack([self.image(number) for number, _ in numbers])
        return Batch({"image": image, "caption": text(ids)}, records)

    def mine(self) -> list[tuple[int, bool]]:
        lacking = -self.images % self.world
        every = [(number, False) for number in range(self.images)] + [
            (number % self.images, True) for number in range(lacking)
        ]
        return every[self.rank :: self.world]

    def __len__(self) -> int:
        return -(-len(self.mine()) // self.size)

    def __iter__(self) -> Iterator[Batch]:
        mine = self.mine()
        return (
            self.batch(mine[start : start + self.size])
            for start in range(0, len(mine), self.size)
        )


def text(ids: list[list[int]]) -> Text:
    """Ids padded to the longest."""
    longest = max(map(len, ids))
    padded = torch.tensor([one + [0] * (longest - len(one)) for one in ids])
    mask = torch.tensor(
        [[True] * len(one) + [False] * (longest - len(one)) for one in ids]
    )
    return Text(padded, mask)
