"""Published and recomputed values of the three reference sets are met to 1e-4, and Java's absence is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mplug2.metrics.caption import java
from mplug2.metrics.caption.scores import NAMES, caption_scores

KEYS = {f"Bleu_{order}": f"BLEU-{order}" for order in range(1, 5)} | {
    "ROUGE_L": "ROUGE-L",
    "CIDEr": "CIDEr",
    "METEOR": "METEOR",
}
Captions = tuple[dict[str, str], dict[str, list[str]], dict[str, float]]


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def coco_fakecap(folder: Path) -> Captions:
    items = _json(folder / "coco_fakecap/spice_example_input_larger.json")
    expected = _json(folder / "coco_fakecap/expected.json")[
        "recomputed_unrounded_with_upstream_scorers"
    ]
    said = {str(item["image_id"]): item["test"] for item in items}
    return said, {str(item["image_id"]): item["refs"] for item in items}, expected


def nlg_eval(folder: Path) -> Captions:
    said, one, two = (
        (folder / "nlg_eval" / name).read_text(encoding="utf-8").splitlines()
        for name in ("hyp.txt", "ref1.txt", "ref2.txt")
    )
    expected = _json(folder / "nlg_eval/expected.json")["published"]
    given = {
        str(index): list(pair) for index, pair in enumerate(zip(one, two, strict=True))
    }
    return {str(index): text for index, text in enumerate(said)}, given, expected


def human_vs_human(folder: Path) -> Captions:
    data = _json(folder / "human_vs_human/captions.json")
    said = {key: texts[0] for key, texts in data["candidates"].items()}
    return said, data["references"], _json(folder / "human_vs_human/expected.json")


@pytest.mark.parametrize(
    ("captions", "tokenized"),
    [
        (coco_fakecap, True),
        (nlg_eval, True),
        (nlg_eval, False),
        (human_vs_human, False),
    ],
)
def test_expected_values_without_java(
    shared: Path, captions: Any, tokenized: bool
) -> None:
    said, given, expected = captions(shared / "data/metrics")
    scores = caption_scores(said, given, tokenized=tokenized, with_java=False)
    compared = {name for name in KEYS if name in expected and name != "METEOR"}
    assert compared == set(KEYS) - {"METEOR"}
    for name in compared:
        assert scores.values[KEYS[name]] == pytest.approx(expected[name], abs=1e-4), (
            name
        )
    assert scores.values["CIDEr-D"] == scores.values["CIDEr"]
    assert tuple(scores.values) == NAMES
    assert set(scores.reasons) == {"METEOR", "SPICE"}


def test_the_first_images_of_coco(shared: Path) -> None:
    from mplug2.metrics.caption.cider import CiderD

    said, given, _ = coco_fakecap(shared / "data/metrics")
    expected = _json(shared / "data/metrics/coco_fakecap/expected.json")[
        "per_image_CIDEr_first5"
    ]
    by_id = dict(
        zip(given, CiderD(list(given.values())).score(list(said.values())), strict=True)
    )
    for key, value in expected.items():
        assert by_id[key] == pytest.approx(value, abs=1e-9)


@pytest.mark.slow  # METEOR reads its paraphrases for some seconds
@pytest.mark.parametrize("captions", [nlg_eval, human_vs_human])
def test_meteor(shared: Path, captions: Any) -> None:
    if shutil.which("java") is None:
        pytest.skip("java is not installed")
    pytest.importorskip("pycocoevalcap")
    said, given, expected = captions(shared / "data/metrics")
    assert java.meteor(said, given) == pytest.approx(expected["METEOR"], abs=1e-4)


def test_java_missing_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    scores = caption_scores({"1": "a dog"}, {"1": ["a dog"]})
    assert scores.values["METEOR"] is None
    assert scores.values["SPICE"] is None
    assert "needs Java" in scores.reasons["METEOR"]
    assert "needs Java" in scores.reasons["SPICE"]
    assert scores.values["BLEU-2"] == pytest.approx(1)


def test_spice_models_missing_is_a_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(java, "require_java", lambda metric: tmp_path)
    with pytest.raises(java.Unavailable, match="stanford-corenlp-3.6.0-models.jar"):
        java.require_spice()


def test_a_java_program_that_fails_is_a_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("pycocoevalcap")
    fake = tmp_path / "java"
    fake.write_text("#!/bin/sh\necho 'no memory left' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(java.Unavailable, match="METEOR's Java program failed"):
        java.meteor({"1": "a dog"}, {"1": ["a dog"]})


def test_silence_scores_nothing() -> None:
    scores = caption_scores(
        {"1": "", "2": "..."},
        {"1": ["a dog runs"], "2": ["a cat", "!"]},
        with_java=False,
    )
    assert all(value < 1e-3 for value in scores.values.values() if value is not None)
