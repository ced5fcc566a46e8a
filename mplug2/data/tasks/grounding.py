"""Phrases about images with the box that each means: RefCOCO, RefCOCO+, RefCOCOg and the shapes world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mplug2.data.arguments import at_least
from mplug2.data.batch import Sample
from mplug2.data.media.folder import MediaFolder
from mplug2.data.media.image import ImageError, resize
from mplug2.data.rows import fields, names, read_rows, shown, text
from mplug2.data.tasks.media_task import BatchItem, MediaTask
from mplug2.data.text_cleaning import mirrored_words
from registry.errors import UserError

NOWHERE = (0.0, 0.0, 0.0, 0.0)  # the box of a phrase that is asked for
_FORM = "a line must be a JSON object with 'image', 'phrase' and 'box' ([left, top, right, bottom] in pixels)"


@dataclass(frozen=True)
class Phrase:
    """What one box [left, top, right, bottom] of an image is called; pixels of the file.

    ``size``: width and height of the file, where the annotation has them. ``where``: FILE:LINE.
    """

    id: int | str
    media: tuple[str, ...]
    text: str
    box: tuple[float, float, float, float]
    size: tuple[int, int] | None = None
    where: str = ""

    def record(self, **more: Any) -> dict[str, Any]:
        """Return what evaluation writes down."""
        record: dict[str, Any] = {"question_id": self.id}
        if self.media:
            record["image"] = self.media[0]
        return record | {"question": self.text, "pixels": list(self.box)} | more


@dataclass(frozen=True)
class Letterbox:
    """How an image was placed in a square: scaled, moved, perhaps mirrored; sides of the square count 1."""

    scale: float  # sides of the square per pixel of the file
    left: float
    top: float
    mirrored: bool = False

    def place(self, box: Sequence[float]) -> list[float]:
        """Return a box [left, top, right, bottom] in pixels of the file as parts of the square."""
        x1, y1, x2, y2 = (value * self.scale for value in box)
        placed = [x1 + self.left, y1 + self.top, x2 + self.left, y2 + self.top]
        if self.mirrored:
            # The right side becomes the left one.
            placed = [1 - placed[2], placed[1], 1 - placed[0], placed[3]]
        # The part of a box that is outside the square is cut off.
        return [min(max(value, 0.0), 1.0) for value in placed]

    @property
    def corner_and_size(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Left and top of the image in the square, and its width and height; sides of the square count 1."""
        return (self.left, self.top), (1 - 2 * self.left, 1 - 2 * self.top)

    def pixels(self, box: Sequence[float]) -> list[float]:
        """Return a box in parts of the square in pixels of the file: `place` undone."""
        x1, y1, x2, y2 = box
        if self.mirrored:
            x1, x2 = 1 - x2, 1 - x1
        sides = x1 - self.left, y1 - self.top, x2 - self.left, y2 - self.top
        return [side / self.scale for side in sides]


