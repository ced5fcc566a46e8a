"""A composed network compiles to one graph, and computes what it computed before."""

from __future__ import annotations

from collections.abc import Iterator

import jaxtyping
import pytest
import torch
from small_specs import ROOT, TEACHER

import mplug2
from mplug2.build.smoke import tiny_batch
from mplug2.network import Network
from registry import read_spec

TINY = ROOT / "configs_video" / "VideoQA_shapes_tiny.yaml"


# torch's own tracer instantiates autograd functions, and then warns of it
pytestmark = pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")


@pytest.fixture(autouse=True)
def shapes_unchecked() -> Iterator[None]:
    """The checks of shapes that the tests add to every call are no part of what is compiled."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def tiny(*overrides: str) -> Network:
    torch._dynamo.reset()
    torch.manual_seed(0)
    return mplug2.compose(read_spec(TINY, overrides), initial=False)


@pytest.mark.parametrize(
    "overrides", [(), pytest.param(TEACHER, marks=pytest.mark.slow)], ids=["plain", "momentum"]
)
def test_the_train_goal_is_one_graph(overrides: tuple[str, ...]) -> None:
    net = tiny(*overrides)
    found = torch._dynamo.explain(net.forward)(tiny_batch(net, "train"), "train")
    assert (found.graph_count, found.graph_break_count) == (1, 0), found.break_reasons


@pytest.mark.slow
def test_the_compiled_loss_and_gradients_are_the_same() -> None:
    net = tiny()
    batch = tiny_batch(net, "train")
    # traced forward and backward; the code generator of the last stage needs a C++ compiler
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    gradients = []
    for one in (net, compiled):
        net.zero_grad()
        loss = one(batch, "train")["loss"]
        loss.backward()
        gradients.append([loss.detach(), *(p.grad.clone() for p in net.parameters() if p.grad is not None)])
    assert len(gradients[0]) == len(gradients[1]) > 100
    torch.testing.assert_close(gradients[0], gradients[1])
