"""Retrieval is measured as a comparison of everything with everything would measure it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from retrieval_world import SPEC, World, network, spec, text
from torch.nn import functional as F

from mplug2.eval.evaluation import Evaluation, evaluate
from registry import UserError, check, parse_spec
from registry.training import training_plan

IMAGES = 13


def measure(
    world: World, path: Path | None = None, net: Any = None, **more: Any
) -> Evaluation:
    net = net or network(**more)
    (evaluation,) = training_plan(net.spec).evaluations
    return evaluate(net, world, evaluation, decode=str, predictions=path)


def whole(world: World, **more: Any) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """All similarities and all matching logits [images captions], and the image of each caption."""
    net = network(**more).eval()
    captions = [(i, one) for i in range(world.images) for one in world.captions(i)]
    owner = [i for i, _ in captions]
    with torch.no_grad():
        seen = net(
            {"image": torch.stack([world.image(i) for i in range(world.images)])},
            goal="embed_vision",
        )
        read = net({"caption": text([one for _, one in captions])}, goal="embed_text")
        similarity = F.normalize(seen["v"], dim=1) @ F.normalize(read["t"], dim=1).T
        logits = torch.stack(
            [
                net(
                    {
                        "image": world.image(i).expand(len(captions), -1, -1, -1),
                        "caption": text([one for _, one in captions]),
                    },
                    goal="rerank",
                )["score"][:, 1]
                for i in range(world.images)
            ]
        )
    return similarity, logits, owner


def recalls(score: torch.Tensor, owner: list[int]) -> dict[str, float]:
    """R@k both ways from a whole matrix, by sorting it."""
    values: dict[str, float] = {}
    of_images = [
        next(
            place
            for place, one in enumerate(row.argsort(descending=True).tolist())
            if owner[one] == image
        )
        for image, row in enumerate(score)
    ]
    of_captions = [
        column.argsort(descending=True).tolist().index(owner[caption])
        for caption, column in enumerate(score.T)
    ]
    for name, places in (("tr", of_images), ("ir", of_captions)):
        for depth in (1, 5, 10):
            values[f"{name}_r{depth}"] = sum(place < depth for place in places) / len(
                places
            )
    return {"recall": sum(values.values()) / 6, **values}


def test_similarity_alone() -> None:
    world = World(IMAGES)
    similarity, _, owner = whole(world)
    found = measure(world)
    assert found.metrics == pytest.approx(recalls(similarity, owner))
    assert next(iter(found.metrics)) == "recall"
    assert 0 < found.metrics["recall"] < 1
    assert found.samples == IMAGES + len(owner)


@pytest.mark.parametrize(
    "depth", [100, 26]
)  # more than there are, and exactly as many captions
@pytest.mark.parametrize("rule", ["match", "match_plus_similarity"])
def test_re_ranking_everything_is_the_order_of_all_matching_logits(
    depth: int, rule: str
) -> None:
    world = World(IMAGES)
    similarity, logits, owner = whole(world)
    found = measure(world, rerank=depth, rerank_score=rule, rerank_batch=7)
    wanted = logits + (similarity if rule == "match_plus_similarity" else 0)
    plain = {f"sim_{name}": value for name, value in recalls(similarity, owner).items()}
    assert found.metrics == pytest.approx(recalls(wanted, owner) | plain)


def test_small_blocks_give_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{name}.jsonl" for name in ("whole", "blocks")]
    for path in paths:
        measure(World(IMAGES), path, rerank=4)
        monkeypatch.setattr("mplug2.eval.retrieval.rerank.BLOCK", 9)
        monkeypatch.setattr("mplug2.eval.retrieval.gallery.QUERIES", 3)
    whole, blocks = (
        [json.loads(line) for line in path.read_text().splitlines()] for path in paths
    )
    for one, other in zip(whole, blocks, strict=True):
        assert other.pop("score") == pytest.approx(one.pop("score"), abs=1e-5)
    assert blocks == whole


def test_what_is_not_re_ranked_stays_below_in_its_order() -> None:
    world, depth = World(IMAGES), 3
    similarity, logits, owner = whole(world)
    found = measure(world, rerank=depth)

    def lifted(similarity: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        order = similarity.argsort(dim=1, descending=True).argsort(dim=1)
        return torch.where(order < depth, logits + 1000, similarity)

    by_image = recalls(lifted(similarity, logits), owner)
    by_caption = recalls(lifted(similarity.T, logits.T).T, owner)
    for name, value in found.metrics.items():
        if name.startswith(("tr", "ir")):
            assert value == pytest.approx(
                (by_image if name.startswith("tr") else by_caption)[name]
            ), name


def test_each_row_says_what_was_found(tmp_path: Path) -> None:
    measure(World(IMAGES), tmp_path / "rows.jsonl", rerank=4)
    rows = [
        json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()
    ]
    assert [row["query"] for row in rows[:3]] == ["vision", "text", "vision"]
    assert rows[2]["image"] == "1.jpg"
    assert [row["caption"] for row in rows[3:5]] == World(IMAGES).batch(
        [(1, False)]
    ).records[0]["references"]
    names = {f"{number}.jpg": number for number in range(IMAGES)}
    captions = {
        row["caption"]: names[row["image"]] for row in rows if row["query"] == "text"
    }
    for row in rows:
        assert (
            row["score"] == sorted(row["score"], reverse=True)
            and len(row["score"]) == 4
        )
        known = captions if row["query"] == "vision" else names
        of = [known[one] for one in row["found"]]
        own = names[row["image"]]
        assert row["rank"] == (
            of.index(own) + 1 if own in of else row["similarity_rank"]
        )
        assert own in of or row["rank"] > 4


def test_a_file_that_cannot_be_decoded_is_never_found() -> None:
    good, world = World(4), World(4, bad=(0, 1, 2, 3))
    assert measure(good).metrics["recall"] > 0
    assert measure(world).metrics["recall"] == 0


@pytest.mark.parametrize("depth", [0, 2])
def test_what_is_no_number_is_never_found(tmp_path: Path, depth: int) -> None:
    net = network(**({"rerank": depth} if depth else {}))
    with torch.no_grad():
        for weight in net.parameters():
            weight.fill_(torch.nan)
    found = measure(World(4), tmp_path / "rows.jsonl", net=net)
    assert set(found.metrics.values()) == {0.0}
    text = (tmp_path / "rows.jsonl").read_text()
    assert {json.loads(line)["rank"] for line in text.splitlines()} == {
        None
    } and "NaN" not in text


def test_what_the_goals_must_give_is_said() -> None:
    def problems(*change: str) -> str:
        return str(check(parse_spec(SPEC.replace(*change), "x.yaml")).problems)

    assert problems("a", "a") == "[]"
    assert (
        "measures goal 'embed_text' (vector T width), but there is no such goal"
        in problems("embed_text:", "read:")
    )
    assert "measures one vector of goal 'embed_text', which gives 'asked'" in problems(
        "{t: t, ", "{"
    )

    def refused(*change: str) -> str:
        net = network(rerank=2)
        net.spec = parse_spec(
            SPEC.replace("[recall]", "[recall], rerank: 2").replace(*change), "x.yaml"
        )
        with pytest.raises(UserError) as error:
            measure(World(3), net=net)
        return str(error.value)

    assert "also reads the input caption" in refused(", asked: asked}", "}")
    text = SPEC.replace("[recall]", "[recall], rerank: 2").replace(
        "rerank: {", "other: {"
    )
    assert "must have a goal 'rerank'" in str(
        check(parse_spec(text, "x.yaml")).problems
    )


def test_recall_stands_alone() -> None:
    net = network()
    (evaluation,) = training_plan(net.spec).evaluations
    with pytest.raises(
        UserError,
        match="must use one evaluator, but 'recall' needs 'retrieval' and 'acc",
    ):
        evaluate(net, World(3), evaluation, decode=str, metrics=["recall", "accuracy"])


def test_spec_has_the_keys_of_re_ranking() -> None:
    assert spec(rerank=5).eval["rerank"] == 5
    assert spec().eval["rerank"] is None


def test_recall_is_shown_as_a_table() -> None:
    plain, both = measure(World(4)), measure(World(4), rerank=2)
    for found, rows in ((plain, 2), (both, 4)):
        (table,) = found.tables
        assert len(table.rows) == rows
        assert table.rows[0][-1] == found.metrics["tr_r10"]
        assert {"recall", *table.values} == set(found.metrics)
