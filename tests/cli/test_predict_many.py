"""predict over folders, lists, images and pairs: JSON lines, broken files, contact sheets, drawn boxes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from askable import everything
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from mplug2.cli.app import app


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder with files, and a spec with weights for every kind of goal."""
    with everything(tmp_path_factory.mktemp("many")) as folder:
        yield folder


def run(folder: Path, name: str, *words: object) -> Any:
    """Run `mplug2 predict` on a spec of the folder."""
    return CliRunner().invoke(
        app, ["predict", str(folder / f"{name}.yaml"), *map(str, words)]
    )


def test_a_folder_streams_json_lines_and_goes_on_after_a_broken_file(
    made: Path,
) -> None:
    done = run(made, "caption", "--video", made, "--top", "2", "data.workers=1")
    assert done.exit_code == 1
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(row["video"]).name for row in rows] == [
        "broken.mp4",
        "clip0.mp4",
        "clip1.mp4",
        "clip2.mp4",
    ]
    assert "is not a video" in rows[0]["error"]
    assert all(
        1 <= len(row["answers"]) <= 2 and "question" not in row for row in rows[1:]
    )
    skipped, used, *summary = done.stderr.splitlines()
    assert (
        skipped.startswith(f"{made}: ")
        and "files skipped (broken.png, caption.yaml, " in skipped
    )
    assert used == f"checkpoint: {made / 'runs' / 'caption' / 'best'}"
    assert summary[:2] == ["3 of 4 answered", "1 could not be read:"]
    assert summary[2].startswith(f"  {made / 'broken.mp4'}")


def test_a_list_goes_to_a_file_with_a_sheet_beside_it(
    made: Path, tmp_path: Path
) -> None:
    listed, out, sheet = (
        tmp_path / name for name in ("files.txt", "said.jsonl", "sheet.html")
    )
    listed.write_text("".join(f"{made / f'still{number}.png'}\n" for number in (1, 0)))
    words = (
        "--files-from",
        listed,
        "--text",
        "it is red",
        "-q",
        "it is <b>bold</b>",
        "--out",
        out,
        "--sheet",
        sheet,
    )
    done = run(made, "entailment", *words)
    assert (done.exit_code, done.stdout) == (0, "")
    note, _, summary = done.stderr.splitlines()
    assert (
        note.startswith("note: the network does not know ")
        and summary == "2 of 2 answered"
    )
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [Path(row["image"]).name for row in rows] == ["still1.png"] * 2 + [
        "still0.png"
    ] * 2
    assert [row["question"] for row in rows[:2]] == ["it is red", "it is <b>bold</b>"]
    page = sheet.read_text()
    assert page.count("<article") == 2 and page.count("data:image/jpeg") == 2
    assert "<b>" not in page and "it is &lt;b&gt;bold" in page


def test_one_image_is_answered_in_words(made: Path) -> None:
    done = run(made, "entailment", "--image", made / "still0.png", "-q", "it is red")
    assert done.exit_code == 0, done.output
    title, best, others = done.stdout.splitlines()
    assert title == f"{made / 'still0.png'}: it is red"
    assert best.split()[0] in ("yes", "no", "unknown")
    assert others.startswith("  next best: ") and others.count("(0.") == 2


def test_one_video_with_json_is_one_line_and_a_png_sheet_is_written(
    made: Path, tmp_path: Path
) -> None:
    sheet = tmp_path / "sheet.png"
    done = run(made, "caption", "-v", made / "clip0.mp4", "--json", "--sheet", sheet)
    assert done.exit_code == 0, done.output
    assert set(json.loads(done.stdout)) == {"video", "answers"}
    with Image.open(sheet) as picture:
        assert picture.format == "PNG"


def test_a_pair_is_two_images(made: Path) -> None:
    pair = ("--image", made / "still0.png", "--image", made / "still1.png")
    done = run(made, "pairs", *pair, "-q", "both are red", "--json")
    assert json.loads(done.stdout)["images"] == [
        str(made / "still0.png"),
        str(made / "still1.png"),
    ]