class GroundingTask(MediaTask[Phrase]):
    """Images with phrases and their boxes: one sample is one image and up to ``phrases_per_image`` phrases.

    ``path`` holds JSON lines ``{"image": ..., "phrase": ..., "box": [left, top, right, bottom]}`` in pixels,
    perhaps with the ``size`` [width, height] of the image, which a network without the image needs.
    Images keep their proportions: they are centred in the square, on grey. The input ``box`` is
    [left, top, right, bottom] in parts of that square; a box outside its image, or a ``size`` that is not
    that of the file, is treated as a file that cannot be decoded. A phrase is [CLS], its words in lower case
    with their punctuation, and [SEP], together at most ``phrase_tokens`` (mPLUG's text). ``flip:
    media_and_text`` mirrors one image in two with its boxes, and swaps left and right in its phrases.
    ``augment`` must be none: a crop may cut off what a phrase means.
    """

    outputs = {
        "image": "image V 3 H W",
        "image_index": "index Q -> V",
        "regions": "regions V R F",
        "phrase": "text Q L",
        "box": "boxes Q 4",
    }
    query_input = "phrase"
    token_limits = {"phrase": "phrase_tokens"}

    def __init__(
        self,
        phrases_per_image: int = 1,
        phrase_tokens: int = 20,
        augment: Literal["none"] = "none",
        flip: Literal["none", "media_and_text"] = "none",
        **settings: Any,
    ) -> None:
        at_least(1, phrases_per_image=phrases_per_image)
        # [CLS], a word and [SEP].
        at_least(3, phrase_tokens=phrase_tokens)
        self.items_per_sample, self.phrase_tokens = phrases_per_image, phrase_tokens
        super().__init__(**settings)
        self.mirror = self.training and flip == "media_and_text"

    def read(self, path: Path) -> list[Phrase]:
        """Return the phrases of the annotation file."""
        phrases = []
        for number, (where, row) in enumerate(read_rows(path, _FORM)):
            phrase = read_phrase(row, number, where)
            if not self.views and phrase.size is None:
                raise UserError(
                    f"{where}: without the input 'image', a line must have 'size' ([width, height] of "
                    "the image in pixels), but has none. `mplug2 data prepare refcoco` writes it"
                )
            phrases.append(phrase)
        return phrases

    def question(self, text: str) -> Phrase:
        """Return a phrase without a box."""
        return Phrase(0, (), text, NOWHERE)

    def num_tokens(self, item: Phrase) -> int:
        """Return the tokens of a phrase, as it is cut."""
        return len(self.tokenizer.encode(item.text.lower(), self.phrase_tokens - 1)) + 1

    def decode(
        self,
        media: MediaFolder,
        name: str,
        items: Sequence[Phrase],
        rng: np.random.Generator,
    ) -> tuple[Tensor, Letterbox]:
        """Return an image in a square, and its geometry; a box outside the image counts as undecodable."""
        file = media.file(name)
        pixels, size = media.picture(file), media.size
        height, width = pixels.shape[:2]
        scale = size / max(height, width)
        inner = max(1, round(height * scale)), max(1, round(width * scale))
        top, left = ((size - length) // 2 for length in inner)
        resized = torch.from_numpy(resize(pixels, *inner)[None])
        # (1, height, width, 3) -> (1, 3, height, width)
        small = media.normalize(resized.permute(0, 3, 1, 2))[:, 0]
        # After normalization, zero is the mean grey.
        square = torch.zeros(3, size, size)
        square[:, top : top + inner[0], left : left + inner[1]] = small
        mirrored = self.mirror and rng.random() < 0.5
        square = square.flip(-1) if mirrored else square
        letterbox = Letterbox(scale / size, left / size, top / size, bool(mirrored))
        for item in items:
            problem = self.item_problem(item, width, height)
            if problem is not None:
                raise ImageError(problem)
        return square, letterbox

    def item_problem(self, item: Phrase, width: int, height: int) -> str | None:
        """Return why a phrase cannot be about an image of this size in pixels: its box or its size."""
        if item.box == NOWHERE:
            return None
        image = f"the image {item.media[0]} ({width}x{height} pixels)"
        if item.size not in (None, (width, height)):
            return f"{item.where}: 'size' must be that of {image}, but is {shown(item.size)}"
        left, top, right, bottom = item.box
        # A part of it may be outside.
        if left < width and top < height and right > 0 and bottom > 0:
            return None
        return f"{item.where}: the box {shown(item.box)} of {shown(item.text)} is outside {image}"

    def input_builders(
        self, batch_items: Sequence[BatchItem[Phrase]]
    ) -> dict[str, Callable[[], Any]]:
        """Return builders of the phrases Q and their boxes."""
        texts = [_phrase_text(entry.item, entry.sample) for entry in batch_items]

        def boxes() -> Tensor:
            return torch.tensor(
                [placed_box(entry.item, entry.sample) for entry in batch_items]
            )

        return {
            "phrase": lambda: self.tokenizer.encode_with_sep(texts, self.phrase_tokens),
            "box": boxes,
        }

    def place_boxes(self, boxes: np.ndarray, sample: Sample) -> np.ndarray:
        """Return boxes in fractions of the file as fractions of the square; unchanged without an image."""
        letterbox: Letterbox | None = sample.crop_geometry
        if letterbox is None:
            return boxes
        corner, inner = letterbox.corner_and_size
        placed = boxes * (inner + inner) + (corner + corner)
        if letterbox.mirrored:
            placed = np.stack(
                [1 - placed[:, 2], placed[:, 1], 1 - placed[:, 0], placed[:, 3]], axis=1
            )
        return placed.astype(np.float32)

    def extra_record(self, item: Phrase, sample: Sample | None) -> dict[str, Any]:
        """Return the box in parts of the square, which a predicted one is compared with."""
        return {"box": placed_box(item, sample)}


def _phrase_text(item: Phrase, sample: Sample) -> str:
    letterbox: Letterbox | None = sample.crop_geometry
    phrase = item.text.lower()
    if letterbox is None or not letterbox.mirrored:
        return phrase
    return mirrored_words(phrase)


def placed_box(item: Phrase, sample: Sample | None) -> list[float]:
    """Return the box in the square, or as fractions of an image that is not read; zeros without either."""
    letterbox: Letterbox | None = None if sample is None else sample.crop_geometry
    if letterbox is not None:
        return letterbox.place(item.box)
    if sample is None or item.size is None:
        return [0.0] * 4
    width, height = item.size
    sides = (width, height, width, height)
    fractions = []
    for side, length in zip(item.box, sides, strict=True):
        fractions.append(min(max(side / length, 0.0), 1.0))
    return fractions


def read_phrase(row: Any, number: int, where: str) -> Phrase:
    """Return the phrase of a line; UserError with file and line if it is not one."""
    fields(row, where, _FORM, "phrase", "box")
    _, media = names(row, where)
    box = row["box"]
    if not _is_box(box):
        raise UserError(
            f"{where}: 'box' must be [left, top, right, bottom] with an area in the image, "
            f"but is {shown(box)}"
        )
    left, top, right, bottom = map(float, box)
    return Phrase(
        row.get("question_id", number),
        media,
        text(row, "phrase", where),
        (left, top, right, bottom),
        _size(row.get("size"), where),
        where,
    )


def _is_box(value: Any) -> bool:
    """Return whether a value is four numbers of a box with an area in the image."""
    if not isinstance(value, list) or len(value) != 4:
        return False
    for side in value:
        # True and false are integers in Python; the bound refuses NaN and infinity, too.
        is_number = isinstance(side, int | float) and not isinstance(side, bool)
        if not is_number or not abs(side) < 1e6:
            return False
    left, top, right, bottom = value
    return bool(max(left, 0) < right and max(top, 0) < bottom)


def _size(value: Any, where: str) -> tuple[int, int] | None:
    """Return width and height of an image, None if a line does not have them."""
    if value is None:
        return None
    numbers = value if isinstance(value, list) else []
    if len(numbers) != 2 or not all(
        type(number) is int and 0 < number < 1e6 for number in numbers
    ):
        raise UserError(
            f"{where}: 'size' must be [width, height] in pixels, but is {shown(value)}"
        )
    return numbers[0], numbers[1]
