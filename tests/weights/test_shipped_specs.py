"""The shipped specs at full size, on the meta device: released checkpoints fit them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from quick import mostly_slow

import mplug2
from mplug2.weights.sources import load_tensors

LAYOUTS = {
    "vqa_mplug_base": "model_vqa_mplug:ViT-B-16",
    "vqa_mplug_large": "model_vqa_mplug:ViT-L-14",
    "caption_mplug_base": "model_caption_mplug:ViT-B-16",
    "caption_mplug_large_scst": "model_caption_mplug:ViT-L-14",
    "retrieval_coco_mplug_base": "model_retrieval_mplug:ViT-B-16",
    "retrieval_flickr30k_mplug_large": "model_retrieval_mplug:ViT-L-14",
    "grounding_mplug_large": "model_grounding_mplug:ViT-L-14",
    "nlvr2_mplug_base": "model_vqa_mplug:ViT-B-16",
    "nlvr2_mplug_large": "model_vqa_mplug:ViT-L-14",
    "snli_ve_mplug_large": "model_vqa_mplug:ViT-L-14",
}
FOR_IMAGES = sorted(
    path.stem for path in Path("configs_image").glob("*_mplug2_large.yaml")
)
FRESH = (
    "hard_negatives.step",
    "head.",
)  # a counter, and the heads of tasks that no weights were released for


QUICK = ["vqa_mplug_base", "retrieval_coco_mplug_base", "grounding_mplug_large"]


@pytest.mark.parametrize("name", mostly_slow(LAYOUTS, QUICK))
def test_a_released_checkpoint_fits(name: str, shared: Path) -> None:
    layouts = json.loads(
        (shared / "reference/parity/mplug/key_layout.json").read_text()
    )
    tensors = {
        pattern.replace("{i}", str(i)): torch.empty(shape, device="meta")
        for pattern, (count, shape) in layouts[LAYOUTS[name]].items()
        for i in range(count)
    }
    net = mplug2.compose(f"configs_image/{name}.yaml", device="meta", initial=False)
    report = load_tensors(net, "mplug", tensors)
    assert not report.of("misfit")
    assert all(row.target.startswith(FRESH) for row in report.of("missing"))


@pytest.mark.parametrize("name", mostly_slow(FOR_IMAGES, ["vqa_mplug2_large"]))
def test_mplug2_for_videos_gives_an_image_network_all_but_its_temporal_layers(
    name: str, shared: Path
) -> None:
    facts = json.loads(
        (shared / "reference/parity/mplug2/full_size_keys.json").read_text()
    )
    tensors = {
        key: torch.empty(shape, device="meta")
        for key, (shape, _) in facts["large_vqa"]["state_dict"].items()
    }
    net = mplug2.compose(f"configs_image/{name}.yaml", device="meta", initial=False)
    report = load_tensors(net, "mplug2", tensors)
    assert not report.of("misfit")
    temporal = [row for row in report.of("dropped") if "temporal" in row.reason]
    assert (
        len(temporal) == 2 * 8 * 24
    )  # eight weights, before and after the attention of each block
    missing = {row.target.split(".")[0] for row in report.of("missing")}
    assert not missing & {"vision", "universal", "words", "text", "decoder", "fusion"}
