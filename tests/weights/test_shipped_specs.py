"""The shipped mPLUG specs at full size, on the meta device: released checkpoints fit them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import mplug2
from mplug2.weights.official_mplug import load_mplug

LAYOUTS = {
    "vqa_mplug_base": "model_vqa_mplug:ViT-B-16",
    "vqa_mplug_large": "model_vqa_mplug:ViT-L-14",
    "caption_mplug_base": "model_caption_mplug:ViT-B-16",
    "caption_mplug_large_scst": "model_caption_mplug:ViT-L-14",
    "retrieval_coco_mplug_base": "model_retrieval_mplug:ViT-B-16",
    "retrieval_flickr30k_mplug_large": "model_retrieval_mplug:ViT-L-14",
    "grounding_mplug_large": "model_grounding_mplug:ViT-L-14",
    "nlvr2_mplug_base": "model_vqa_mplug:ViT-B-16",
    "snli_ve_mplug_large": "model_vqa_mplug:ViT-L-14",
}
FRESH = ("mine.step", "head.")  # a counter, and the heads of tasks that no weights were released for


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_released_checkpoint_fits(name: str, shared: Path) -> None:
    layouts = json.loads((shared / "reference/parity/mplug/key_layout.json").read_text())
    tensors = {
        pattern.replace("{i}", str(i)): torch.empty(shape, device="meta")
        for pattern, (count, shape) in layouts[LAYOUTS[name]].items()
        for i in range(count)
    }
    net = mplug2.compose(f"configs_image/{name}.yaml", device="meta", initial=False)
    report = load_mplug(net, tensors)
    assert not report.of("misfit")
    assert all(row.target.startswith(FRESH) for row in report.of("missing"))
