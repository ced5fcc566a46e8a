"""Phrases about regions of images, and which patches of an image each speaks of: TiMix's region data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mplug2.data.batch import Sample
from mplug2.data.rows import fields, names, read_rows, shown, text
from mplug2.data.tasks.grounding import (
    NOWHERE,
    GroundingTask,
    Phrase,
    placed_box,
    read_phrase,
)
from mplug2.data.tasks.media_task import BatchItem
from registry.errors import UserError

_FORM = (
    "a line must be a JSON object with 'image' and 'phrase', perhaps with 'box' ([left, top, right, bottom] "
    "in pixels), or with 'image' and 'elems' ([{\"bb\": [left, top, width, height], \"caption\": ...}, ...])"
)
_CLOSE = 1e-6  # of the side of a patch: a box that ends on an edge does not reach the next patch
_PATCHES = "phrase_patches"


class RegionPhrasesTask(GroundingTask):
    """Images with phrases about regions: a sample is an image and up to ``phrases_per_image`` phrases.

    ``path`` holds the lines of `grounding`, ``{"image": ..., "phrase": ..., "box": [left, top, right,
    bottom]}`` in pixels. A phrase without a box is about the complete image. TiMix's own lines are read, too:
    ``{"image": ..., "caption": ..., "elems": [{"bb": [left, top, width, height], "caption": ...}, ...]}``,
    whose caption is about the complete image. Images are placed in the square as in `grounding`.

    ``phrase_patches`` is 1 for each patch that the box overlaps, and 0 for the others. The spec gives the
    number of patches, a square number, in the type of this input (``labels P 256``).
    """

    repeat_media = False
    outputs = {
        "region_image": "image G 3 H W",
        "phrase": "text P L",
        "phrase_image": "index P -> G",
        "phrase_patches": "labels P patches",
    }

    def __init__(self, phrases_per_image: int = 5, **settings: Any) -> None:
        super().__init__(phrases_per_image=phrases_per_image, **settings)
        stream = (settings.get("types") or {}).get(_PATCHES)
        count = stream.axes[-1] if stream is not None else 0
        if not isinstance(count, int):
            raise UserError(
                f"input '{_PATCHES}' must have a known number of patches, but is '{stream}'; write it in "
                f"`inputs`, as in `{_PATCHES}: labels P 256`"
            )
        self.side = math.isqrt(count)
        if self.side**2 != count:
            raise UserError(
                f"input '{_PATCHES}' must have a square number of patches, but has {count}"
            )

    def read(self, path: Path) -> list[Phrase]:
        """Return the phrases of the annotation file."""
        phrases: list[Phrase] = []
        for where, row in read_rows(path, _FORM):
            if isinstance(row, dict) and "elems" in row:
                rows = list(_plain_rows(row, where))
            else:
                rows = [row]
            for line in rows:
                phrases.append(_phrase(line, len(phrases), where))
        return phrases

    def encode(
        self, items: Sequence[Phrase], samples: Sequence[Sample]
    ) -> dict[str, Any]:
        """Return each image once, and the phrases with the rows of their images."""
        inputs = super().encode(items, samples)
        inputs["phrase_image"] = inputs.pop(self.index)
        return inputs

    def input_builders(
        self, batch_items: Sequence[BatchItem[Phrase]]
    ) -> dict[str, Callable[[], Any]]:
        """Return builders of the phrases P and of their patches."""
        phrases = super().input_builders(batch_items)["phrase"]

        def phrase_patches() -> Tensor:
            rows = [self.patches(entry.item, entry.sample) for entry in batch_items]
            return torch.stack(rows)

        return {"phrase": phrases, _PATCHES: phrase_patches}

    def patches(self, item: Phrase, sample: Sample | None) -> Tensor:
        """Return 1 for each patch of the square that a phrase speaks of, row by row, and 0 for the others."""
        grid = torch.ones(self.side, self.side, dtype=torch.long)
        if item.box != NOWHERE:
            box = placed_box(item, sample)
            left, top, right, bottom = (number * self.side for number in box)
            # A phrase without a box is about all patches, one with a box about those that it overlaps.
            grid.zero_()
            rows = slice(math.floor(top + _CLOSE), math.ceil(bottom - _CLOSE))
            columns = slice(math.floor(left + _CLOSE), math.ceil(right - _CLOSE))
            grid[rows, columns] = 1
        return grid.flatten()


def _phrase(row: Any, number: int, where: str) -> Phrase:
    if isinstance(row, dict) and "box" in row:
        return read_phrase(row, number, where)
    fields(row, where, _FORM, "phrase")
    _, media = names(row, where)
    return Phrase(
        row.get("question_id", number), media, text(row, "phrase", where), NOWHERE
    )


def _plain_rows(row: dict[str, Any], where: str) -> Iterator[dict[str, Any]]:
    """Yield the regions of a line of TiMix as lines of `grounding`."""
    if "caption" in row:
        yield {"image": row.get("image"), "phrase": row["caption"]}
    if not isinstance(row["elems"], list):
        raise UserError(
            f"{where}: 'elems' must be a list of regions, but is {shown(row['elems'])}"
        )
    for element in row["elems"]:
        box = element.get("bb") if isinstance(element, dict) else None
        if not (
            isinstance(box, list)
            and len(box) == 4
            and all(type(x) in (int, float) for x in box)
        ):
            raise UserError(
                f"{where}: each of 'elems' must have 'bb' ([left, top, width, height]), but one is "
                f"{shown(element)}"
            )
        left, top, width, height = box
        corners = [left, top, left + width, top + height]
        yield {
            "image": row.get("image"),
            "phrase": element.get("caption"),
            "box": corners,
        }
