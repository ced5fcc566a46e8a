"""`mplug2 eval --submission`: a test split without answers becomes what the evaluation server takes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import mplug2
from mplug2.cli.app import app
from mplug2.data.shapes.questions import vocabulary
from mplug2.data.shapes.write import encode
from mplug2.eval.results import Results, results_of
from mplug2.eval.run import chosen_evaluations
from mplug2.weights.store import save_weights
from registry import UserError, parse_spec

TINY = (
    Path(__file__).resolve().parents[2] / "configs_video" / "VideoQA_shapes_tiny.yaml"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a vocabulary, random weights of the tiny network, a clip, and two questions about it."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "vocab.txt").write_text("\n".join(vocabulary()) + "\n")
    torch.manual_seed(0)
    save_weights(mplug2.compose(TINY), folder / "weights.safetensors")
    encode(
        folder / "clip.mp4",
        np.random.default_rng(0).integers(0, 255, (12, 64, 80, 3), np.uint8),
    )
    asked = ("what colour is it?", "which way does it move?")
    rows = [
        {"video_id": "clip", "question": one, "question_id": 70 + n}
        for n, one in enumerate(asked)
    ]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def evaluated(made: Path, *words: str) -> Any:
    """Run `mplug2 eval` on the two questions."""
    data = (
        f"data.tokenizer={made / 'vocab.txt'}",
        f"data.test.path={made / 'test.jsonl'}",
        f"data.media={made}",
    )
    fixed = [
        str(TINY),
        "-c",
        str(made),
        *data,
        "data.workers=0",
        "eval.metrics=[vqa_accuracy]",
    ]
    return CliRunner().invoke(app, ["eval", *fixed, "--split", "test", *words])


def test_answers_are_written_for_the_server(made: Path) -> None:
    out = made / "answers.json"
    done = evaluated(made, "--submission", str(out))
    assert done.exit_code == 0, done.output
    assert (
        "nothing to measure: none of the 2 samples of test has answers\n" in done.output
    )
    assert "nan" not in done.output
    assert f"results: 2 answers in {out}" in done.output
    rows = [
        json.loads(line)
        for line in (made / "answers.predictions.jsonl").read_text().splitlines()
    ]
    assert json.loads(out.read_text()) == [
        {"question_id": 70 + number, "answer": row["prediction"]}
        for number, row in enumerate(rows)
    ]


@pytest.mark.parametrize("metric", ["accuracy", "vqa_accuracy"])
def test_a_split_without_answers_has_nothing_to_measure(
    made: Path, metric: str
) -> None:
    done = evaluated(made, f"eval.metrics=[{metric}]")
    assert done.exit_code == 0, done.output
    assert done.stdout.strip().splitlines()[-1] == (
        "nothing to measure: none of the 2 samples of test has answers: --submission FILE writes "
        "what an "
        "evaluation server takes"
    )
    assert metric not in done.output


def test_results_and_predictions_are_two_files(made: Path) -> None:
    done = evaluated(
        made, "--submission", f"{made}/x.json", "--out", f"{made}/../{made.name}/x.json"
    )
    assert done.exit_code == 2
    assert "--submission must be another file than --out" in done.output


@pytest.mark.parametrize("option", ["--submission", "--out"])
def test_what_is_evaluated_is_never_replaced(made: Path, option: str) -> None:
    before = (made / "test.jsonl").read_bytes()
    done = evaluated(made, option, str(made / "test.jsonl"))
    assert done.exit_code == 2
    assert "must be a new file, but is one that this command reads" in done.output
    assert evaluated(made, "--submission", str(made / "test.json")).exit_code == 0
    assert (made / "test.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    "name",
    [
        "",
        "clip.mp4/deep/x.json",
        "clip.mp4/../x.json",
        "nowhere/" + 300 * "x",
        "circle/x.json",
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_loaded(
    made: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loads(*_: object, **__: object) -> None:
        raise AssertionError("a checkpoint was loaded")

    monkeypatch.setattr("mplug2.eval.run.evaluations_of_checkpoint", loads)
    if not (made / "circle").is_symlink():
        (made / "circle").symlink_to("circle")
    done = evaluated(made, "--out", str(made / name))
    assert done.exit_code == 2, done.output
    assert "--out" in done.output
    assert any(
        one in done.output
        for one in ("must be a file", "cannot be written", "a shorter name")
    )


def test_an_error_at_the_end_still_tells_the_metrics(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise UserError("p.jsonl cannot be written (No space left on device)")

    monkeypatch.setattr("mplug2.eval.predictions.write_jsonl", full)
    rows = [
        json.loads(line) | {"answer": "red"}
        for line in (made / "test.jsonl").read_text().splitlines()
    ]
    (made / "known.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = evaluated(
        made, "--out", str(made / "p.jsonl"), f"data.test.path={made / 'known.jsonl'}"
    )
    assert done.exit_code == 2
    assert "(No space left on device); measured: vqa_accuracy 0.0000" in done.output


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"question_id": None}, "but this one has none"),
        ({"question_id": "x7"}, 'but this one has "x7"'),
        ({"question_id": True}, "but this one has true"),
        ({"question_id": 3}, "but 3 is at "),
    ],
)
def test_questions_must_be_numbered_for_the_server(
    made: Path, change: dict[str, Any], said: str
) -> None:
    row = {"video_id": "clip", "question": "what colour?"}
    (made / "odd.jsonl").write_text(
        "".join(json.dumps(row | change) + "\n" for _ in range(2))
    )
    done = evaluated(
        made,
        "--submission",
        str(made / "y.json"),
        f"data.test.path={made / 'odd.jsonl'}",
    )
    assert done.exit_code == 2
    assert "odd.jsonl:" in done.output and said in done.output
    assert not (made / "y.predictions.jsonl").exists()


CAPTION = parse_spec(
    "data: {kind: caption, test: {path: PATH}}\neval: {metrics: [cider]}\n", "x.yaml"
)


def captions(folder: Path, *rows: dict[str, Any]) -> Results:
    (folder / "c.jsonl").write_text(
        "".join(json.dumps({"caption": "a dog"} | row) + "\n" for row in rows)
    )
    data = CAPTION.data | {"test": {"path": str(folder / "c.jsonl")}}
    spec = replace(CAPTION, data=data)
    return results_of(spec, chosen_evaluations(spec)[0])


def test_captions_are_written_as_coco_takes_them(tmp_path: Path) -> None:
    plain = captions(
        tmp_path,
        {"image": "val/COCO_val2014_000000000139.jpg"},
        {"image": "000000000042.jpg"},
    )
    assert plain.images == {
        "val/COCO_val2014_000000000139.jpg": 139,
        "000000000042.jpg": 42,
    }
    # a file may have several lines, each with a caption
    told = captions(
        tmp_path,
        *[{"image": "a.jpg", "question_id": 7}] * 2,
        {"image": "b.jpg", "question_id": 0},
    )
    rows = [
        {"question_id": 7, "image": name, "prediction": f"a {name} \ud800"}
        for name in ("a.jpg", "b.jpg")
    ]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert told.write(tmp_path / "p.jsonl", tmp_path / "r.json") == 2
    assert json.loads((tmp_path / "r.json").read_text()) == [
        {"image_id": 7, "caption": "a a.jpg \ud800"},
        {"image_id": 0, "caption": "a b.jpg \ud800"},
    ]


def test_images_without_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match="c.jsonl:2: --submission needs the number of every image.*has none",
    ):
        captions(tmp_path, {"image": "000000000042.jpg"}, {"image": "b.jpg"})
    with pytest.raises(UserError, match="but 42 is at .*c.jsonl:1, too"):
        captions(
            tmp_path, {"image": "000000000042.jpg"}, {"image": "a/000000000042.jpg"}
        )


def test_what_is_no_answer_in_words_is_refused() -> None:
    text = (
        "data: {kind: text_label, test: {path: x}}\neval: {metrics: [label_accuracy]}\n"
    )
    spec = parse_spec(text, "x.yaml")
    (evaluation,) = chosen_evaluations(spec)
    with pytest.raises(
        UserError,
        match="must have answers or captions in words .* data.kind is text_label",
    ):
        results_of(spec, evaluation)
