"""What a result says about itself: unknown words of a question, and a video of which little was seen."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from askable import everything, ready
from typer.testing import CliRunner

from mplug2.cli.app import app
from mplug2.data.media.video_file import Scan, scan_video
from mplug2.predict import predict_loader
from mplug2.predict.predict_loader import sparse_frames
from mplug2.predict.result import Result

KNOWN, UNKNOWN = "the red square", "the mauve square sings"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with everything(tmp_path_factory.mktemp("noted")) as folder:
        yield folder


def test_unknown_words_of_a_question_are_named(made: Path) -> None:
    pipe = ready(made, "entailment")
    with_known, with_unknown = pipe(str(made / "still0.png"), question=[KNOWN, UNKNOWN])
    assert with_known.notes == ()
    (note,) = with_unknown.notes
    assert note == (
        "the network does not know 2 of 4 words (50.0%: mauve, sings) of the sentence: it reads [UNK]"
    )
    assert with_unknown.row()["notes"] == [note]
    assert "notes" not in with_known.row()


def test_a_video_of_which_little_is_seen_has_a_note(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = ready(made, "caption")
    result = pipe(str(made / "clip0.mp4"))
    assert isinstance(result, Result)
    assert result.notes == ()
    monkeypatch.setattr(predict_loader, "LONGEST_GAP", 0.1)
    result = pipe(str(made / "clip0.mp4"))
    assert isinstance(result, Result)
    assert "3 of 5 frames were seen" in result.notes[0]


@pytest.mark.parametrize(
    ("seconds", "is_noted"), [(None, False), (30.0, False), (31.0, True)]
)
def test_the_note_depends_on_the_seconds_between_frames(
    seconds: float | None, is_noted: bool
) -> None:
    note = sparse_frames(Scan(900, 64, 48, True, seconds), 6)
    assert (note is not None) == is_noted
    if note is not None:
        assert "6 of 900 frames were seen, one in 5 seconds" in note


def test_a_scan_has_the_duration_of_the_file(made: Path) -> None:
    assert scan_video(str(made / "clip0.mp4")).seconds == pytest.approx(
        5 / 12, abs=0.01
    )


def test_the_command_prints_each_note_once(made: Path) -> None:
    words = [
        "--image",
        str(made / "still0.png"),
        "--image",
        str(made / "still1.png"),
        "-q",
        UNKNOWN,
    ]
    done = CliRunner().invoke(app, ["predict", str(made / "entailment.yaml"), *words])
    assert done.exit_code == 0, done.output
    assert done.stderr.count("it reads [UNK]") == 1
    assert "note: the network does not know 2 of 4 words" in done.stderr
    assert "(2 answers)" in done.stderr
    assert [len(json.loads(line)["notes"]) for line in done.stdout.splitlines()] == [
        1,
        1,
    ]


def test_without_a_checkpoint_predict_says_so_before_torch_is_imported(
    made: Path,
) -> None:
    spec = made / "entailment.yaml"
    code = (
        "import sys; sys.argv = ['mplug2', 'predict', sys.argv[1], '-i', 'a.png', '-q', 'x', sys.argv[2]]\n"
        "from mplug2.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as error:\n    print(error.code, 'torch' in sys.modules)\n"
    )
    setting = f"train.output_dir={made / 'nothing'}"
    done = subprocess.run(
        [sys.executable, "-c", code, str(spec), setting],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "2 False\n"
    assert "no checkpoint was given" in done.stderr
