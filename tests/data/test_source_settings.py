"""Each source has its tokenizer, template and pixel statistics; prediction uses those of its goal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mplug2  # noqa: F401  (fills the registries)
from mplug2.data.build import build_prediction_source, build_source
from mplug2.data.media.transforms import CLIP_MEAN, CLIP_STD
from registry import StreamType, UserError, check, parse_spec, write_spec
from registry.goal_source import (
    goal_arguments,
    goal_tokenizer,
    source_of_goal,
    tokenizer_key,
)

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "square")
SPEC = """
inputs: {{image: image B 3 16 16, caption: text B L}}
modules:
  vision: {{use: image_vit, width: 32, depth: 1, heads: 2, patch: 8, size: 16}}
  words: {{use: text_embedding, width: 32, vocab_size: 50, max_positions: 16}}
  to_v: {{use: feature_head, width_in: 32, width: 8}}
  to_t: {{use: feature_head, width_in: 32, width: 8, pool: mean}}
flow: {{hidden: vision(image), embeds: words(caption), v: to_v(hidden), t: to_t(embeds)}}
goals: {{embed_vision: {{v: v}}, embed_text: {{t: t}}, predict: {{v: v, t: t}}}}
data:
  task: retrieval
  media: {folder}
  tokenizer: {folder}/words.txt
  image_mean: 0.5
  sources:
    gray: {{train: {{path: {folder}/a.jsonl}}, val: {{path: {folder}/a.jsonl}}}}
    clear:
      tokenizer: {folder}/others.txt
      template: 'red {{caption}} [SEP]'
      image_mean: 0
      image_std: [1, 1, 0.5]
      val: {{path: {folder}/a.jsonl}}
eval: {{source: clear, split: val, found: {{metrics: [recall]}}}}
"""
TYPES = {
    "image": StreamType("image", ("B", 3, 16, 16)),
    "caption": StreamType("text", ("B", "L")),
}


@pytest.fixture
def text(tmp_path: Path) -> str:
    """A spec of two sources over one gray image of 51 / 255 = 0.2."""
    (tmp_path / "words.txt").write_text("\n".join(WORDS) + "\n")
    (tmp_path / "others.txt").write_text(
        "\n".join([*WORDS[:5], *reversed(WORDS[5:])]) + "\n"
    )
    (tmp_path / "a.jsonl").write_text('{"image": "a.png", "caption": "a square"}\n')
    Image.fromarray(np.full((16, 16, 3), 51, dtype=np.uint8)).save(tmp_path / "a.png")
    return SPEC.format(folder=tmp_path)


def test_each_source_is_read_with_its_settings(text: str) -> None:
    spec = parse_spec(text)
    assert check(spec).problems == []
    colours, rows = {}, {}
    for name in ("gray", "clear"):
        source = build_source(spec, TYPES, name, "val")
        (request,) = source.requests(0, 0)
        batch = source.collate([source.read(request)])
        colours[name] = batch.inputs["image"][0, :, 0, 0]
        rows[name] = batch.inputs["caption"].ids[0].tolist()
    gray = [(0.2 - 0.5) / std for std in CLIP_STD]
    assert torch.allclose(colours["gray"], torch.tensor(gray))
    assert torch.allclose(colours["clear"], torch.tensor([0.2, 0.2, 0.4]))
    assert rows == {"gray": [2, 5, 7], "clear": [6, 7, 5, 3]}


def test_without_settings_pixels_are_those_of_the_released_checkpoints(
    text: str,
) -> None:
    spec = parse_spec(text.replace("  image_mean: 0.5\n", ""))
    source = build_source(spec, TYPES, "gray", "val")
    (request,) = source.requests(0, 0)
    pixels = source.collate([source.read(request)]).inputs["image"][0, :, 0, 0]
    expected = [
        (0.2 - mean) / std for mean, std in zip(CLIP_MEAN, CLIP_STD, strict=True)
    ]
    assert torch.allclose(pixels, torch.tensor(expected))


@pytest.mark.parametrize(
    ("source", "row"), [("clear", [6, 7, 5, 3]), ("gray", [2, 5, 7])]
)
def test_a_goal_uses_the_source_that_it_is_evaluated_on(
    text: str, source: str, row: list[int]
) -> None:
    # The spec of a checkpoint is the resolved one.
    spec = parse_spec(
        write_spec(parse_spec(text.replace("source: clear", f"source: {source}")))
    )
    found = source_of_goal(spec, "predict")
    assert found is not None and found.source.name == source
    key = "data.sources.clear.tokenizer" if source == "clear" else "data.tokenizer"
    assert tokenizer_key(spec, "embed_text") == key
    name = goal_tokenizer(spec, "predict")
    assert name is not None and name.endswith(
        "others.txt" if source == "clear" else "words.txt"
    )
    assert goal_arguments(spec, "embed_vision")["image_mean"] == (
        0 if source == "clear" else 0.5
    )
    asked = build_prediction_source(spec, TYPES, "predict", None, ["a square"])
    assert asked.media.mean == ((0, 0, 0) if source == "clear" else (0.5, 0.5, 0.5))
    builders = asked.task.input_builders([])
    assert builders["caption"]().ids.shape[0] == 0
    assert asked.task._caption_ids("a square") == row


def test_a_goal_that_the_first_evaluation_does_not_feed_finds_its_source() -> None:
    spec = parse_spec("""
