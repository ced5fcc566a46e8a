"""Turn the outputs of a goal into answers, by their kinds: texts, classes, boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from mplug2.predict.predict_loader import Read
from mplug2.predict.result import Box, Prediction
from registry import KINDS, UserError
from registry.name_table import import_target

if TYPE_CHECKING:
    from mplug2.network import Network

Decode = Callable[[Sequence[int]], str]


def answered(net: Network, goal: str) -> tuple[str, str]:
    """Return the goal's first output that can be shown as an answer, and its kind; UserError without one."""
    if (
        goal not in net.spec.goals
        and {"embed_vision", "embed_text"} <= net.spec.goals.keys()
    ):
        raise UserError(
            f"{net.spec.path} compares files with texts and answers nothing: search a folder with "
            "`mplug2 index build` and `mplug2 index search`"
        )
    outputs = net.plan(goal).outputs
    for name, ref in outputs.items():
        stream = net.types.get(ref.name)
        if (
            stream is not None
            and len(stream.axes) == 2
            and KINDS[stream.kind].answer is not None
        ):
            return name, stream.kind
    given = ", ".join(
        f"{name}: {net.types.get(ref.name, 'unknown')}" for name, ref in outputs.items()
    )
    shown = []
    for kind in KINDS.names():
        if (answer := KINDS[kind].answer) is not None:
            shown.append(f"{kind} ({answer.noun})")
    raise UserError(
        f"{net.spec.path}: to predict, goal '{goal}' must give one of {', '.join(shown)}, but gives {given}; "
        "eval.goal=NAME chooses another goal"
    )


def guesses(
    kind: str,
    value: Any,
    records: Sequence[dict[str, Any]],
    reads: Sequence[Read],
    decode: Decode,
    top: int,
) -> list[tuple[Prediction, ...]]:
    """Return up to ``top`` guesses for each row of an output, best first; its kind must have an answer.

    ``records`` and ``reads`` describe each row, with one entry a row; ``decode`` turns token ids into text.
    """
    answer = KINDS[kind].answer
    if answer is None:
        raise UserError(
            f"kind '{kind}' has no answer that can be shown (registry.Kind.answer)"
        )
    show = import_target(answer.guesses, f"the answer of kind '{kind}'")
    rows: list[tuple[Prediction, ...]] = show(value, records, reads, decode, top)
    return rows


def text_guesses(
    value: Any,
    records: Sequence[dict[str, Any]],
    reads: Sequence[Read],
    decode: Decode,
    top: int,
) -> list[tuple[Prediction, ...]]:
    """Return the texts of generated sequences. Of equal texts only the best one counts."""
    rows = zip(value.ids.tolist(), value.scores.tolist(), strict=True)
    return [_texts(ids, scores, decode, top) for ids, scores in rows]


def class_guesses(
    value: Any,
    records: Sequence[dict[str, Any]],
    reads: Sequence[Read],
    decode: Decode,
    top: int,
) -> list[tuple[Prediction, ...]]:
    """Return the most probable classes of logits, by the names in ``classes`` of the records."""
    rows = zip(value, records, strict=True)
    return [_classes(logits, record.get("classes", ()), top) for logits, record in rows]


def box_guesses(
    value: Any,
    records: Sequence[dict[str, Any]],
    reads: Sequence[Read],
    decode: Decode,
    top: int,
) -> list[tuple[Prediction, ...]]:
    """Return boxes in pixels of the files."""
    rows = zip(value.float().tolist(), reads, strict=True)
    return [(Prediction("", box=_in_pixels(box, read)),) for box, read in rows]


def _texts(
    ids: list[list[int]], scores: list[float], decode: Decode, top: int
) -> tuple[Prediction, ...]:
    best: dict[str, Prediction] = {}
    for row, score in zip(ids, scores, strict=True):
        text = decode(row)
        best.setdefault(text, Prediction(text, score))
    return tuple(best.values())[:top]


def _classes(logits: Tensor, names: Sequence[str], top: int) -> tuple[Prediction, ...]:
    values, classes = logits.float().softmax(dim=-1).topk(min(top, len(logits)))
    best = zip(classes.tolist(), values.tolist(), strict=True)
    predictions = []
    for index, value in best:
        name = names[index] if index < len(names) else str(index)
        predictions.append(Prediction(name, value))
    return tuple(predictions)


def _in_pixels(box: Sequence[float], read: Read) -> Box:
    """A box in parts of what the network saw, in pixels of the file."""
    width, height = read.looks[0].width, read.looks[0].height
    x1, y1, x2, y2 = box
    if read.crop_geometry is not None:  # the task knows how it cropped the image
        x1, y1, x2, y2 = read.crop_geometry.pixels(box)
    else:
        x1, y1, x2, y2 = x1 * width, y1 * height, x2 * width, y2 * height
    left, right = sorted((_within(x1, width), _within(x2, width)))
    top, bottom = sorted((_within(y1, height), _within(y2, height)))
    return left, top, right, bottom


def _within(value: float, size: int) -> float:
    return round(min(max(value, 0.0), float(size)), 2)
