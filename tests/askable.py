"""Tiny networks with random weights for every kind of goal, and files to ask them about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import mplug2
from modules.streams import Tokens
from mplug2.data.shapes.questions import vocabulary
from mplug2.data.shapes.write import encode
from mplug2.predict.pipeline import Pipeline
from mplug2.weights.store import save_weights
from registry import OPERATIONS, operation

SEEN = "vision: {use: image_vit, width: 32, depth: 1, heads: 2, patch: 16, size: 32}"
WATCHED = "vision: {use: video_vit, width: 32, depth: 1, heads: 2, patch: 16, frames: 3, size: 32}"
WORDS = "words: {use: text_embedding, width: 32, vocab_size: 256, max_positions: 32, dropout: 0.0}"
FUSION = "fusion: {use: fusion, width: 32, depth: 1, heads: 2, dropout: 0.0}"
WRITER = (
    "decoder: {use: text_decoder, width: 32, depth: 1, heads: 2, vocab_size: 256, max_positions: 16, "
    "dropout: 0.0}"
)
HEAD = "head: {use: class_head, width: 32, classes: 3, dropout: 0.0}"
SPECS = {
    # a video alone to a text, which goes on from a prompt
    "caption": f"""
inputs: {{video: frames B 3 T H W, caption: text B L, prompt: text B P}}
modules: {{{WATCHED}, {WRITER}}}
flow:
  memory: vision(video)
  logits: decoder(caption, memory=memory)
  loss:   lm_loss(logits, target=caption)
  guess:  beam_search(@decoder, memory=memory, prefix=prompt, num_beams=3, num_return_sequences=3,
      max_length=4)
goals: {{train: {{loss: loss}}, predict: {{caption: guess}}}}
data: {{kind: caption, prompt: a video of, tokenizer: vocab.txt}}
""",
    # an image and a sentence to a class
    "entailment": f"""
inputs: {{image: image V 3 H W, sentence: text Q L, image_index: index Q -> V, label: labels Q}}
modules: {{{SEEN}, {WORDS}, {FUSION}, {HEAD}}}
flow:
  patches: vision(image)
  seen:    take(patches, image_index)
  spoken:  words(sentence)
  both:    fusion(text=spoken, vision=seen)
  logits:  head(both.text)
  loss:    cross_entropy(logits, target=label)
goals: {{train: {{loss: loss}}, predict: {{label: logits}}}}
data: {{kind: text_label, labels: [yes, no, unknown], tokenizer: vocab.txt}}
""",
    # two images and a sentence to a class; no index between them
    "pairs": f"""
inputs: {{left: image Q 3 H W, right: image Q 3 H W, sentence: text Q L, label: labels Q}}
modules: {{{SEEN}, {WORDS}, {FUSION}, {HEAD}}}
flow:
  first:   vision(left)
  second:  vision(right)
  seen:    concat(first, second)
  spoken:  words(sentence)
  both:    fusion(text=spoken, vision=seen)
  logits:  head(both.text)
  loss:    cross_entropy(logits, target=label)
goals: {{train: {{loss: loss}}, predict: {{label: logits}}, embed: {{seen: seen}}}}
data: {{kind: text_label, labels: [yes, no, unknown], tokenizer: vocab.txt}}
""",
    # an image and a phrase to a box; `middle_box` is an operation of the tests
    "grounding": f"""
inputs: {{image: image V 3 H W, phrase: text Q L, image_index: index Q -> V}}
modules: {{{SEEN}, {WORDS}, {FUSION}}}
flow:
  patches: vision(image)
  seen:    take(patches, image_index)
  spoken:  words(phrase)
  both:    fusion(text=spoken, vision=seen)
  where:   middle_box(both.text)
goals: {{predict: {{box: where}}}}
data: {{kind: grounding, tokenizer: vocab.txt}}
""",
}


@operation(inputs={"tokens": "tokens Q N width"}, outputs="boxes Q 4")
def middle_box(tokens: Tokens) -> Tensor:
    """Return the middle of the square, for every row."""
    return torch.tensor([0.25, 0.25, 0.75, 0.75]).expand(len(tokens.values), 4)


def write_spec(folder: Path, name: str) -> Path:
    """Write a spec with its vocabulary and random weights; the weights lie in the spec's run folder."""
    torch.manual_seed(0)
    (folder / "vocab.txt").write_text("\n".join(vocabulary()) + "\n")
    file = folder / f"{name}.yaml"
    text = SPECS[name].replace("vocab.txt", str(folder / "vocab.txt"))
    file.write_text(
        f"{text}train: {{batch_size: 2, output_dir: {folder / 'runs' / name}}}\n"
    )
    best = folder / "runs" / name / "best"
    best.mkdir(parents=True)
    save_weights(mplug2.compose(file), best / "weights.safetensors")
    return file


def ready(folder: Path, name: str, *overrides: str, **more: Any) -> Pipeline:
    """Return the pipeline of a spec that `write_spec` wrote."""
    pipe: Pipeline = mplug2.pipeline(
        folder / f"{name}.yaml", overrides=overrides, **more
    )
    return pipe


def write_files(folder: Path) -> None:
    """Write three clips and three images of different sizes, and one file that is neither."""
    for number in range(3):
        rng = np.random.default_rng(number)
        encode(
            folder / f"clip{number}.mp4", rng.integers(0, 255, (5, 48, 64, 3), np.uint8)
        )
        pixels = rng.integers(0, 255, (40 + 8 * number, 64, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"still{number}.png")
    (folder / "broken.mp4").write_bytes(b"no video at all\n" * 50)
    (folder / "broken.png").write_bytes(b"no image at all\n" * 50)


@contextmanager
def everything(folder: Path) -> Iterator[Path]:
    """Fill a folder with files, a spec and weights for every kind of goal; forget `middle_box` afterwards."""
    known = dict(OPERATIONS._entries)
    OPERATIONS.register("middle_box", "askable:middle_box")
    try:
        write_files(folder)
        for name in SPECS:
            write_spec(folder, name)
        yield folder
    finally:
        OPERATIONS._entries.clear()
        OPERATIONS._entries.update(known)
