"""Nearest neighbors: votes by hand and by another computation, and an evaluation over two splits of files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import mplug2
from mplug2.eval.evaluation import Evaluation, evaluate
from mplug2.eval.evaluators.knn import neighbor_votes
from mplug2.eval.run import eval_loader
from mplug2.network import Network
from registry import Spec, UserError, check, read_spec
from registry.training import training_plan

TINY = (
    Path(__file__).resolve().parents[3] / "configs_image" / "classes_shapes_tiny.yaml"
)
NUM_CASES = 1000


def test_votes_by_hand() -> None:
    queries = torch.tensor([[1.0, 0.0]])
    half = math.sqrt(0.5)
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [half, half], [-1.0, 0.0]])
    labels = torch.tensor([0, 1, 1, 2])
    # The two nearest have cosines of 1 and 0.7071: weights exp(1 / 0.5) and exp(0.7071 / 0.5).
    first, second = math.exp(1 / 0.5), math.exp(half / 0.5)
    expected = [first / (first + second), second / (first + second), 0.0]
    votes = neighbor_votes(queries, vectors, labels, 3, 2, 0.5)
    assert votes[0].tolist() == pytest.approx(expected)
    # At a high temperature all three that are asked for count the same.
    votes = neighbor_votes(queries, vectors, labels, 3, 3, 1e6)
    assert votes[0].tolist() == pytest.approx([1 / 3, 2 / 3, 0.0], abs=1e-4)


def test_random_votes_agree_with_a_loop_over_neighbors() -> None:
    rng = np.random.default_rng(0)
    for _ in range(NUM_CASES):
        num_train, num_classes = int(rng.integers(1, 9)), int(rng.integers(2, 5))
        # Classes without a file get no vote; a file may occur twice, with other classes.
        train = F.normalize(torch.from_numpy(rng.normal(size=(num_train, 3))), dim=-1)
        labels = torch.from_numpy(rng.integers(num_classes, size=num_train))
        query = F.normalize(torch.from_numpy(rng.normal(size=(1, 3))), dim=-1)
        neighbors = int(rng.integers(1, 12))
        votes = neighbor_votes(query, train, labels, num_classes, neighbors, 0.07)
        cosines = (train @ query[0]).tolist()
        order = sorted(range(num_train), key=lambda index: -cosines[index])
        expected = [0.0] * num_classes
        for index in order[:neighbors]:
            expected[int(labels[index])] += math.exp(cosines[index] / 0.07)
        total = sum(expected)
        assert votes[0].tolist() == pytest.approx([vote / total for vote in expected])


def test_no_training_files_are_a_mistake() -> None:
    empty = torch.zeros(0, 2), torch.zeros(0, dtype=torch.long)
    with pytest.raises(UserError, match=r"files with a class in the split 'train'"):
        neighbor_votes(torch.ones(1, 2), *empty, 3, 20, 0.07)


def data_settings(folder: Path) -> list[str]:
    """Write training and test images of two colors, one test file broken; return settings."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 4)):
        rows = []
        for number in range(count):
            label = ("circle", "ring")[number % 2]
            pixels = rng.integers(0, 40, (48, 48, 3), np.uint8)
            pixels[..., 0 if label == "circle" else 2] += 200
            Image.fromarray(pixels).save(folder / f"{split}{number}.png")
            rows.append({"image": f"{split}{number}.png", "label": label})
        lines = [json.dumps(row) + "\n" for row in rows]
        (folder / f"{split}.jsonl").write_text("".join(lines))
    (folder / "test3.png").write_bytes(b"no image")
    paths = [f"data.{split}.path={folder / split}.jsonl" for split in ("train", "test")]
    return [*paths, f"data.media={folder}", "data.workers=0", "data.max_bad_fraction=1"]


def run(spec: Spec, net: Network) -> Evaluation:
    (evaluation,) = training_plan(spec).evaluations
    loader = eval_loader(spec, check(spec).types, evaluation, "test")
    return evaluate(net, loader, evaluation, decode=str)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Spec, Network]:
    """A network of random weights, evaluated by its neighbors by one key."""
    folder = tmp_path_factory.mktemp("knn")
    sizes = [
        "modules.vision.width=16",
        "modules.vision.depth=1",
        "modules.head.width=16",
    ]
    settings = [*sizes, *data_settings(folder), "eval.evaluator=knn"]
    spec = read_spec(TINY, settings)
    torch.manual_seed(0)
    return spec, mplug2.compose(spec).eval()


def test_colors_are_found_by_random_features_and_a_broken_file_is_wrong(
    small: tuple[Spec, Network],
) -> None:
    evaluated = run(*small)
    assert evaluated.samples == 4
    assert len(evaluated.bad) == 1
    # Three of four files, all of one class and half of the other.
    assert evaluated.metrics == {
        "top1": 0.75,
        "top5": 0.75,
        "mean_class_accuracy": 0.75,
    }


def test_wrong_settings_are_named(small: tuple[Spec, Network]) -> None:
    spec, net = small
    with pytest.raises(
        UserError, match=r"neighbors must be at least 1 .*\(got 0 and 0.07\)"
    ):
        run(spec.with_("eval.neighbors=0"), net)
