"""Compile a network as one graph, and compare what it computes: python compile_network.py loss|gradients
[OVERRIDE...]."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import mplug2
from mplug2.build.smoke import tiny_batch
from registry import read_spec

TINY = (
    Path(__file__).resolve().parents[2] / "configs_video" / "VideoQA_shapes_tiny.yaml"
)


def main(part: str, overrides: list[str]) -> None:
    """Compare the loss of the plain and the compiled network, and their gradients if asked."""
    torch.manual_seed(0)
    network = mplug2.compose(read_spec(TINY, overrides), initial=False)
    batch = tiny_batch(network, "train")
    # `fullgraph` makes every graph break an error. Forward and backward are only traced, since the code
    # generator of the compiler's last stage needs a C++ compiler; what is traced is run once for the loss.
    backend = "aot_eager" if part == "gradients" else "eager"
    compiled = torch.compile(network, backend=backend, fullgraph=True)
    results = []
    for forward in (network, compiled):
        network.zero_grad()
        loss = forward(batch, "train")["loss"]
        values = [loss.detach()]
        if part == "gradients":
            loss.backward()
            values += [
                p.grad.clone() for p in network.parameters() if p.grad is not None
            ]
            assert len(values) > 100, len(values)
        results.append(values)
    torch.testing.assert_close(*results)
    print(f"{part}: equal")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
