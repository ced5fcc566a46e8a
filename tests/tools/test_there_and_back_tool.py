"""`tools/there_and_back.py`: a random checkpoint of a recorded model comes back equal, and what differs is named."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import mplug2
from registry import KEY_MAPS, UserError
from tools.parity.recipes.uniter import recipe
from tools.there_and_back import (
    Held,
    Layout,
    differences,
    full_shapes,
    held_keys,
    there_and_back,
)

TINY = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 20,
    "max_position_embeddings": 10,
    "type_vocab_size": 2,
    "img_dim": 6,
    "img_label_dim": 5,
    "itm_ot_lambda": 0.1,
    "ot": {"beta": 0.5, "iteration": 50},
}
WORDS = "uniter.embeddings.word_embeddings.weight"


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny pre-training of UNITER, which has tied weights and a transposed one."""
    path = tmp_path_factory.mktemp("spec") / "pretrain.yaml"
    path.write_text(recipe("pretrain", TINY, {}))
    return path


@pytest.fixture
def entry(spec: Path) -> dict[str, Any]:
    """The recorded entry of the tiny model: patterns as in the layouts of released ones."""
    net = mplug2.compose(spec, device="meta", initial=False)
    keys: dict[str, Any] = {}
    for key, shape in held_keys(net, KEY_MAPS.load("uniter")).shapes.items():
        pattern = re.sub(r"layer\.\d+", "layer.{i}", key)
        count = keys[pattern][0] if pattern in keys else 0
        keys[pattern] = [count + 1, list(shape)]
    keys["unread.weight"] = [1, [3]]
    num_parameters = sum(parameter.numel() for parameter in net.parameters())
    return {"n_params": num_parameters + 3, "keys": keys}


def recorded(folder: Path, **entries: Any) -> Path:
    (folder / "uniter").mkdir()
    (folder / "uniter/key_layout.json").write_text(json.dumps({"about": {}, **entries}))
    return folder


def test_a_recorded_model_comes_back_equal(
    spec: Path, entry: dict[str, Any], tmp_path: Path
) -> None:
    larger = {"keys": entry["keys"] | {"more.weight": [9, [2]]}}
    folder = recorded(tmp_path, larger=larger, tiny=entry)
    line, problems = there_and_back(spec, "uniter", folder)
    assert problems == []
    # The layers are counted, and the model with the fewest other keys is meant.
    num_keys = sum(count for count, _ in entry["keys"].values())
    assert line.startswith(f"tiny: {num_keys} keys")
    assert f"{entry['n_params']:,} recorded" in line


def test_another_number_of_parameters_is_a_problem(
    spec: Path, entry: dict[str, Any], tmp_path: Path
) -> None:
    entry["n_params"] += 1
    _, problems = there_and_back(spec, "uniter", recorded(tmp_path, tiny=entry))
    assert len(problems) == 1
    assert f"{entry['n_params']:,} are recorded" in problems[0]


def test_a_network_of_other_shapes_is_no_recorded_model(
    spec: Path, entry: dict[str, Any], tmp_path: Path
) -> None:
    entry["keys"][WORDS] = [1, [21, 8]]
    with pytest.raises(UserError, match="no recorded model"):
        there_and_back(spec, "uniter", recorded(tmp_path, tiny=entry))
    with pytest.raises(UserError, match="--layouts"):
        there_and_back(spec, "uniter", tmp_path / "absent")


def test_keys_have_the_numbers_of_the_network() -> None:
    # Experts of the last layers, layers of other shapes with a gap, and what the network does not hold.
    kept = {"e.2.w": (4,), "e.3.w": (4,), "c.0.w": (4,), "c.2.w": (5,)}
    patterns = {"e.{i}.w": (2, (4,)), "c.{i}.w": (2, (4,)), "other.{i}.w": (2, (6,))}
    layout = Layout("name", patterns, None)
    shapes = full_shapes(layout, Held(kept, {}, 17), KEY_MAPS.load("uniter"))
    assert shapes == kept | {"other.0.w": (6,), "other.1.w": (6,)}


def test_what_differs_is_named(tmp_path: Path) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    values = {"bits": torch.ones(2), "type": torch.ones(2), "gone": torch.ones(1)}
    save_file(values | {"same": torch.zeros(3)}, first)
    changed = {"bits": torch.tensor([1.0, 1.0000001]), "type": torch.ones(2).half()}
    save_file(changed | {"same": torch.zeros(3)}, second)
    assert differences(first, second) == [
        "gone: in one of both files only",
        "bits: other values",
        "type: torch.float32 became torch.float16",
    ]
