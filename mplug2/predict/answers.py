"""What a goal's outputs say, by their kinds: written texts, classes, boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from mplug2.data.text import Tokenizer
from mplug2.predict.predict_loader import Read
from mplug2.predict.result import Box, Guess
from registry.errors import UserError

if TYPE_CHECKING:
    from mplug2.network import Network

KINDS = ("sequences", "boxes", "logits")


def answered(net: Network, goal: str) -> tuple[str, str]:
    """Return the goal's output that says something to a person, and its kind; UserError if none does."""
    if goal not in net.spec.goals and {"embed_vision", "embed_text"} <= net.spec.goals.keys():
        raise UserError(
            f"{net.spec.path} compares files with texts and answers nothing: search a folder with "
            "`mplug2 index build` and `mplug2 index search`"
        )
    outputs = net.plan(goal).outputs
    for name, ref in outputs.items():
        stream = net.types.get(ref.name)
        if stream is not None and len(stream.axes) == 2 and stream.kind in KINDS:
            return name, stream.kind
    given = ", ".join(f"{name}: {net.types.get(ref.name, 'unknown')}" for name, ref in outputs.items())
    raise UserError(
        f"{net.spec.path}: to predict, goal '{goal}' must write texts (a search such as beam_search), give "
        f"logits of classes or boxes, but gives {given}; eval.goal=NAME chooses another goal"
    )


def guesses(
    kind: str,
    value: Any,
    records: Sequence[dict[str, Any]],
    reads: Sequence[Read],
    tokenizer: Tokenizer,
    top: int,
) -> list[tuple[Guess, ...]]:
    """Return up to ``top`` guesses for each row of an output of one of `KINDS`, best first.

    ``records`` (whose ``classes`` name the classes) and ``reads`` say what each row is about. Of texts that
    are the same the best one counts.
    """
    if kind == "sequences":
        rows = zip(value.ids.tolist(), value.scores.tolist(), strict=True)
        return [_texts(ids, scores, tokenizer, top) for ids, scores in rows]
    if kind == "boxes":
        places = zip(value.float().tolist(), reads, strict=True)
        return [(Guess("", box=_in_pixels(box, read)),) for box, read in places]
    return [_classes(row, record.get("classes", ()), top) for row, record in zip(value, records, strict=True)]


def _texts(ids: list[list[int]], scores: list[float], tokenizer: Tokenizer, top: int) -> tuple[Guess, ...]:
    best: dict[str, Guess] = {}
    for row, score in zip(ids, scores, strict=True):
        text = tokenizer.decode(row)
        best.setdefault(text, Guess(text, score))
    return tuple(best.values())[:top]


def _classes(logits: Tensor, names: Sequence[str], top: int) -> tuple[Guess, ...]:
    values, classes = logits.float().softmax(dim=-1).topk(min(top, len(logits)))
    said = zip(classes.tolist(), values.tolist(), strict=True)
    return tuple(Guess(names[index] if index < len(names) else str(index), value) for index, value in said)


def _in_pixels(box: Sequence[float], read: Read) -> Box:
    """A box in parts of what the network saw, in pixels of the file."""
    width, height = read.looks[0].width, read.looks[0].height
    x1, y1, x2, y2 = box
    if read.frame is not None:  # the reader knows how it cut the picture out
        x1, y1, x2, y2 = read.frame.pixels(box)
    else:
        x1, y1, x2, y2 = x1 * width, y1 * height, x2 * width, y2 * height
    left, right = sorted((_within(x1, width), _within(x2, width)))
    top, bottom = sorted((_within(y1, height), _within(y2, height)))
    return left, top, right, bottom


def _within(value: float, size: int) -> float:
    return round(min(max(value, 0.0), float(size)), 2)
