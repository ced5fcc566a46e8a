"""predict on one real video with random weights: what it prints, its errors; evaluation says the same."""

from __future__ import annotations

import json
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
from mplug2.eval.run import evaluate_checkpoint
from mplug2.predict.pipeline import Pipeline
from mplug2.weights.store import save_weights

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "configs_video" / "VideoQA_shapes_tiny.yaml"
QUESTION = "what colour is the square?"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a vocabulary, random weights of the tiny network, and a clip."""
    folder = tmp_path_factory.mktemp("predict")
    (folder / "vocab.txt").write_text("\n".join(vocabulary()) + "\n")
    torch.manual_seed(0)
    save_weights(mplug2.compose(TINY), folder / "weights.safetensors")
    encode(
        folder / "clip.mp4",
        np.random.default_rng(0).integers(0, 255, (12, 64, 80, 3), np.uint8),
    )
    return folder


def asked(made: Path, *words: str, video: str = "clip.mp4", spec: Path = TINY) -> Any:
    """Run `mplug2 predict` on a file of the folder."""
    fixed = [
        str(spec),
        "-c",
        str(made),
        "-v",
        str(made / video),
        f"data.tokenizer={made / 'vocab.txt'}",
    ]
    return CliRunner().invoke(app, ["predict", *fixed, *words])


def test_it_prints_the_answer_with_its_score_and_the_next_best(made: Path) -> None:
    done = asked(made, "-q", QUESTION, "--top", "3")
    assert done.exit_code == 0, done.output
    title, best, others = done.output.splitlines()
    assert title == f"{made / 'clip.mp4'}: {QUESTION}"
    assert best.startswith("  ")
    assert best.count("(-") == 1
    assert others.startswith("  next best: ")
    assert others.count("(-") == 2


def test_json_answers_are_sorted_and_distinct(made: Path) -> None:
    done = asked(
        made, "-q", QUESTION, "-q", "how many things are there?", "--top", "4", "--json"
    )
    rows = [json.loads(line) for line in done.output.splitlines()]
    assert [row["question"] for row in rows] == [QUESTION, "how many things are there?"]
    for row in rows:
        scores = [one["score"] for one in row["answers"]]
        assert scores == sorted(scores, reverse=True)
        assert len({one["text"] for one in row["answers"]}) == len(scores) <= 4


def test_the_first_answer_is_the_one_that_evaluation_takes(made: Path) -> None:
    """Asking for more answers must not change the best one, nor must other questions beside it."""
    settings = [f"data.tokenizer={made / 'vocab.txt'}"]
    several = mplug2.pipeline(TINY, made, settings, top=5)(
        made / "clip.mp4", question=[QUESTION, "how many things are there at the end?"]
    )
    alone = mplug2.pipeline(TINY, made, settings, top=1)(
        made / "clip.mp4", question=QUESTION
    )
    assert alone.alternatives == ()
    assert alone.text == several[0].text
    assert alone.score == pytest.approx(several[0].score, abs=1e-4)
    row = {"video_id": "clip", "question": QUESTION, "answer": "red"}
    (made / "qa.jsonl").write_text(json.dumps(row) + "\n")
    read = [
        *settings,
        f"data.test.path={made / 'qa.jsonl'}",
        f"data.media={made}",
        "data.workers=0",
    ]
    spec = mplug2.read_spec(TINY, read)
    (evaluated,) = evaluate_checkpoint(
        spec, made, predictions=made / "predictions.jsonl"
    ).values()
    assert evaluated.samples == 1
    found = json.loads((made / "predictions.jsonl").read_text())
    assert found["prediction"] == alone.text
    assert found["score"] == pytest.approx(alone.score, abs=1e-4)


def test_a_video_is_encoded_once_for_all_questions(made: Path) -> None:
    pipe: Pipeline = mplug2.pipeline(
        TINY, made, [f"data.tokenizer={made / 'vocab.txt'}"]
    )
    seen: list[torch.Size] = []

    def note(module: Any, positional: Any, named: dict[str, Any]) -> None:
        # `requested` holds names of outputs, no values
        values = [
            *positional,
            *(value for name, value in named.items() if name != "requested"),
        ]
        seen.extend(value.shape for value in values)

    pipe.net.get_module("vision").register_forward_pre_hook(note, with_kwargs=True)
    assert len(pipe(made / "clip.mp4", question=[QUESTION] * 3)) == 3  # type: ignore[arg-type]
    assert seen == [torch.Size([1, 3, 6, 48, 48])]


@pytest.mark.parametrize("kind", ["empty", "text", "audio", "missing"])
def test_what_is_no_video_is_one_sentence(made: Path, kind: str) -> None:
    file = made / f"{kind}.mp4"
    if kind == "audio":
        write_audio(file)
    elif kind != "missing":
        file.write_bytes(b"" if kind == "empty" else b"no video at all\n" * 50)
    done = asked(made, "-q", QUESTION, video=file.name)
    assert done.exit_code == 2
    assert len(done.output.strip().splitlines()) == 1
    assert str(file) in done.output


def write_audio(file: Path) -> None:
    """Write an mp4 that holds sound alone."""
    import av

    with av.open(str(file), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 16000), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 16000
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)


def test_an_empty_question_is_refused(made: Path) -> None:
    done = asked(made, "-q", "  ")
    assert (done.exit_code, "question must have at least one word" in done.output) == (
        2,
        True,
    )


def test_a_checkpoint_of_another_architecture_is_a_table(made: Path) -> None:
    done = asked(made, "-q", QUESTION, "modules.fusion.depth=3")
    assert done.exit_code == 2
    assert "does not fit" in done.output
    assert "fusion" in done.output


def test_a_misspelt_setting_is_told_before_the_checkpoint_is_read(made: Path) -> None:
    done = asked(made, "-q", QUESTION, "modules.fusion.dept=3")
    assert done.exit_code == 2
    assert "modules.fusion.dept=3" in done.output
