"""A contact sheet as one PNG image."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from mplug2.predict.result import Look, Result, printable

COLUMNS, CARD, GAP, EDGE, INSET = 4, 320, 20, 32, 14
GROUND, PAPER, LINE = "#f6f7f9", "#ffffff", "#e1e5ea"
INK, PALE, RED = "#1c2530", "#667382", "#b3261e"
MARK = "#e5484d"
LINES = 4  # of each text
TALLEST = 2  # height of an image relative to its width: a taller one is scaled down, with margins
MOST_LINES = 40  # of all texts about a file, whose name is below them


_Line = tuple[str, ImageFont.FreeTypeFont, str]  # text, font, colour


class PngPaper:
    """Cards in rows of `COLUMNS`; memory holds all of them."""

    def __init__(self, file: BinaryIO, heading: str) -> None:
        self.file, self.heading = file, heading
        self.cards: list[Image.Image] = []
        # Those of matplotlib: the same letters on every machine.
        fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
        plain, bold = fonts / "DejaVuSans.ttf", fonts / "DejaVuSans-Bold.ttf"
        self.plain = {size: ImageFont.truetype(plain, size) for size in (11, 13)}
        self.bold = {size: ImageFont.truetype(bold, size) for size in (15, 22)}

    def add(self, results: list[Result]) -> None:
        """Paint a card."""
        first = results[0]
        pictures = []
        for look in first.looks:
            pictures += [_marked(look, jpeg, results) for jpeg in look.pictures]
        strip = _strip(pictures)
        lines = self._lines(results)
        height = (
            strip.height + sum(font.size * 1.35 for _, font, _ in lines) + 2 * INSET
        )
        card = Image.new("RGB", (CARD, round(height)), PAPER)
        card.paste(strip, (0, 0))
        pen, y = ImageDraw.Draw(card), float(strip.height + INSET)
        for text, font, colour in lines:
            pen.text((INSET, y), text, font=font, fill=colour)
            y += font.size * 1.35
        pen.rectangle((0, 0, CARD - 1, card.height - 1), outline=LINE)
        self.cards.append(card)

    def _lines(self, results: list[Result]) -> list[_Line]:
        small, medium, large = self.plain[11], self.plain[13], self.bold[15]
        gap: _Line = ("", small, PALE)
        lines: list[_Line] = []
        error = results[0].error
        if error is not None:
            lines.append(("cannot be read", large, RED))
            lines += _painted(error, medium, PALE)
        # A file that cannot be read has no answers.
        for result in results if error is None else ():
            if result.question is not None:
                lines += [gap] if lines else []
                lines += _painted(result.question, medium, PALE)
            lines += _painted(str(result), large, INK)
            if result.alternatives:
                others = ", ".join(map(str, result.alternatives[:3]))
                lines += _painted(f"next best: {others}", small, PALE)
        if len(lines) > MOST_LINES:
            lines[MOST_LINES:] = [("\N{HORIZONTAL ELLIPSIS}", medium, PALE)]
        return [*lines, gap, *_painted(results[0].name, small, PALE)]

    def finish(self, notes: list[str]) -> None:
        """Put the cards in rows under the heading and write the file."""
        rows = _rows_of(self.cards, COLUMNS)
        # At least two, so that a heading has room over a single card.
        columns = max(2, min(COLUMNS, len(self.cards)))
        top = EDGE + 64
        height = top - GAP + EDGE
        for row in rows:
            height += max(card.height for card in row) + GAP
        page = Image.new(
            "RGB", (2 * EDGE + columns * (CARD + GAP) - GAP, height), GROUND
        )
        pen = ImageDraw.Draw(page)
        (title, *_) = _wrapped(self.heading, self.bold[22], page.width - 2 * EDGE) or [
            ""
        ]
        pen.text((EDGE, EDGE - 6), title, font=self.bold[22], fill=INK)
        pen.text(
            (EDGE, EDGE + 26),
            " \N{MIDDLE DOT} ".join(notes),
            font=self.plain[13],
            fill=PALE,
        )
        y = top
        for row in rows:
            for place, card in enumerate(row):
                page.paste(card, (EDGE + place * (CARD + GAP), y))
            y += max(card.height for card in row) + GAP
        page.save(self.file, "PNG", optimize=True)


def _strip(pictures: list[Image.Image]) -> Image.Image:
    """Images side by side, two in a row, or a single one over the width of a card."""
    if not pictures:
        return Image.new("RGB", (CARD, 0))
    across = 1 if len(pictures) == 1 else 2
    width = CARD // across
    rows = _rows_of([_fitting(picture, width) for picture in pictures], across)
    heights = [max(picture.height for picture in row) for row in rows]
    strip = Image.new("RGB", (CARD, sum(heights)), LINE)
    y = 0
    for row, height in zip(rows, heights, strict=True):
        for column, picture in enumerate(row):
            strip.paste(picture, (column * width, y))
        y += height
    return strip


def _rows_of(images: list[Image.Image], columns: int) -> list[list[Image.Image]]:
    """Return images in rows of ``columns``; the last row may be shorter."""
    starts = range(0, len(images), columns)
    return [images[start : start + columns] for start in starts]


def _fitting(picture: Image.Image, width: int) -> Image.Image:
    """An image as wide as its place, or as tall as is allowed and centred."""
    if picture.height <= TALLEST * picture.width:
        return picture.resize(
            (width, max(1, round(picture.height * width / picture.width)))
        )
    place = Image.new("RGB", (width, TALLEST * width), LINE)
    inner = picture.resize(
        (max(1, round(picture.width * place.height / picture.height)), place.height)
    )
    place.paste(inner, ((width - inner.width) // 2, 0))
    return place


def _marked(look: Look, jpeg: bytes, results: list[Result]) -> Image.Image:
    picture = Image.open(BytesIO(jpeg)).convert("RGB")
    pen, scale = ImageDraw.Draw(picture), picture.width / look.width
    for result in results:
        if result.box is not None:
            pen.rectangle([side * scale for side in result.box], outline=MARK, width=3)
    return picture


def _painted(text: str, font: ImageFont.FreeTypeFont, colour: str) -> list[_Line]:
    """Return the lines of a text with their font and colour."""
    return [(line, font, colour) for line in _wrapped(text, font)]


def _wrapped(
    text: str, font: ImageFont.FreeTypeFont, width: int = CARD - 2 * INSET
) -> list[str]:
    """A text in at most `LINES` lines of ``width`` pixels, broken between words where that is possible."""
    lines, line = [], ""
    for word in printable(text[:1000]).split(" "):
        if line and font.getlength(f"{line} {word}") > width:
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word
        # A word that is longer than a line is cut where the line is full.
        while font.getlength(line) > width:
            cut = 1
            while font.getlength(line[: cut + 1]) <= width:
                cut += 1
            lines.append(line[:cut])
            line = line[cut:]
    lines.append(line)
    if len(lines) > LINES:
        lines[LINES - 1 :] = [f"{lines[LINES - 1][:-1]}\N{HORIZONTAL ELLIPSIS}"]
    return lines
