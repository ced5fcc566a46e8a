"""The specs that `mplug2 new` writes: which shipped files they extend, and what own data change in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from registry.errors import UserError

SPLITS = ("train", "val", "test")
WORDS = 30522  # tokens of bert-base-uncased
PIXELS = (
    "{use: video_vit, width: 96, depth: 3, heads: 4, patch: 16, frames: 6, size: 96}"
)
STILL_PIXELS = "{use: image_vit, width: 96, depth: 3, heads: 4, patch: 16, size: 96}"
TEXT = f"{{vocab_size: {WORDS}, max_positions: 64}}"
RELEASED = "{vision: 'clip:ViT-B-16', '*': 'bert:bert-base-uncased'}"
# Settings of the released fine-tuning runs, for one process.
FINE_TUNING = (
    "epochs: 10",
    "batch_size: 4",
    "grad_accumulation_steps: 4",
    "warmup: 50",
    "engine: torch",
    "zero: 0",
    "precision: fp32                       # bf16 on a GPU takes less memory",
)
FROM_SCRATCH = ("engine: torch", "batch_size: 8")


@dataclass(frozen=True)
class Template:
    """One network for own data: the files that it extends, and its modules that depend on the data."""

    extends: tuple[str, ...]
    modules: tuple[str, ...] = ()  # lines of the section
    data: tuple[str, ...] = ()
    init: str = ""
    train: tuple[str, ...] = FROM_SCRATCH


def _base(
    *extends: str,
    modules: tuple[str, ...] = (),
    data: tuple[str, ...] = (),
    init: str = RELEASED,
) -> Template:
    """Return a template that fine-tunes released weights."""
    rates = "{default: 2e-5, vision: 2e-6}" if "vision" in init else "2e-5"
    return Template(extends, modules, data, init, (*FINE_TUNING, f"lr: {rates}"))


_VIDEO = f"vision:         {PIXELS}"
_IMAGE = f"vision:         {STILL_PIXELS}"
_EMBEDDING = f"text_embedding: {TEXT}"
_DECODER = f"decoder:        {TEXT}"
_QUESTIONS = ("question_tokens: 64",)
_CAPTIONS = ("caption_tokens: 64",)
_TEMPLATE = ("template: '[CLS] {text} [SEP]'",)
_HEADS = (
    "vision_proj: {width_in: 768}",
    "text_proj:   {width_in: 768}",
    "itm_head:    {width: 768}",
    "decoder:",
)

# By task, media and size.
TEMPLATES: dict[tuple[str, str, str], Template] = {
    ("question_answer", "video", "small"): Template(
        ("configs_video/VideoQA_shapes_tiny.yaml",),
        (_VIDEO, _EMBEDDING, _DECODER),
        _QUESTIONS,
    ),
    ("question_answer", "image", "small"): Template(
        ("configs_image/vqa_shapes_tiny.yaml",),
        (_IMAGE, _EMBEDDING, _DECODER),
        _QUESTIONS,
    ),
    ("caption", "video", "small"): Template(
        ("configs_video/VideoCaption_shapes_tiny.yaml",), (_VIDEO, _DECODER), _CAPTIONS
    ),
    ("caption", "image", "small"): Template(
        ("configs_image/caption_shapes_tiny.yaml",), (_IMAGE, _DECODER), _CAPTIONS
    ),
    ("retrieval", "video", "small"): Template(
        ("configs_video/VideoRetrieval_shapes_tiny.yaml",),
        (_VIDEO, _EMBEDDING),
        _CAPTIONS,
    ),
    ("retrieval", "image", "small"): Template(
        ("configs_image/retrieval_shapes_tiny.yaml",), (_IMAGE, _EMBEDDING), _CAPTIONS
    ),
    ("media_class", "video", "small"): Template(
        ("configs_video/VideoClasses_shapes_tiny.yaml",), (_VIDEO,)
    ),
    ("media_class", "image", "small"): Template(
        ("configs_image/classes_shapes_tiny.yaml",), (_IMAGE,)
    ),
    ("text_class", "text", "small"): Template(
        ("configs_text/_base_/text_tiny.yaml", "configs_text/_base_/text_class.yaml"),
        data=_TEMPLATE,
    ),
    ("question_answer", "video", "base"): _base(
        "configs_video/VideoQA_msrvtt_base.yaml"
    ),
    ("question_answer", "image", "base"): _base("configs_image/vqa_mplug_base.yaml"),
    ("caption", "video", "base"): _base("configs_video/VideoCaption_msrvtt_base.yaml"),
    ("caption", "image", "base"): _base("configs_image/caption_mplug_base.yaml"),
    ("retrieval", "video", "base"): _base(
        "configs_video/_base_/mplug2_base.yaml",
        "configs_video/_base_/video_retrieval.yaml",
        modules=_HEADS,
    ),
    ("retrieval", "image", "base"): _base(
        "configs_image/retrieval_coco_mplug_base.yaml"
    ),
    ("media_class", "video", "base"): _base(
        "configs_video/_base_/classes_base.yaml", init="{vision: 'clip:ViT-B-16'}"
    ),
    ("media_class", "image", "base"): _base(
        "configs_image/_base_/classes_base.yaml", init="{vision: 'clip:ViT-B-16'}"
    ),
    ("text_class", "text", "base"): _base(
        *("configs_text/_base_/text_base.yaml", "configs_text/_base_/text_class.yaml"),
        data=_TEMPLATE,
        init="{'*': 'bert:bert-base-uncased'}",
    ),
}
CLASS_TASKS = ("media_class", "text_class")


def tasks_of(media: str) -> list[str]:
    """Return the tasks that have a template for videos, images or texts."""
    return list(dict.fromkeys(task for task, kind, _ in TEMPLATES if kind == media))


def template(task: str, media: str, size: str) -> Template:
    """Return a template; UserError if there is none for the task."""
    entry = TEMPLATES.get((task, media, size))
    if entry is None:
        listed = ", ".join(tasks_of(media))
        raise UserError(
            f"--task must be one of {listed} for --media {media} (got '{task}')"
        )
    return entry


def spec_text(
    name: str, task: str, media: str, size: str, data: Path, folder: Path | None
) -> str:
    """Return the text of a spec; ``data`` is the folder of its JSON lines, ``folder`` that of its files.

    What `mplug2 data import` wrote into ``data`` already decides its splits and classes.
    """
    chosen = template(task, media, size)
    splits = [split for split in SPLITS if (data / f"{split}.jsonl").is_file()] or list(
        SPLITS
    )
    labels = _labels(data) if task in CLASS_TASKS else []
    head = [f"head: {{classes: {len(labels)}}}"] if task == "media_class" else []
    lines = [*chosen.data, "workers: 2"]
    if task != "media_class":
        lines.append(
            "tokenizer: bert-base-uncased          # or the path of a vocab.txt or of a folder"
        )
    if labels:
        lines.append(f"labels: {json.dumps(labels, ensure_ascii=False)}")
    if media != "text":
        lines.append(f"media: {_quoted(folder or data / 'media')}")
    for split in SPLITS:
        entry = (
            f"{{path: {_quoted(data / f'{split}.jsonl')}}}" if split in splits else ""
        )
        lines.append(f"{split}: {entry}".rstrip())
    train = [*chosen.train]
    if "val" not in splits:
        train.append(
            "best_metric:                          # no validation split: the last checkpoint is kept"
        )
    measured = next(split for split in ("test", "val", "train") if split in splits)
    what = "texts" if media == "text" else f"{media}s"
    parts = [
        f"# {task} on your {what}, {size}. Written by `mplug2 new`; docs/own_data.md explains each step.",
        f"# run:    mplug2 train {name}.yaml",
        f"# data:   mplug2 data import TABLE ... --out {data}",
        f"extends: [{', '.join(chosen.extends)}]",
        *_section("modules", (*chosen.modules, *head)),
        *([f"\ninit: {chosen.init}"] if chosen.init else []),
        *_section("data", lines),
        *_section("train", train),
        f"\neval: {{split: {measured}}}",
    ]
    return "\n".join(parts) + "\n"


def _section(name: str, lines: Sequence[str]) -> list[str]:
    return [f"\n{name}:", *(f"  {line}" for line in lines)] if lines else []


def _quoted(path: Path) -> str:
    """Return a path as a YAML string: JSON's form is one."""
    return json.dumps(path.as_posix(), ensure_ascii=False)


def _labels(data: Path) -> list[str]:
    """Return the classes that the import wrote, or two names to be replaced."""
    file = data / "labels.json"
    if not file.is_file():
        return ["first", "second"]
    from mplug2.data.class_list import read_class_list

    return list(read_class_list(file))
