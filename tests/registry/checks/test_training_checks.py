"""What check says of sources, batches, iterations and evaluations that are wrong, each at its position."""

from __future__ import annotations

import pytest

import mplug2  # noqa: F401  (registers tasks, modules and operations)
from registry import SpecError, check, parse_spec
from registry.training import Length, training_plan

GOOD = """
inputs:
  image:   image B 3 224 224
  caption: text B L
  label:   labels B
modules:
  vision: {use: image_vit, width: 32, depth: 1, heads: 2, patch: 16}
  words:  {use: text_embedding, width: 32, vocab_size: 100}
  text:   {use: text_encoder, width: 32, depth: 1, heads: 2}
  head:   {use: class_head, width: 32, classes: 3}
  writer: {use: text_decoder, width: 32, depth: 1, heads: 2, vocab_size: 100}
flow:
  patches: vision(image)
  verdict: head(patches)
  sorted:  cross_entropy(verdict, target=label)
  embeds:  words(caption)
  hidden:  text(embeds)
  written: writer(caption, memory=patches)
  loss:    lm_loss(written, target=caption)
  logits:  head(hidden)
  read:    cross_entropy(logits, target=label)
goals:
  image: {loss: loss, patches: patches}
  text:  {loss: read}
  sort:  {loss: sorted}
  predict: {label: verdict}
data:
  tokenizer: vocab.txt
  sources:
    coco:  {task: caption, media: coco, train: {path: a.jsonl}, val: {path: b.jsonl}}
    flickr: {task: caption, media: flickr, train: {path: c.jsonl}}
    both:  [coco, flickr]
  batches:
    image: {source: both, batch_size: 32}
train:
  micro_batch: 8
  iteration: [image]
eval: {}
"""

WRONG = [
    ("source: both", "source: bth", "unknown source 'bth'", "did you mean 'both'?"),
    (
        "both:  [coco, flickr]",
        "both:  [coco, flick]",
        "unknown source of mixture 'both': 'flick'",
        "did you mean 'flickr'?",
    ),
    (
        "both:  [coco, flickr]",
        "both:  {coco: 2, flickr: 0}",
        "the weight of source 'flickr' must be positive, but is 0",
        "",
    ),
    (
        "batch_size: 32}",
        "batch_size: {token: 3}}",
        "batch_size of batch 'image' must be a number of samples or {tokens: N}, but is {'token': 3}",
        "",
    ),
    (
        "{source: both, batch_size: 32}",
        "{source: both}",
        "batch 'image' must have a batch_size: samples of an optimizer step over all ranks",
        "`batch_size: 32`, or `batch_size: {tokens: 4096}`",
    ),
    (
        "batch_size: 32}",
        "batch_size: 32, split: val}",
        "source 'both' of batch 'image' has no split 'val'",
        "splits of 'both': train",
    ),
    (
        "batch_size: 32}",
        "batch_size: 32, goal: txt}",
        "unknown goal of batch 'image': 'txt'",
        "did you mean 'text'?",
    ),
    (
        "batch_size: 32}",
        "batch_size: 32, caption_word: 3}",
        "unknown key of 'data.batches.image' with task 'caption': 'caption_word'",
        "did you mean 'caption_words'?",
    ),
    (
        "task: caption, media: coco",
        "task: captoin, media: coco",
        "unknown task 'captoin'",
        "did you mean 'caption'?",
    ),
    (
        "media: coco, train: {path: a.jsonl}",
        "media: coco, train: {pth: a.jsonl}",
        "unknown key of 'data.sources.coco.train' with task 'caption': 'pth'",
        "did you mean 'path'?",
    ),
    (
        "micro_batch: 8",
        "micro_batch: {imag: 8}",
        "unknown batch 'imag'",
        "did you mean 'image'?",
    ),
    (
        "micro_batch: 8",
        "micro_batch: {image: none}",
        "micro_batch of batch 'image' must be a number of samples or {tokens: N}, but is 'none'",
        "",
    ),
    (
        "iteration: [image]",
        "iteration: [imag]",
        "unknown batch 'imag'",
        "did you mean 'image'?",
    ),
    (
        "iteration: [image]",
        "iteration: [draw: {image: -1}]",
        "the weight of batch 'image' must be positive, but is -1",
        "",
    ),
    (
        "iteration: [image]",
        "iteration: [draw: [image]]",
        "'draw' of a step must be written as in `draw: {image: 2, text: 1}`, but is ['image']",
        "",
    ),
    (
        "iteration: [image]",
        "iteration: [{batch: image, all: [image]}]",
        "a step must have one of draw, all and batch, but has all and batch",
        "`{batch: image}`",
    ),
    (
        "iteration: [image]",
        "iteration: [{batch: image, gaol: image}]",
        "unknown key of a step: 'gaol'",
        "did you mean 'goal'?",
    ),
    (
        "iteration: [image]",
        "iteration: [{batch: image, goal: predict}]",
        "goal 'predict' of this step has no output 'loss', so it trains nothing",
        "`predict: {loss: ...}`",
    ),
    (
        "iteration: [image]",
        "iteration: [{batch: image, reuse: [patches]}]",
        "no earlier step with batch 'image' gives 'patches'",
        "outputs so far: none",
    ),
    (
        "iteration: [image]",
        "iteration: [{batch: image, cache_gradients: [patchs]}]",
        "unknown stream 'patchs'",
        "did you mean 'patches'?",
    ),
    (
        "iteration: [image]",
        "iteration: [{batch: image, until: {epoch: 3}}]",
        "'until' must be a length, but is {'epoch': 3}",
        "`{steps: 500}`, `{samples: 10000}` or `{epochs: 3, of: BATCH}`",
    ),
    (
        "iteration: [image]",
        "iteration: [{batch: image, goal: sort}]",
        "task 'caption' (set at spec.yaml:30:19) supplies no 'label'",
        None,
    ),
    (
        "  tokenizer: vocab.txt",
        "  tokenizer: vocab.txt\n  caption_word: 3",
        "unknown key of 'data': 'caption_word'",
        "did you mean 'caption_words'?",
    ),
    (
        "eval: {}",
        "eval: {one: {source: coc, metrics: [label_accuracy]}}",
        "unknown source 'coc'",
        "did you mean 'coco'?",
    ),
    (
        "eval: {}",
        "eval: {one: {source: coco, split: tset, metrics: [label_accuracy]}}",
        "source 'coco' of evaluation 'one' has no split 'tset'",
        "splits of 'coco': train, val",
    ),
    (
        "eval: {}",
        "eval: {one: {metric: [label_accuracy]}}",
        "unknown key of 'eval.one': 'metric'",
        "did you mean 'metrics'?",
    ),
]


