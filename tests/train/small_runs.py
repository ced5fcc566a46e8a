"""Small composed networks and loaders over lists, for tests of what an iteration trains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modules.streams import Tokens
from mplug2.build.compose import compose
from mplug2.data.batch import Batch
from mplug2.train.iteration import Iteration
from registry import Spec, parse_spec
from registry.training import training_plan

WIDTH = 16


class TensorTask:
    """Declares the inputs of the small network; its loaders are lists, so it reads nothing."""

    outputs = {
        "x": "tokens B 2 width",
        "y": "labels B",
        "image": "tokens P 2 width",
        "caption": "tokens P 2 width",
    }

    def read(self, path: Path) -> list[Any]:
        return []

    def encode(self, items: Sequence[Any], samples: Sequence[Any]) -> dict[str, Any]:
        return {}

    def question(self, text: str) -> Any:
        return text


MODULES = f"""
modules:
  body:    {{use: project, width_in: {WIDTH}, width: {WIDTH}, dropout: 0.0}}
  classes: {{use: class_head, width: {WIDTH}, classes: 5, dropout: 0.0}}
  vision:  {{use: feature_head, width_in: {WIDTH}, width: 8}}
  text:    {{use: feature_head, width_in: {WIDTH}, width: 8}}
  itc:     {{use: contrastive}}
"""

SPEC = (
    """
inputs:
  x: tokens B 2 16
  y: labels B
  image: tokens P 2 16
  caption: tokens P 2 16
"""
    + MODULES
    + """
flow:
  hidden:  body(x)
  logits:  classes(hidden)
  loss:    cross_entropy(logits, target=y)
  image_hidden: body(image)
  vision_features: vision(image_hidden)
  text_features: text(caption)
  contrast: itc(vision_features, text_features)
goals:
  classes: {loss: loss, logits: logits}
  pairs: {loss: contrast.loss, vision_features: vision_features}
"""
)


# The same network by definitions, the goals of which are calls.
SPEC_OF_CALLS = (
    SPEC[: SPEC.index("flow:")]
    + """
define:
  classify(x):
    hidden: body(x)
    logits: classes(hidden)
    loss:   cross_entropy(logits, target=y)
    return: {loss: loss, logits: logits}
  contrast(image, caption):
    hidden: body(image)
    vision_features: vision(hidden)
    text_features: text(caption)
    result: itc(vision_features, text_features)
    return: {loss: result.loss, vision_features: vision_features, alignment: result.loss}
flow:
  classified: classify(x)
  paired: contrast(image, caption)
goals:
  classes: classified
  pairs: paired
"""
)


def small_spec(settings: str = "", **train: Any) -> Spec:
    """Return the spec of the small network; ``settings`` are further sections, the rest is `train`."""
    options = {
        "engine": "torch",
        "lr": 0.05,
        "warmup": 0,
        "schedule": "constant",
        **train,
    }
    lines = "\n".join(f"  {key}: {value}" for key, value in options.items())
    return parse_spec(f"{SPEC}{settings}\ntrain:\n{lines}\n", "small.yaml")


def small_net(spec: Spec) -> Any:
    """Return the network of a spec, with the same weights each time."""
    torch.manual_seed(0)
    return compose(spec).eval()


class ListLoader:
    """Endless batches from a list of samples, a fixed number of them in each optimizer step."""

    def __init__(
        self,
        samples: dict[str, Tensor],
        batch_size: int,
        micro_batch: int,
        kind: str = "train",
    ) -> None:
        self.samples, self.batch_size, self.micro_batch, self.kind = (
            samples,
            batch_size,
            micro_batch,
            kind,
        )
        self.epoch = self.position = 0

    def __iter__(self) -> Iterator[Batch]:
        while True:
            end = min(self.position + self.batch_size, len(self))
            starts = range(self.position, end, self.micro_batch)
            for start in starts:
                rows = slice(start, min(start + self.micro_batch, end))
                final = start == starts[-1]
                if final:
                    over = end == len(self)
                    self.epoch, self.position = (
                        (self.epoch + 1, 0) if over else (self.epoch, end)
                    )
                inputs: dict[str, Any] = {}
                for name, values in self.samples.items():
                    inputs[name] = (
                        Tokens(values[rows]) if values.ndim == 3 else values[rows]
                    )
                yield Batch(inputs, [], self.kind, final)

    def __len__(self) -> int:
        return len(next(iter(self.samples.values())))

    def state_dict(self) -> dict[str, int]:
        return {
            "epoch": self.epoch,
            "samples": self.position,
            "samples_per_epoch": len(self),
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self.position = state["epoch"], state["samples"]

    def steps_per_epoch(self) -> int:
        return -(-len(self) // self.batch_size)


def class_samples(count: int = 24) -> dict[str, Tensor]:
    """Return samples of the goal `classes`; a few have no target."""
    draw = torch.Generator().manual_seed(1)
    y = torch.randint(5, (count,), generator=draw)
    y[torch.rand(count, generator=draw) < 0.4] = -1
    return {"x": torch.randn(count, 2, WIDTH, generator=draw), "y": y}


def pair_samples(count: int = 24) -> dict[str, Tensor]:
    """Return samples of the goal `pairs`."""
    draw = torch.Generator().manual_seed(2)
    shape = (count, 2, WIDTH)
    return {name: torch.randn(shape, generator=draw) for name in ("image", "caption")}


def iteration(spec: Spec, loaders: dict[str, Any]) -> Iteration:
    """Return the iteration of a spec over some loaders."""
    return Iteration(spec, training_plan(spec), loaders, seed=0)


def same_weights(
    left: Path, right: Path, names: Sequence[str] = ("weights.safetensors",)
) -> None:
    """Assert that two checkpoints hold the same bits."""
    from safetensors.torch import load_file

    for name in names:
        first, second = load_file(left / name), load_file(right / name)
        assert first.keys() == second.keys()
        for key, value in first.items():
            assert torch.equal(value, second[key]), (name, key)