inputs: {image: image B 3 16 16, text: text B L}
modules:
  vision: {use: image_vit, width: 32, depth: 1, heads: 2, patch: 8, size: 16}
  words: {use: text_embedding, width: 32, vocab_size: 50, max_positions: 16}
flow: {hidden: vision(image), embeds: words(text)}
goals: {look: {hidden: hidden}, read: {embeds: embeds}}
data:
  tokenizer: v.txt
  sources:
    images: {task: caption, media: m, val: {path: a.jsonl}}
    texts: {task: text_class, labels: [x, y], val: {path: b.jsonl}}
eval: {split: val}
""")
    names = {}
    for goal in ("look", "read"):
        found = source_of_goal(spec, goal)
        assert found is not None
        names[goal] = found.source.name
    assert names == {"look": "images", "read": "texts"}


MISTAKES = [
    (
        "image_mean: 0.5",
        "image_mean: 123.7",
        "'data.image_mean' must be at most 1, but is 123.7",
    ),
    (
        "image_mean: 0.5",
        "image_mean: half",
        "'data.image_mean' must be Sequence[float] | float, but is 'half'",
    ),
    (
        "image_std: [1, 1, 0.5]",
        "image_std: [1, 1]",
        "argument 'image_std' of task 'retrieval' must be one number or 3 (red, green, blue), but has 2",
    ),
    (
        "image_std: [1, 1, 0.5]",
        "image_std: 0",
        "argument 'image_std' of task 'retrieval' must be more than 0, but is 0",
    ),
    (
        "      image_mean: 0\n",
        "      image_mena: 0\n",
        "unknown key of 'data.sources.clear' with task 'retrieval': 'image_mena'",
    ),
    (
        "others.txt\n",
        "others.txt\n      tokeniser: 3\n",
        "unknown key of 'data.sources.clear' with task 'retrieval': 'tokeniser'",
    ),
]


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES)
def test_a_wrong_setting_is_located(
    text: str, old: str, new: str, message: str
) -> None:
    assert text.count(old) == 1
    wrong = text.replace(old, new)
    (problem,) = check(parse_spec(wrong)).problems
    assert problem.message == message
    first_line = 1 + wrong[: wrong.index(new)].count("\n")
    assert first_line <= problem.place.line <= first_line + new.count("\n")


def test_the_template_of_a_caption_has_one_field(text: str) -> None:
    wrong = parse_spec(
        text.replace("red {caption} [SEP]", "{sentence} [SEP]"), "my.yaml"
    )
    with pytest.raises(
        UserError,
        match=r"my\.yaml:19:17: the template of a caption must have one field",
    ):
        build_source(wrong, TYPES, "clear", "val")
