"""A recording of UNITER's triplets is compared: regions of both images in one row, samples of unequal lengths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

import mplug2
from modules.regions import box_location
from modules.streams import Regions, Text
from mplug2.network import Network
from mplug2.weights.export import export
from registry import KEY_MAPS, parse_spec
from tools.parity.compare import compare
from tools.parity.recipes.uniter import recipe

CONFIG = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 20,
    "max_position_embeddings": 10,
    "type_vocab_size": 2,
    "img_dim": 6,
    "kind": "nlvr2_triplet",
}
# Words, left regions, right regions. No image has the most regions twice.
COUNTS = ((5, 2, 4), (3, 3, 1), (4, 1, 2))
PREFIX = "uniter.embeddings."


def run(net: Network, ids: Tensor, features: Tensor, boxes: Tensor, left: int) -> Any:
    """The values of one sample without padding, whose order is the recorded one."""
    values: dict[str, Any] = {}
    streams = {
        "text": Text(ids[None], torch.ones(1, len(ids), dtype=torch.bool)),
        "left": Regions(features[None, :left], boxes[None, :left]),
        "right": Regions(features[None, left:], boxes[None, left:]),
        "target": torch.ones(1, dtype=torch.long),
    }
    with torch.no_grad():
        loss = net(streams, "train", values.__setitem__)["loss"]
    return values | {"loss": loss}


@pytest.fixture
def fixture(tmp_path: Path) -> Path:
    """A recording in the layout of the released code, each sample computed alone."""
    torch.manual_seed(0)
    net = mplug2.compose(parse_spec(recipe("nlvr2_triplet", CONFIG, {}), "t.yaml"))
    net = net.eval()
    weights, _ = export(net, KEY_MAPS.load("uniter"), net.state_dict(), {}, None, "w")
    rows: dict[str, list[Tensor]] = {}
    losses = []
    num_words = max(words for words, _, _ in COUNTS)
    length = max(sum(counts) for counts in COUNTS)
    for words, left, right in COUNTS:
        ids = torch.randint(1, 20, (words,))
        features = torch.randn(left + right, 6)
        corners = torch.rand(left + right, 4) / 2 + torch.tensor([0.0, 0.0, 0.5, 0.5])
        values = run(net, ids, features, corners, left)
        losses.append(values["loss"])
        index = torch.arange(length)
        index[words : words + left + right] = num_words + torch.arange(left + right)
        images = [values["left_embeds"].values, values["right_embeds"].values]
        sample = {
            "input_ids": ids,
            "img_feat": features,
            "img_pos_feat": box_location(corners),
            "img_type_ids": torch.tensor([1] * left + [2] * right),
            "attn_masks": torch.ones(words + left + right, dtype=torch.long),
            "gather_index": index,
            "out.img_emb": torch.cat(images, dim=1)[0],
            "out.layer.1": values["encoder.layers.1"][0],
            "out.embedding_output": values["joint"].values[0],
            "out.pooled": values["pooled"][0],
            "out.scores": values["logits"][0],
        }
        for name, value in sample.items():
            rows.setdefault(name, []).append(value)
    tensors = {name: pad_sequence(row, batch_first=True) for name, row in rows.items()}
    inputs = {name: value for name, value in tensors.items() if name[:4] != "out."}
    inputs["position_ids"] = torch.arange(num_words)[None]
    inputs["targets"] = torch.ones(len(COUNTS), dtype=torch.long)
    outputs = {name[4:]: value for name, value in tensors.items() if name[:4] == "out."}
    outputs |= {"loss": torch.stack(losses).mean(), "loss_each": torch.stack(losses)}
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    save_file(inputs, tmp_path / "inputs.safetensors")
    save_file(outputs, tmp_path / "outputs.safetensors")
    weights = {name: value.clone() for name, value in weights.items()}
    save_file(weights, tmp_path / "state_dict.safetensors")
    return tmp_path


def test_every_output_of_triplets_is_compared(fixture: Path) -> None:
    rows = {row.name: row for row in compare(fixture)}
    assert [name for name, row in rows.items() if not row.good] == []
    required = {"img_emb", "embedding_output", "layer.1", "pooled", "scores", "loss"}
    assert required <= set(rows)


def test_a_wrong_type_of_the_right_image_is_seen(fixture: Path) -> None:
    path = fixture / "state_dict.safetensors"
    weights = load_file(path)
    # One channel: the norm that follows removes what all channels get.
    weights[f"{PREFIX}token_type_embeddings.weight"][2, 0] += 0.5
    save_file(weights, path)
    failed = {row.name for row in compare(fixture) if not row.good}
    assert {"img_emb", "embedding_output", "layer.1"} <= failed


def test_a_recording_with_fewer_stages_is_compared(fixture: Path) -> None:
    path = fixture / "outputs.safetensors"
    outputs = load_file(path)
    save_file({"scores": outputs["scores"], "unknown": outputs["loss"]}, path)
    rows = {row.name: row for row in compare(fixture)}
    assert rows["scores"].good
    # What is recorded and has no counterpart still fails.
    assert [name for name, row in rows.items() if not row.good] == [
        "unknown (no counterpart here)"
    ]
    assert "layer.1" not in rows
