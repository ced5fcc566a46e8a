"""A contact sheet as one HTML file: images inside, no script, no downloads, all foreign text escaped."""

from __future__ import annotations

import base64
from html import escape
from typing import BinaryIO

from mplug2.predict.result import Look, Prediction, Result, printable

# nothing in the page may run or download, for any file name or prediction
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
NOTES = " \N{MIDDLE DOT} "  # between notes
STYLE = """
:root { color-scheme: light }
* { box-sizing: border-box }
body { margin: 0; padding: 32px; background: #f6f7f9; color: #1c2530; font: 15px/1.45 system-ui, sans-serif }
h1 { margin: 0 0 20px; font-size: 22px } footer { margin-top: 20px; color: #667382 }
article { display: inline-block; vertical-align: top; width: 320px; margin: 0 16px 20px 0; overflow: hidden }
article { border: 1px solid #e1e5ea; border-radius: 10px; background: #fff }
.strip { display: grid; gap: 2px; background: #e9ecf0; align-items: center }
.picture { position: relative } .picture img { display: block; width: 100% }
.box { position: absolute; border: 2px solid #e5484d; border-radius: 3px; box-shadow: 0 0 0 1px #fffb }
.said { padding: 12px 16px 14px; overflow-wrap: anywhere } .said p { margin: 0 } .said dl { margin: 0 }
dt { color: #667382; margin-top: 8px } dt:first-child { margin-top: 0 } dd { margin: 0 }
.best { font-size: 17px; font-weight: 600 } .score { color: #8793a1; font-size: 13px; font-weight: 400 }
.others { color: #667382; font-size: 13px }
.file { margin-top: 10px !important; color: #8793a1; font: 12px/1.4 ui-monospace, monospace }
.broken { border-color: #f3c6c8; background: #fff6f6 } .broken .best { color: #b3261e; font-size: 15px }
@media print { body { background: #fff; padding: 0 } article { break-inside: avoid } }
"""


class HtmlPaper:
    """Cards in a grid, written as they come: memory holds one of them."""

    def __init__(self, file: BinaryIO, heading: str) -> None:
        self.file = file
        title = escape(printable(heading))
        self._write(
            f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
            '<meta name="viewport" content="width=device-width">\n'
            f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<main>\n"
        )

    def add(self, results: list[Result]) -> None:
        """Write a card."""
        first = results[0]
        name = f'<p class="file">{escape(first.name)}</p>'
        if first.error is not None:
            reason = escape(printable(first.error))
            said = f'<p class="best">cannot be read</p><p class="others">{reason}</p>'
            self._write(
                f'<article class="broken"><div class="said">{said}{name}</div></article>\n'
            )
            return
        boxes = "".join(map(_box, results))
        num_pictures = sum(len(shown.pictures) for shown in first.looks)
        several = num_pictures > 1
        strip = "".join(
            _picture(look, one, boxes) for look in first.looks for one in look.pictures
        )
        columns = f"grid-template-columns: repeat({2 if several else 1}, 1fr)"
        said = "".join(map(_said, results))
        self._write(
            f'<article><div class="strip" style="{columns}">{strip}</div>'
            f'<div class="said"><dl>{said}</dl>{name}</div></article>\n'
        )

    def finish(self, notes: list[str]) -> None:
        """Write the summary."""
        self._write(
            f"</main>\n<footer>{escape(NOTES.join(notes))}</footer>\n</body>\n</html>\n"
        )

    def _write(self, text: str) -> None:
        self.file.write(text.encode())


def _picture(look: Look, jpeg: bytes, boxes: str) -> str:
    source = base64.b64encode(jpeg).decode("ascii")
    return f'<div class="picture"><img alt="" src="data:image/jpeg;base64,{source}">{boxes}</div>'


def _box(result: Result) -> str:
    if result.box is None:
        return ""
    look = result.looks[0]
    left, top, right, bottom = result.box
    place = (
        left / look.width,
        top / look.height,
        (right - left) / look.width,
        (bottom - top) / look.height,
    )
    sides = zip(("left", "top", "width", "height"), place, strict=True)
    return f'<div class="box" style="{"; ".join(f"{side}: {100 * part:.2f}%" for side, part in sides)}"></div>'


def _said(result: Result) -> str:
    best = result.guesses[0]
    asked = (
        f"<dt>{escape(printable(result.question))}</dt>"
        if result.question is not None
        else ""
    )
    others = ", ".join(_short(guess) for guess in result.alternatives[:3])
    more = f'<dd class="others">next best: {others}</dd>' if others else ""
    return f'{asked}<dd class="best">{_short(best)}</dd>{more}'


def _short(guess: Prediction) -> str:
    if guess.box is not None:
        return escape(str(guess))
    text = escape(printable(guess.text)) or "(nothing)"
    return f'{text} <span class="score">{guess.score:.2f}</span>'
