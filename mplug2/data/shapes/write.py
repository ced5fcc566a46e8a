"""Write the shapes world to a folder: encoded clips, images and all annotations, the same bytes for the same
seed."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from mplug2.data.shapes.questions import captions, questions, vocabulary
from mplug2.data.shapes.render import box, render, render_beat
from mplug2.data.shapes.sentences import sentence_rows
from mplug2.data.shapes.statements import entailment_rows, motion_rows
from mplug2.data.shapes.stills import FILES, distinct, image_rows, pair_rows
from mplug2.data.shapes.world import BEATS, Scene, sample_scene, still_scene
from registry.errors import UserError

VERSION = 12
SPLITS = ("train", "val", "test")
_OF_CLIPS = ("qa", "captions", "boxes", "classes", "motions", "entailment")
KINDS = (*_OF_CLIPS, "video_retrieval", "pairs", "sentences", *FILES)
DISTINCT = 100  # files of retrieval in validation and test
_CHUNK = 50
_FPS = 12

Row = dict[str, Any]

BEGUN = "README.txt"  # marks a folder as ours, also while it is only half written


def make_shapes(
    folder: str | Path,
    seed: int = 0,
    train: int = 3000,
    val: int = 300,
    test: int = 300,
    size: int = 48,
    frames: int = 12,
    workers: int | None = None,
    progress: bool = False,
) -> bool:
    """Write the data set and return True, or return False where the same one is already there.

    ``folder`` gets videos/, images/, vocab.txt and for each split qa_*, captions_*, boxes_*, classes_*,
    motions_*, entailment_* and video_retrieval_*.jsonl (of videos), vqa_*, phrases_*, image_entailment_*,
    image_classes_*, image_labels_*, retrieval_*, images_* and pairs_*.jsonl (of images), sentences_*.jsonl
    (of text alone), and last manifest.json with all arguments: other arguments write everything again.
    ``train``, ``val`` and ``test`` are numbers of clips (and of pairs of images), ``size`` the edge in
    pixels, ``frames`` a multiple of 6. An empty split has no files.
    """
    for name, number in {
        "seed": seed,
        "train": train,
        "val": val,
        "test": test,
    }.items():
        if number < 0:
            raise UserError(f"{name} must be at least 0, but is {number}")
    if frames < BEATS or frames % BEATS:
        raise UserError(f"frames must be a multiple of {BEATS}, but is {frames}")
    if size < 24 or size % 2:
        raise UserError(
            f"size must be an even number of at least 24 pixels, but is {size}"
        )
    folder = Path(folder)
    manifest = {
        "version": VERSION,
        "seed": seed,
        "train": train,
        "val": val,
        "test": test,
        "size": size,
        "frames": frames,
        "encoder": _encoder(),
    }
    if _manifest(folder) == manifest:
        return False
    try:
        _write(folder, manifest, workers, progress)
    except OSError as error:
        raise UserError(
            f"{folder} must be a folder that can be written to, but: {error}"
        ) from None
    return True


def _write(folder: Path, manifest: Row, workers: int | None, progress: bool) -> None:
    if folder.exists() and any(folder.iterdir()) and not (folder / BEGUN).exists():
        raise UserError(
            f"{folder} must be empty or a shapes world written before, but holds other files; choose another "
            "folder"
        )
    _clear(folder)
    settings = [manifest[name] for name in ("seed", "size", "frames", "encoder")]
    jobs = []
    for split in SPLITS:
        for start in range(0, manifest[split], _CHUNK):
            indices = range(start, min(start + _CHUNK, manifest[split]))
            jobs.append((folder, split, indices, *settings))
    rows: dict[str, list[Row]] = {}
    for part in _watch(_run(jobs, workers), len(jobs), progress):
        for name, lines in part.items():
            rows.setdefault(name, []).extend(lines)
    # Retrieval cannot distinguish two files with the same caption.
    for name in ("retrieval", "video_retrieval"):
        for split in ("val", "test"):
            if (key := f"{name}_{split}") in rows:
                rows[key] = distinct(rows[key], DISTINCT)
    for name, lines in rows.items():
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text)
    (folder / "vocab.txt").write_text("\n".join(vocabulary()) + "\n")
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def _manifest(folder: Path) -> Row | None:
    try:
        return json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError):
        return None


def _clear(folder: Path) -> None:
    """Make room; what an earlier run wrote goes, and the manifest first, so that half a data set never
    looks complete."""
    (folder / "manifest.json").unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / BEGUN).write_text(
        "Made by `mplug2 data make-shapes`; it may be overwritten at any time.\n"
    )
    for kind in KINDS:
        for split in SPLITS:
            (folder / f"{kind}_{split}.jsonl").unlink(missing_ok=True)
    for name in ("videos", "images"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)


def _encoder() -> str:
    for name in ("libx264", "mpeg4"):
        if name in av.codecs_available:
            return name
    raise UserError(
        "this build of PyAV has neither libx264 nor mpeg4; install the av wheel from PyPI"
    )


def _run(jobs: list[tuple], workers: int | None) -> Iterator[dict[str, list[Row]]]:
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    if workers <= 1:
        yield from map(_write_part, jobs)
        return
    # Spawned, for forking a process with threads (torch, a progress bar) may hang.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_write_part, jobs)


def _watch(
    parts: Iterable[dict[str, list[Row]]], total: int, progress: bool
) -> Iterable[dict[str, list[Row]]]:
    if not progress:
        return parts
    from rich.progress import track

    return track(parts, total=total, description="shapes clips")


def _write_part(job: tuple) -> dict[str, list[Row]]:
    """Write the clips and images of some indices; return their annotation lines by file name."""
    folder, split, indices, seed, size, frames, encoder = job
    rows: dict[str, list[Row]] = {f"{name}_{split}": [] for name in KINDS}
    for index in indices:
        # By the index alone: the number of workers, and of other clips, changes nothing.
        rng = np.random.default_rng([seed, SPLITS.index(split), index])
        video = f"{split}_{index:05d}"
        scene = sample_scene("drift" if index % 2 == 0 else "turns", rng)
        encode(folder / "videos" / f"{video}.mp4", render(scene, size, frames), encoder)
        for kind, question, answer in questions(scene, rng):
            rows[f"qa_{split}"].append(
                {
                    "video_id": video,
                    "question": question,
                    "answer": answer,
                    "type": kind,
                }
            )
        rows[f"captions_{split}"] += _captions(split, video, scene)
        rows[f"boxes_{split}"].append(
            {"video_id": video, "things": _tracks(scene, size, frames)}
        )
        rows[f"classes_{split}"].append(
            {"video_id": video, "label": scene.direction or "turns"}
        )
        rows[f"motions_{split}"] += motion_rows(video, scene)
        rows[f"entailment_{split}"] += entailment_rows(
            video, scene, [seed, SPLITS.index(split), index]
        )
        rows[f"video_retrieval_{split}"].append(
            {"video_id": video, "captions": captions(scene)[:1]}
        )
        left, right = (still_scene(int(rng.integers(1, 5)), rng) for _ in range(2))
        names = (f"{video}_a.png", f"{video}_b.png")
        for name, still in zip(names, (left, right), strict=True):
            Image.fromarray(render_beat(still, size, 0)).save(folder / "images" / name)
            for kind, lines in image_rows(name, still, size, rng).items():
                rows[f"{kind}_{split}"] += lines
        rows[f"pairs_{split}"] += pair_rows(names, (left, right), rng)
        rows[f"sentences_{split}"] += sentence_rows([seed, SPLITS.index(split), index])
    return rows


def _captions(split: str, video: str, scene: Scene) -> list[Row]:
    """Caption lines in the released formats: one a line for training, all in one line for evaluation."""
    lines = captions(scene)
    if split == "train":
        return [{"video_id": video, "caption": line} for line in lines]
    return [{"video_id": video, "golden_captions": lines}]


def _tracks(scene: Scene, size: int, frames: int) -> list[Row]:
    """Colour, shape and one box [left top right bottom] a frame (null while hidden) of every thing."""
    frames_of_beat = frames // BEATS
    tracks: list[Row] = []
    for thing in scene.things:
        boxes: list[Any] = []
        for beat in range(BEATS):
            # Boxes change from beat to beat only.
            boxes += [box(thing, size, beat)] * frames_of_beat
        tracks.append({"colour": thing.colour, "shape": thing.shape, "boxes": boxes})
    return tracks


def encode(path: Path, frames: np.ndarray, encoder: str = "libx264") -> None:
    """Write frames [T H W 3] as mp4.

    Every frame is a key frame, coded with the same quantiser: a rate control, or traces of the frame
    before, would show a network the order of the frames (one without temporal layers learned to read it).
    """
    constant = {
        "libx264": {"qp": "8", "preset": "superfast"},
        "mpeg4": {"qmin": "1", "qmax": "1"},
    }
    options = constant.get(encoder, {})
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=Fraction(_FPS), options=options)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 1
        stream.codec_context.max_b_frames = 0
        # The same bytes on any machine.
        stream.codec_context.thread_count = 1
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            container.mux(stream.encode(picture))
        # What the encoder still holds.
        container.mux(stream.encode())
