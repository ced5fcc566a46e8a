"""Shipped specs come to as many parameters as the released networks have that take part in a task."""

from __future__ import annotations

import pytest

import mplug2

# counted over the released state dicts, without what no output depends on
RELEASED = {
    "configs_video/VideoCaption_msrvtt_large.yaml": 621_853_498,
    "configs_video/VideoCaption_msrvtt_base.yaml": 256_881_210,
    # mPLUG's 347 M without CLIP's projection and the joining layer's cross-attention, which nothing reads
    "configs_image/vqa_mplug_base.yaml": 347_440_698
    - 768 * 512
    - (4 * 768 * 768 + 6 * 768),
    # 566 M without CLIP's projection
    "configs_image/vqa_mplug_large.yaml": 566_038_842 - 1024 * 768,
}


@pytest.mark.parametrize("spec", RELEASED)
def test_as_many_parameters_as_released(spec: str) -> None:
    net = mplug2.compose(spec, device="meta", initial=False)
    assert sum(weight.numel() for weight in net.parameters()) == RELEASED[spec]
