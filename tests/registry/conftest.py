"""Small fake parts that specs are checked against: declarations in files that raise when imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mplug2  # noqa: F401  (registers the engine and the optimizer that specs name by default)
from registry import Registries, Registry

PARTS = Path(__file__).parent / "parts"
MODULES = {
    "video_vit": "VideoViT",
    "text_embedding": "TextEmbedding",
    "text_encoder": "TextEncoder",
    "universal": "Universal",
    "fusion": "Fusion",
    "text_decoder": "TextDecoder",
    "project": "Project",
    "head": "Head",
    "pool": "Pool",
    "backbone": "Backbone",
    "word_dropout": "WordDropout",
}


@pytest.fixture(scope="session")
def names() -> Iterator[Registries]:
    """Registries of fake parts."""
    catalogue = Registries(
        *(
            Registry("module"),
            Registry("operation"),
            Registry("task"),
            Registry("metric"),
        ),
        key_maps=Registry("key map"),
    )
    for name, target in MODULES.items():
        catalogue.modules.register(name, f"fake_parts:{target}")
    for name in ("concat", "split", "take", "lm_loss", "cross_entropy", "beam_search"):
        catalogue.operations.register(name, f"fake_parts:{name}")
    catalogue.tasks.register("video_qa", "fake_parts:VideoQA")
    catalogue.tasks.register("labelled", "fake_parts:Labelled")
    catalogue.metrics.register("accuracy", "fake_parts:Accuracy")
    catalogue.metrics.register("top_one", "fake_parts:TopOne")
    for name in ("clip", "mplug2", "checkpoint"):
        catalogue.key_maps.register(name, f"fake_key_maps:{name}")
    sys.path.insert(0, str(PARTS))
    yield catalogue
    sys.path.remove(str(PARTS))


@pytest.fixture(scope="session")
def good() -> str:
    """The text of a spec that has nothing wrong."""
    return (PARTS / "good.yaml").read_text()
