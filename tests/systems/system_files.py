"""The tiny files that the specs of this folder read: words, images, videos, captions, regions, sentences."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = (
    "a",
    "red",
    "blue",
    "green",
    "square",
    "ring",
    "moves",
    "left",
    "up",
    "describe",
    "the",
    "image",
)
SIZE = 16  # pixels
NUM_FRAMES = 4
NUM_FILES = 8  # images, and videos
CAPTIONS = (
    "a red square moves left",
    "a blue ring moves up",
    "the green square",
    "a red ring",
    "the blue square moves",
    "a green ring moves left",
    "the red square moves up",
    "a blue square",
)
CLASSES = ("entailment", "neutral", "contradiction")
NUM_REGIONS, REGION_WIDTH, REGION_CLASSES = 4, 6, 5


def write_files(folder: Path) -> None:
    """Write all files into a folder, the same at every call."""
    rng = np.random.default_rng(0)
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *WORDS]) + "\n")
    _write_media(folder, rng)
    captions = list(enumerate(CAPTIONS))
    _write_rows(
        folder / "images.jsonl",
        [{"image": f"{n}.png", "caption": text} for n, text in captions],
    )
    _write_rows(
        folder / "videos.jsonl",
        [{"video_id": f"{n}", "caption": text} for n, text in captions],
    )
    (folder / "wiki.txt").write_text("\n".join(CAPTIONS) + "\n")
    for name in ("regions_a", "regions_b"):
        _write_rows(
            folder / f"{name}.jsonl", [_region_row(text, rng) for text in CAPTIONS]
        )
    phrases = []
    for number, text in captions:
        for phrase in (text, " ".join(text.split()[1:3])):
            left, top = rng.integers(SIZE - 1, size=2).tolist()
            phrases.append(
                {
                    "image": f"{number}.png",
                    "phrase": phrase,
                    "box": [left, top, SIZE, top + 1],
                }
            )
    _write_rows(folder / "phrases.jsonl", phrases)
    for name in ("train", "matched", "mismatched"):
        lines = ["sentence1\tsentence2\tlabel"]
        for number, text in captions:
            lines.append(f"{text}\t{CAPTIONS[number - 1]}\t{CLASSES[number % 3]}")
        (folder / f"mnli_{name}.tsv").write_text("\n".join(lines) + "\n")


def _write_media(folder: Path, rng: np.random.Generator) -> None:
    for name in ("images", "videos"):
        (folder / name).mkdir()
    for number in range(NUM_FILES):
        pixels = rng.integers(256, size=(NUM_FRAMES, SIZE, SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels[0]).save(folder / "images" / f"{number}.png")
        with av.open(str(folder / "videos" / f"{number}.mp4"), "w") as file:
            stream = file.add_stream("mpeg4", rate=4)
            stream.width = stream.height = SIZE
            stream.pix_fmt = "yuv420p"
            for frame in pixels:
                file.mux(
                    stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24"))
                )
            file.mux(stream.encode())


def _region_row(caption: str, rng: np.random.Generator) -> dict[str, Any]:
    regions = rng.normal(size=(NUM_REGIONS, REGION_WIDTH)).round(3)
    classes = rng.dirichlet(np.ones(REGION_CLASSES), size=NUM_REGIONS).round(3)
    return {
        "caption": caption,
        "regions": regions.tolist(),
        "classes": classes.tolist(),
    }


def _write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
