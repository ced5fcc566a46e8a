"""Checkpoints from before the modules of the shipped specs had their present names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import mplug2
from mplug2.weights.module_names import new_keys
from mplug2.weights.store import load_weights
from registry import parse_spec
from registry.language.renames import RenamedWarning

SPEC = """\
inputs: {q: text B L}
modules: {text_embedding: {use: text_embedding, width: 8, vocab_size: 20, max_positions: 8}}
flow: {x: text_embedding(q)}
goals: {predict: {x: x}}
"""


def old_file(folder: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """Return a file of weights under the old name, and the weights by their new names."""
    weights = mplug2.compose(parse_spec(SPEC)).state_dict()
    file = folder / "old.safetensors"
    save_file(
        {f"words.{name.partition('.')[2]}": value for name, value in weights.items()},
        file,
    )
    return file, weights


def test_a_checkpoint_is_loaded(tmp_path: Path) -> None:
    file, weights = old_file(tmp_path)
    net = mplug2.compose(parse_spec(SPEC))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    with pytest.warns(RenamedWarning, match="module 'words' is now 'text_embedding'"):
        load_weights(net, file)
    for name, value in net.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_init_from_a_checkpoint(tmp_path: Path) -> None:
    file, weights = old_file(tmp_path)
    with pytest.warns(RenamedWarning, match="module 'words' is now 'text_embedding'"):
        net = mplug2.compose(parse_spec(SPEC + f"init: {{'*': 'checkpoint:{file}'}}\n"))
    for name, value in net.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_names_that_are_in_use_stay() -> None:
    assert new_keys(["words.a", "other.b"], {"words"}, "x") == {
        "words.a": "words.a",
        "other.b": "other.b",
    }
    both = new_keys(["words.a", "text_embedding.a"], {"text_embedding"}, "x")
    assert both == {"words.a": "words.a", "text_embedding.a": "text_embedding.a"}
    with pytest.warns(RenamedWarning):
        assert new_keys(["bank.b"], {"feature_queue"}, "x") == {
            "feature_queue.b": "bank.b"
        }