def test_boxes_are_told_in_pixels_and_drawn(made: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "drawn.png"
    still = made / "still0.png"
    done = run(
        made,
        "grounding",
        "--image",
        still,
        "-q",
        "the ring",
        "-q",
        "\x07a square",
        "--draw",
        drawn,
    )
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[:2] == [f"{still}: the ring", "  box 16 4 48 36"]
    with Image.open(drawn) as picture, Image.open(still) as before:
        assert picture.size == (7 * before.width, 7 * before.height)
        assert picture.convert("RGB").getpixel((7 * 16, 7 * 10)) == (
            0x2F,
            0x6F,
            0xDF,
        )  # the second covers the first


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        (
            "caption",
            [],
            "name the files: --video or --image (not both), or --files-from",
        ),
        ("caption", ["-v", "a.mp4", "-i", "a.png"], "name the files"),
        ("caption", ["-i", "still0.png"], "reads videos: name them by --video"),
        ("caption", ["-v", "clip0.mp4", "--draw", "x.png"], "--draw needs one image"),
        ("caption", ["-v", "clip0.mp4", "--draw", "x.txt"], "--draw must be a .png"),
        (
            "caption",
            ["-v", "clip0.mp4", "--sheet", "x.pdf"],
            "must be a .html or .png file",
        ),
        (
            "caption",
            ["-v", "clip0.mp4", "--out", "no/where.jsonl"],
            "must be a file in a folder that exists",
        ),
        ("caption", ["-v", "clip0.mp4", "-q", "what?"], "leave the question out"),
        ("pairs", ["-i", "still0.png", "-q", "red"], "name them alternately"),
        ("grounding", ["-i", "broken.png", "-q", "a"], "broken.png is not an image"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing_behind(
    made: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(made)
    before = sorted(made.iterdir())
    done = run(made, name, *words)
    assert done.exit_code == 2
    assert message in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert sorted(made.iterdir()) == before


def test_an_empty_path_is_not_the_current_folder(made: Path) -> None:
    for option in ("--image", "--files-from"):
        done = run(made, "entailment", option, "", "-q", "x")
        assert (done.exit_code, done.output) == (
            2,
            "a path must have a name, but is empty\n",
        )


def test_no_file_is_written_twice_or_over_what_is_read(
    made: Path, tmp_path: Path
) -> None:
    page, still = tmp_path / "x.html", made / "still0.png"
    fixed = ("entailment", "--image", still, "-q", "x")
    done = run(made, *fixed, "--out", tmp_path / "." / "x.html", "--sheet", page)
    assert (
        done.exit_code == 2 and "--out must be another file than --sheet" in done.output
    )
    for option in ("--out", "--sheet", "--draw"):
        done = run(made, *fixed, option, still)
        assert (
            done.exit_code == 2 and "but is one that this command reads" in done.output
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="this system has no full device"
)
def test_a_full_disk_is_one_message(made: Path) -> None:
    done = run(
        made,
        "entailment",
        "--image",
        made / "still0.png",
        "-q",
        "x",
        "--out",
        "/dev/full",
    )
    assert done.exit_code == 2
    assert (
        done.stderr == "--out /dev/full cannot be written (No space left on device)\n"
    )


def test_scores_that_are_not_finite_are_reported(made: Path, tmp_path: Path) -> None:
    best = made / "runs/entailment/best/weights.safetensors"
    bad = {name: weight * 1e30 for name, weight in load_file(best).items()}
    save_file(bad, tmp_path / "weights.safetensors")
    done = run(
        made,
        "entailment",
        "--image",
        made / "still0.png",
        "-q",
        "red",
        "--json",
        "-c",
        tmp_path,
    )
    assert done.exit_code == 0, done.output
    assert [one["score"] for one in json.loads(done.stdout)["answers"]] == [None] * 3
    assert (
        done.stderr
        == "1 of 1 answers have NaN or infinite scores; the checkpoint may be damaged\n"
    )
