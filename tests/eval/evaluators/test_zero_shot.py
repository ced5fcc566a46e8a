"""Zero-shot classes: the ensemble of prompts, computed here in another way, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from mplug2.build.compose import compose
from mplug2.data.text import Tokenizer
from mplug2.eval.evaluation import Evaluation, evaluate
from mplug2.network import Network
from registry import SpecError, UserError, check, parse_spec
from registry.training import training_plan

CLASSES = ["red square", "blue ring", "cross"]
TEMPLATES = ["a photo of a {}.", "the {}"]
WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a photo of the red blue square ring cross . an image"
SPEC = """
inputs: {{image: image B 3 H W, caption: text B L}}
modules:
  vision: {{use: image_vit, width: 32, depth: 1, heads: 2, patch: 8, size: 16}}
  text: {{use: clip_text, width: 32, depth: 1, heads: 2, vocab_size: 20, max_positions: 16}}
  vision_proj: {{use: feature_head, width_in: 32, width: 8}}
  text_proj: {{use: end_head, width_in: 32, width: 8, end: last}}
flow:
  vision_hidden: vision(image)
  text_hidden: text(caption)
  v: vision_proj(vision_hidden)
  t: text_proj(text_hidden, text=caption)
goals: {{embed_vision: {{v: v}}, embed_text: {{t: t}}}}
data: {{tokenizer: {tokenizer}, task: retrieval, caption_text: as written, caption_tokens: 16}}
eval: {{evaluator: zero_shot, templates: {templates}, metrics: [top_k, mean_class_accuracy]}}
"""


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(WORDS.split()))
    return path


def network(vocabulary: Path, templates: object = TEMPLATES) -> Network:
    torch.manual_seed(0)
    return compose(
        parse_spec(SPEC.format(tokenizer=vocabulary, templates=templates), "zero.yaml")
    ).eval()


@dataclass
class Batch:
    inputs: dict[str, Any]
    records: list[dict[str, Any]]


@dataclass
class Photos:
    """Random images with a class each, ``views`` of every file, two files in a batch."""

    files: int = 4
    views: int = 1
    classes: tuple[str, ...] = tuple(CLASSES)

    def __len__(self) -> int:
        return self.files // 2

    def __iter__(self) -> Iterator[Batch]:
        for first in range(0, self.files, 2):
            records = []
            for file in (first, first + 1):
                for view in range(self.views):
                    record: dict[str, Any] = {
                        "question_id": file,
                        "answers": [CLASSES[file % 3]],
                    }
                    record["classes"] = list(self.classes)
                    records.append(
                        record if self.views == 1 else record | {"view": view}
                    )
            yield Batch({"image": self.images(first)}, records)

    def images(self, first: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(first)
        return torch.randn(2 * self.views, 3, 16, 16, generator=generator)


def measured(net: Network, photos: Photos, out: Path) -> Evaluation:
    (evaluation,) = training_plan(net.spec).evaluations
    return evaluate(net, photos, evaluation, decode=str, predictions=out)


def probabilities(net: Network, vocabulary: Path, images: torch.Tensor) -> torch.Tensor:
    """Return the probabilities of classes by loops over classes and templates."""
    tokenizer = Tokenizer.load(vocabulary)
    means = []
    with torch.no_grad():
        for name in CLASSES:
            vectors = []
            for template in TEMPLATES:
                caption = tokenizer([template.replace("{}", name)])
                vectors.append(
                    F.normalize(
                        net({"caption": caption}, goal="embed_text")["t"][0], dim=0
                    )
                )
            means.append(F.normalize((vectors[0] + vectors[1]) / 2, dim=0))
        seen = F.normalize(net({"image": images}, goal="embed_vision")["v"], dim=1)
    return (100 * seen @ torch.stack(means).T).softmax(dim=1)


def test_the_class_of_the_most_similar_ensemble(
    vocabulary: Path, tmp_path: Path
) -> None:
    net, photos = network(vocabulary), Photos()
    result = measured(net, photos, tmp_path / "rows.jsonl")
    expected = torch.cat(
        [probabilities(net, vocabulary, photos.images(first)) for first in (0, 2)]
    )
    best = [CLASSES[number] for number in expected.argmax(dim=1).tolist()]
    rows = _rows(tmp_path / "rows.jsonl")
    assert [row["prediction"] for row in rows] == best
    scores = torch.tensor([row["score"] for row in rows])
    torch.testing.assert_close(scores, expected.amax(dim=1), atol=1e-4, rtol=1e-4)
    hits = [name == CLASSES[file % 3] for file, name in enumerate(best)]
    assert result.metrics["top1"] == sum(hits) / 4
    assert result.metrics["top5"] == 1.0


def _rows(path: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for line in path.read_text().splitlines()
        if "prediction" in line
    ]


def test_views_of_a_file_are_averaged(vocabulary: Path, tmp_path: Path) -> None:
    net, photos = network(vocabulary), Photos(views=3)
    measured(net, photos, tmp_path / "rows.jsonl")
    rows = _rows(tmp_path / "rows.jsonl")
    views = (
        probabilities(net, vocabulary, photos.images(0))
        .unflatten(0, (2, 3))
        .mean(dim=1)
    )
    scores = torch.tensor([row["score"] for row in rows[:2]])
    torch.testing.assert_close(scores, views.amax(dim=1), atol=1e-4, rtol=1e-4)
    assert len(rows) == 4


@pytest.mark.parametrize(
    ("templates", "message"),
    [
        (
            ["a photo"],
            r"zero.yaml:15:\d+: a template must have {} once, .* \(got 'a photo'\)",
        ),
        (["{} {}"], "a template must have {} once"),
        ([], "there must be a template"),
    ],
)
def test_templates_without_one_hole_are_refused(
    templates: list[str], message: str, vocabulary: Path, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=message):
        measured(network(vocabulary, templates), Photos(), tmp_path / "rows.jsonl")


def test_records_without_classes_are_refused(vocabulary: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="need records with 'classes'"):
        measured(network(vocabulary), Photos(classes=()), tmp_path / "rows.jsonl")


def test_other_metrics_than_those_of_classes_are_refused(vocabulary: Path) -> None:
    text = SPEC.format(tokenizer=vocabulary, templates=TEMPLATES).replace(
        "top_k", "exact_match"
    )
    problems = check(parse_spec(text, "zero.yaml")).problems
    assert any("exact_match" in problem.message for problem in problems)
    assert not any("mean_class_accuracy" in problem.message for problem in problems)


def test_templates_are_required(vocabulary: Path) -> None:
    spec = parse_spec(SPEC.format(tokenizer=vocabulary, templates=""), "zero.yaml")
    (problem,) = check(spec).problems
    assert "must set 'templates' of evaluator 'zero_shot'" in problem.message
