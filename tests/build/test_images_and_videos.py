"""Images and videos go through one video encoder, in every stage of check."""

from __future__ import annotations

import pytest
import torch

import mplug2
from mplug2.build.dry_run import dry_run
from mplug2.build.smoke import smoke
from registry import check, parse_spec, write_spec

SPEC = """
inputs: {image: image B 3 16 16, video: frames B 3 4 16 16, label: labels B}
modules:
  vision: {use: video_vit, width: 16, heads: 2, depth: 2, patch: 8, size: 16}
  head: {use: class_head, width: 16, classes: 3}
flow:
  image_hidden: vision(image)
  video_hidden: vision(video)
  image_logits: head(image_hidden)
  video_logits: head(video_hidden)
  image_loss: cross_entropy(image_logits, target=label)
  video_loss: cross_entropy(video_logits, target=label)
  loss: weighted_sum(image_loss, video_loss, weights=[1.0, 1.0])
goals: {train: {loss: loss}, image: {loss: image_loss}, predict: {label: video_logits}}
"""


def batch() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {
        "image": torch.randn(2, 3, 16, 16),
        "video": torch.randn(2, 3, 4, 16, 16),
        "label": torch.tensor([0, 2]),
    }


def test_both_are_encoded_by_the_same_weights() -> None:
    spec = parse_spec(SPEC)
    report = check(spec)
    assert report.problems == []
    assert str(report.types["video"]) == "frames B 3 4 16 16"
    assert check(parse_spec(write_spec(spec))).problems == []
    assert dry_run(spec).trainable > 0
    smoke(spec)
    net = mplug2.compose(spec).eval()
    outputs = net(batch(), goal=("image_hidden", "video_hidden"))
    assert outputs["image_hidden"].values.shape == (2, 1 + 4, 16)
    assert outputs["video_hidden"].values.shape == (2, 1 + 4 * 4, 16)
    vision = net.get_module("vision")
    assert torch.equal(outputs["image_hidden"].values, vision(batch()["image"]).values)


MISTAKES = [
    (
        "image: image B 3 16 16",
        "image: image B 3 32 32",
        "size mismatch: port 'video' of vision must be size 16 (set at spec.yaml:4:75), but stream 'image' "
        "has 32 there (set at spec.yaml:2:17)",
    ),
    (
        "frames B 3 4 16 16",
        "tokens B N 16",
        "wrong kind: port 'video' of vision takes frames B 3 frames size size | image B 3 size size, but "
        "stream 'video' is tokens B N 16",
    ),
    (
        "patch: 8, size: 16}",
        "patch: 8, size: 16, frames: 8}",
        "frames mismatch: port 'video' of vision must be frames 8 (set at spec.yaml:4:87), but stream "
        "'video' has 4 there (set at spec.yaml:2:41)",
    ),
]


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES)
def test_other_inputs_are_located(old: str, new: str, message: str) -> None:
    (problem,) = check(parse_spec(SPEC.replace(old, new))).problems
    assert problem.message == message
