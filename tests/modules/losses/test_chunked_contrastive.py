"""Losses in chunks: those of the complete matrix, on any number of ranks, in less memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from contrast_ranks import BATCH, GROUPS, features, run
from torch import Tensor, nn

from modules.losses.chunked_contrastive import ChunkedContrastive, SigmoidContrastive
from modules.losses.contrastive import Contrastive

ROOT = Path(__file__).resolve().parents[3]
RANKS = 4
MEMORY = """
import resource, sys, torch
from modules.losses.chunked_contrastive import ChunkedContrastive
from modules.losses.contrastive import Contrastive
torch.set_num_threads(1)
module = {"plain": Contrastive, "chunked": ChunkedContrastive}[sys.argv[1]]()
vision, text = (torch.nn.functional.normalize(torch.randn(8192, 512), dim=1) for _ in range(2))
module(vision[:8].requires_grad_(), text[:8])["loss"].backward()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
module(vision.requires_grad_(), text.requires_grad_())["loss"].backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def gradients(module: nn.Module, groups: Tensor | None) -> list[Tensor]:
    """Return the loss, the gradients of the features, and those of the parameters."""
    vision, text = features(0), features(1)
    loss = module(vision, text, groups)["loss"]
    module.zero_grad()
    loss.backward()
    values = [
        loss.detach(),
        vision.grad,
        text.grad,
        *(value.grad for value in module.parameters()),
    ]
    return [value for value in values if value is not None]


@pytest.mark.parametrize("groups", [None, GROUPS], ids=["pairs", "groups"])
@pytest.mark.parametrize("chunk", [1, 5, BATCH, 100])
@pytest.mark.parametrize("learn", ["temperature", "log_scale"])
def test_chunks_have_the_loss_and_gradients_of_the_matrix(
    learn: str, chunk: int, groups: Tensor | None
) -> None:
    expected = gradients(Contrastive(learn=learn), groups)  # type: ignore[arg-type]
    chunked = gradients(ChunkedContrastive(learn=learn, chunk=chunk), groups)  # type: ignore[arg-type]
    assert len(chunked) == len(expected) == 4
    for value, other in zip(chunked, expected, strict=True):
        torch.testing.assert_close(value, other, atol=1e-6, rtol=1e-5)
    assert all(value.abs().max() > 1e-4 for value in expected)


@pytest.mark.parametrize("chunk", [1, 5, 100])
def test_the_sigmoid_loss_is_a_decision_for_each_pair(chunk: int) -> None:
    module = SigmoidContrastive(scale=3.0, bias=-1.5, chunk=chunk)
    vision, text = features(0).detach(), features(1).detach()
    for groups in (None, GROUPS):
        total = 0.0
        for row in range(BATCH):
            for column in range(BATCH):
                logit = 3.0 * float(vision[row] @ text[column]) - 1.5
                together = (
                    row == column if groups is None else groups[row] == groups[column]
                )
                probability = torch.sigmoid(
                    torch.tensor(logit if together else -logit, dtype=torch.float64)
                )
                total -= float(probability.log())
        loss = module(vision, text, groups)["loss"].item()
        assert loss == pytest.approx(total / BATCH, rel=1e-5)


def test_chunks_of_the_sigmoid_loss_have_the_same_gradients() -> None:
    complete, chunked = (
        gradients(SigmoidContrastive(chunk=chunk), None) for chunk in (BATCH, 5)
    )
    assert len(complete) == 5
    for value, other in zip(chunked, complete, strict=True):
        torch.testing.assert_close(value, other, atol=1e-6, rtol=1e-5)
        assert value.abs().max() > 1e-4


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="scale must be above 0"):
        SigmoidContrastive(scale=0.0)
    with pytest.raises(ValueError, match="chunk"):
        ChunkedContrastive(chunk=0)


@pytest.mark.parametrize(
    "module", [ChunkedContrastive(chunk=8), SigmoidContrastive(chunk=8)]
)
def test_nothing_of_the_size_of_the_matrix_is_kept(module: nn.Module) -> None:
    vision, text = features(0, 64), features(1, 64)
    sizes = []

    def keep(value: Tensor) -> Tensor:
        sizes.append(value.numel())
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        module(vision, text)
    assert sizes and max(sizes) <= 64 * 5


@pytest.mark.slow
def test_losses_and_gradients_of_four_ranks_are_those_of_one(tmp_path: Path) -> None:
    script = Path(__file__).with_name("contrast_ranks.py")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    processes = []
    for rank in range(RANKS):
        command = [sys.executable, str(script), str(tmp_path), str(rank), str(RANKS)]
        processes.append(subprocess.Popen(command, env=environment))
    assert [process.wait(timeout=120) for process in processes] == [0] * RANKS
    together = torch.load(tmp_path / "results.pt", weights_only=True)
    alone = run()
    assert set(together) == set(alone)
    for name, value in alone.items():
        torch.testing.assert_close(
            together[name], value, atol=1e-6, rtol=1e-5, msg=name
        )
    assert (
        len(
            {
                round(float(value), 4)
                for name, value in alone.items()
                if name.endswith("loss")
            }
        )
        == 4
    )


@pytest.mark.slow
def test_chunks_need_a_quarter_of_the_memory_at_most() -> None:
    peaks = {}
    for kind in ("plain", "chunked"):
        command = [sys.executable, "-c", MEMORY, kind]
        # Freed blocks of a megabyte return to the system, so the peak of the process is that of its tensors.
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "MALLOC_MMAP_THRESHOLD_": str(2**20),
        }
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        )
        peaks[kind] = int(done.stdout)
    assert 0 < peaks["chunked"] <= peaks["plain"] / 4, peaks