def test_the_spec_is_good() -> None:
    assert check(parse_spec(GOOD)).problems == []


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"), WRONG, ids=[row[1][:48] for row in WRONG]
)
def test_a_mistake_is_located(
    old: str, new: str, message: str | None, hint: str | None
) -> None:
    assert GOOD.count(old) == 1
    text = GOOD.replace(old, new)
    try:
        problems = check(parse_spec(text)).problems
    except SpecError as error:
        problems = error.problems
    assert len(problems) == 1, problems
    if message is not None:
        assert problems[0].message == message
    if hint is not None:
        assert problems[0].hint == hint
    expected_line = 1 + text[: text.index(new)].count("\n") + new.count("\n")
    # An input that is not supplied is reported where it is declared.
    label_line = text.splitlines().index("  label:   labels B") + 1
    assert problems[0].place.line in {expected_line, label_line}


def test_the_long_form_is_read() -> None:
    text = GOOD.replace(
        "iteration: [image]",
        "iteration: [draw: {image: 2}, {batch: image, until: {epochs: 2}}]",
    )
    plan = training_plan(
        parse_spec(
            text.replace(
                "batch_size: 32}", "batch_size: {tokens: 4096}, caption_words: 9}"
            )
        )
    )
    batch = plan.batches["image"]
    assert (batch.source, batch.goal, batch.tokens, batch.batch_size) == (
        "both",
        "image",
        4096,
        None,
    )
    assert (batch.micro_batch, batch.arguments) == (8, {"caption_words": 9})
    assert plan.sources["both"].mixture == {"coco": None, "flickr": None}
    assert plan.sources["coco"].splits == {
        "train": {"path": "a.jsonl"},
        "val": {"path": "b.jsonl"},
    }
    assert plan.iteration[0].draw == {"image": 2.0}
    assert plan.iteration[1].until == Length("epochs", 2)
    assert plan.main_batch == "image"


def test_a_test_split_is_never_measured_during_training() -> None:
    named = "a: {split: val}, b: {split: test}, c: {source: flickr}"
    evaluations = f"eval: {{metrics: [label_accuracy], source: coco, {named}}}"
    plan = training_plan(parse_spec(GOOD.replace("eval: {}", evaluations)))
    splits = {
        evaluation.name: (evaluation.split, evaluation.train_split)
        for evaluation in plan.evaluations
    }
    assert splits == {"a": ("val", "val"), "b": ("test", "val"), "c": ("test", None)}
    assert plan.evaluations[0].key("accuracy") == "a/accuracy"


def test_a_spec_without_a_loss_has_no_iteration() -> None:
    text = (
        GOOD.replace("loss: loss, ", "")
        .replace("{loss: read}", "{read: read}")
        .replace("{loss: sorted}", "{}")
    )
    text = (
        text[: text.index("data:")]
        + "data: {kind: caption, train: {path: a, media: b}}\n"
    )
    plan = training_plan(parse_spec(text))
    assert plan.iteration == () and plan.batches == {}
