"""The gradient of an optimizer step does not depend on how its samples are split."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_runs import ListLoader, class_samples, pair_samples, small_net, small_spec
from torch import Tensor

from mplug2.train.engines.base import start_engine
from mplug2.train.gradients import accumulate_gradients
from mplug2.train.iteration import OptimizerStep, Part
from mplug2.train.optim import build_optimizer
from registry import Spec


def gradients(
    goal: str, samples: dict[str, Tensor], micro_batch: int, cache: tuple[str, ...] = ()
) -> tuple[dict[str, Tensor], float]:
    """Return the gradients and the loss of one step over all samples."""
    spec = small_spec()
    net = small_net(spec)
    engine = _engine(spec, net)
    batches = []
    for batch in ListLoader(samples, 8, micro_batch):
        batches.append(batch)
        if batch.final:
            break
    part = Part(goal, goal, batches, [{} for _ in batches])
    scalars = accumulate_gradients(engine, net, OptimizerStep([part], cache))
    found = {
        name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None
    }
    return found, float(scalars[goal, goal]["loss"])


def _engine(spec: Spec, net: Any) -> Any:
    return start_engine(net, build_optimizer(net, spec.train), spec.train)


@pytest.mark.parametrize("micro_batch", [1, 3, 4])
def test_micro_batches_give_the_gradient_of_the_batch(micro_batch: int) -> None:
    """Rows without a target are spread unevenly: a mean of means would weigh the others differently."""
    expected, loss = gradients("classes", class_samples(), 8)
    actual, split_loss = gradients("classes", class_samples(), micro_batch)
    assert expected.keys() == actual.keys()
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=1e-6, atol=1e-7)
    assert split_loss == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("micro_batch", [1, 2, 3])
def test_cached_gradients_equal_those_of_the_large_batch(micro_batch: int) -> None:
    expected, loss = gradients("pairs", pair_samples(), 8)
    streams = ("vision_features", "text_features")
    actual, cached_loss = gradients("pairs", pair_samples(), micro_batch, streams)
    assert expected.keys() == actual.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            actual[name], value, rtol=1e-6, atol=1e-6 * float(value.abs().max())
        )
    assert cached_loss == pytest.approx(loss, rel=1e-6)


def test_contrast_without_a_cache_depends_on_the_split() -> None:
    """The test before this one would prove nothing if the split did not matter."""
    expected, _ = gradients("pairs", pair_samples(), 8)
    actual, _ = gradients("pairs", pair_samples(), 2)
    name = "vision.linear.weight"
    assert (expected[name] - actual[name]).abs().max() > 0.05 * expected[
        name
    ].abs().max()
