"""Ask a network about one video: no data set, no batch to build, the video encoded once for all questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from modules.streams import Sequences, Text, move
from mplug2.data.frames import frame_indices
from mplug2.data.text import Tokenizer, clean_question
from mplug2.data.transforms import eval_transform
from mplug2.data.video import read_frames
from registry import Literal, Spec, StreamType, UserError, check, declaration_of, read_spec

if TYPE_CHECKING:
    from mplug2.network import Network


@dataclass(frozen=True)
class Answer:
    """One answer and its score as the search defines it (beam search: scaled log-probability, at most 0)."""

    text: str
    score: float


def load(
    spec: str | Path, checkpoint: str | Path, overrides: Sequence[str] = (), best: int = 5
) -> tuple[Network, Tokenizer]:
    """Return the network of ``spec`` with the weights of ``checkpoint``, and its tokenizer.

    Its searches give up to ``best`` texts. Raises UserError where spec, checkpoint or vocabulary do not fit.
    """
    from mplug2.compose import compose
    from mplug2.train.weights import load_weights

    read = read_spec(spec, overrides)
    check(read).raise_if_bad()
    source = read.data.get("tokenizer")
    if not source:
        raise UserError(f"{spec}: data.tokenizer must name a vocabulary to predict with, but is not set")
    tokenizer = Tokenizer.load(source)
    net = compose(widened(read, best), device="cuda" if torch.cuda.is_available() else "cpu", initial=False)
    load_weights(net, checkpoint)
    return net, tokenizer


def widened(spec: Spec, best: int) -> Spec:
    """Return ``spec`` with its goal's searches giving up to ``best`` texts, at most as many as beams."""
    flow = dict(spec.flow)
    for ref in spec.goals.get(spec.eval["goal"], {}).values():
        equation = flow.get(ref.stream)
        options = declaration_of(spec, equation).options if equation is not None else {}
        if equation is None or not {"best", "beams"} <= set(options):
            continue
        given = equation.keywords.get("beams")
        beams = given.value if isinstance(given, Literal) else options["beams"].default
        keywords = {**equation.keywords, "best": Literal(min(best, beams))}
        flow[ref.stream] = replace(equation, keywords=keywords)
    return replace(spec, flow=flow)


@torch.inference_mode()
def predict(
    net: Network,
    tokenizer: Tokenizer,
    video: str | Path,
    questions: Sequence[str],
    top: int = 5,
) -> list[list[Answer]]:
    """Return up to ``top`` answers to each question, best first; duplicates of one text count once.

    Raises VideoError (a UserError) for a file without a decodable frame, UserError for a spec that asks for
    more than a video, a question and which video it belongs to.
    """
    if not questions or not all(question.strip() for question in questions):
        raise UserError("a question must have at least one word, but is empty")
    goal = net.spec.eval["goal"]
    batch = _batch(net, goal, _frames(net, goal, video), _questions(net, tokenizer, questions))
    was_training = net.training
    net.eval()
    try:
        outputs = net(move(batch, next(net.parameters()).device), goal=goal)
    finally:
        net.train(was_training)
    found = next((value for value in outputs.values() if isinstance(value, Sequences)), None)
    if found is None:
        raise UserError(
            f"goal '{goal}' must write texts (a search such as beam_search), but gives {', '.join(outputs)}"
        )
    return [_answers(tokenizer, *row, top) for row in zip(found.ids.cpu(), found.scores.cpu(), strict=True)]


def _answers(tokenizer: Tokenizer, ids: Tensor, scores: Tensor, top: int) -> list[Answer]:
    best: dict[str, Answer] = {}
    for row, score in zip(ids.tolist(), scores.tolist(), strict=True):
        text = tokenizer.decode(row)
        best.setdefault(text, Answer(text, score))
    return list(best.values())[:top]


def _needed(net: Network, goal: str) -> dict[str, StreamType]:
    """The inputs that the goal reads, with their solved types."""
    return {name: net.types[name] for name in net.plan(goal).inputs}


def _only(kind: str, net: Network, goal: str) -> str:
    names = [name for name, stream in _needed(net, goal).items() if stream.kind == kind]
    if len(names) != 1:
        found = ", ".join(names) or "none"
        raise UserError(f"to predict, goal '{goal}' must read one input of kind {kind}, but reads {found}")
    return names[0]


def _frames(net: Network, goal: str, video: str | Path) -> Tensor:
    """The video as the network's frames [1 3 T H W]."""
    _, _, count, size, _ = net.types[_only("frames", net, goal)].axes
    assert isinstance(count, int)
    assert isinstance(size, int)
    clip = read_frames(
        video, lambda total: frame_indices(total, count), decoder=net.spec.data.get("decoder", "av")
    )
    return eval_transform(clip.frames, size)[None]


def _questions(net: Network, tokenizer: Tokenizer, questions: Sequence[str]) -> Text:
    """The questions as evaluation would read them."""
    data = net.spec.data
    words, pieces = data.get("question_words") or 50, data.get("question_tokens", 50)
    return tokenizer([clean_question(question, words) for question in questions], pieces)


def _batch(net: Network, goal: str, frames: Tensor, questions: Text) -> dict[str, Any]:
    """The goal's inputs: one video and its questions; without an index between them, the video repeats."""
    needed = _needed(net, goal)
    video, question = _only("frames", net, goal), _only("text", net, goal)
    count = len(questions.ids)
    batch: dict[str, Any] = {video: frames, question: questions}
    if needed[video].axes[0] == needed[question].axes[0]:
        batch[video] = frames.expand(count, *frames.shape[1:])
    for name, stream in needed.items():
        if name in batch:
            continue
        if stream.kind != "index" or stream.axes[0] != needed[question].axes[0]:
            raise UserError(
                f"predict gives a video and questions, but goal '{goal}' also reads '{name}: {stream}'"
            )
        batch[name] = torch.zeros(count, dtype=torch.long)
    return batch
