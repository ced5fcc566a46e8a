"""`mplug2 metrics caption`: a table, one JSON object, and what it says of bad files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mplug2.cli.app import app
from mplug2.metrics.caption.cider import CiderD
from mplug2.metrics.caption.scores import NAMES

CAPTIONS = {"v1": "A dog runs.", "v2": "a man's hat"}
GIVEN = {"v1": ["a dog is running", "the dog runs"], "v2": ["a man in a hat"]}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    for name, data in (("P.json", CAPTIONS), ("R.json", GIVEN)):
        (tmp_path / name).write_text(json.dumps(data), encoding="utf-8")
    return tmp_path / "P.json", tmp_path / "R.json"


def run(predictions: Path, references: Path, *options: str) -> tuple[int, str, str]:
    words = [
        "metrics",
        "caption",
        "--predictions",
        str(predictions),
        "--references",
        str(references),
    ]
    done = CliRunner().invoke(app, [*words, "--no-java", *options])
    return done.exit_code, done.stdout, done.stderr


def test_table(files: tuple[Path, Path]) -> None:
    code, shown, _ = run(*files)
    assert code == 0
    assert "2 captions against 3 references" in shown
    assert "CIDEr-D" in shown
    assert "METEOR is missing: " in shown


def test_json(files: tuple[Path, Path]) -> None:
    code, shown, _ = run(*files, "--json")
    values = json.loads(shown)
    assert code == 0
    assert set(values) == {*NAMES, "reasons"}
    assert values["METEOR"] is None
    assert set(values["reasons"]) == {"METEOR", "SPICE"}
    assert 0 < values["BLEU-1"] < 1
    assert values["CIDEr"] == values["CIDEr-D"]


def test_options_reach_the_scores(files: tuple[Path, Path], tmp_path: Path) -> None:
    plain = json.loads(run(*files, "--json")[1])
    as_they_are = json.loads(run(*files, "--json", "--tokenized")[1])
    assert as_they_are["BLEU-1"] < plain["BLEU-1"], "'A' and 'runs.' match nothing"
    CiderD([["a dog"], ["a hat"], ["a man"], ["a dog runs"]]).frequencies.save(
        tmp_path / "F.json"
    )
    other = json.loads(
        run(*files, "--json", "--frequencies", str(tmp_path / "F.json"))[1]
    )
    assert other["CIDEr"] == plain["CIDEr"]
    assert other["CIDEr-D"] != plain["CIDEr-D"]


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        (
            "[]",
            None,
            'P.json: must be a JSON object such as {"video7": "a dog runs"}, but is []',
        ),
        ("{", None, "P.json: must be a JSON object"),
        (
            '{"v1": ["a"], "v2": "b"}',
            None,
            "the caption of id 'v1' must be a string, but is [\"a\"]",
        ),
        ('{"v1": "a", "v1": "b"}', None, "'v1' is there twice"),
        ('{"v1": "a"}', None, "P.json: every id of"),
        ('{"v1": "a", "v2": "b", "v3": "c"}', None, "1 of 3 are not: 'v3'"),
        (
            None,
            '{"v1": "a dog", "v2": ["b"]}',
            "the references of id 'v1' must be a list of captions",
        ),
        (
            None,
            '{"v1": [], "v2": ["b"]}',
            "the references of id 'v1' must be a list of captions, but are []",
        ),
        (
            None,
            '{"v1": [3], "v2": ["b"]}',
            "a reference of id 'v1' must be a caption, but is 3",
        ),
        (None, "{}", "there must be references of at least one id"),
    ],
)
def test_bad_files(
    files: tuple[Path, Path],
    predictions: str | None,
    references: str | None,
    message: str,
) -> None:
    for path, text in zip(files, (predictions, references), strict=True):
        if text is not None:
            path.write_text(text, encoding="utf-8")
    code, _, errors = run(*files)
    assert code == 2
    assert message in errors


def test_files_that_cannot_be_read(files: tuple[Path, Path], tmp_path: Path) -> None:
    assert "No such file" in run(tmp_path / "nowhere.json", files[1])[2]
    files[0].write_bytes(b'{"v1": "\xff"}')
    code, _, said = run(*files)
    assert code == 2
    assert "P.json: must be a JSON object" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100000, "nested too deeply"),
        ("{", "no document frequencies can be read"),
        ('{"items": true, "counts": {}}', "document frequencies must be"),
        ('{"items": 2, "counts": {"a": true}}', "the count of 'a' must be from 1 to 2"),
    ],
)
def test_what_are_no_frequencies_is_told_with_the_file(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "p.json").write_text('{"1": "a dog"}')
    (tmp_path / "r.json").write_text('{"1": ["a dog"]}')
    (tmp_path / "f.json").write_text(text)
    words = [
        f"--{name}={tmp_path / name[0]}.json"
        for name in ("predictions", "references", "frequencies")
    ]
    done = CliRunner().invoke(app, ["metrics", "caption", *words, "--no-java"])
    assert done.exit_code == 2
    assert done.output.startswith(f"{tmp_path / 'f.json'}: ") and said in done.output


def test_help_shows_what_the_files_hold() -> None:
    said = CliRunner().invoke(app, ["metrics", "caption", "--help"]).output
    assert "by id" in said and "{id: }" not in said


COCO_RESULTS = [
    {"image_id": key, "caption": caption} for key, caption in CAPTIONS.items()
]
COCO_REFERENCES = {
    "info": {},
    "images": [{"id": "v1"}, {"id": "v2"}],
    "annotations": [
        {"id": number, "image_id": key, "caption": caption}
        for key, captions in GIVEN.items()
        for number, caption in enumerate(captions)
    ],
}


def lines(rows: list[dict[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    "predictions",
    [
        json.dumps(COCO_RESULTS),
        json.dumps(COCO_RESULTS, indent=1),
        lines(
            [
                {"question_id": 3, "video_id": key, "prediction": text}
                for key, text in CAPTIONS.items()
            ]
        ),
        lines(
            [
                {"image": key, "prediction": text, "score": -1.5}
                for key, text in CAPTIONS.items()
            ]
        ),
    ],
)
@pytest.mark.parametrize(
    "references",
    [
        json.dumps(COCO_REFERENCES),
        lines(
            [
                {"video_id": key, "golden_captions": captions}
                for key, captions in GIVEN.items()
            ]
        ),
        lines(
            [
                {"image": key, "caption": text}
                for key, captions in GIVEN.items()
                for text in captions
            ]
        ),
    ],
)
def test_other_forms_of_files_have_the_same_scores(
    files: tuple[Path, Path], predictions: str, references: str
) -> None:
    plain = json.loads(run(*files, "--json")[1])
    for path, text in zip(files, (predictions, references), strict=True):
        path.write_text(text, encoding="utf-8")
    assert json.loads(run(*files, "--json")[1]) == plain


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        (
            lines([*COCO_RESULTS, COCO_RESULTS[0]]),
            "each id must be there once, but 'v1' is there twice",
        ),
        (
            json.dumps([{"image_id": 1, "text": "a"}]),
            "P.json: entry 1: must have an id (image_id",
        ),
        (
            json.dumps([{"image_id": 1, "caption": None}]),
            "the caption of id '1' must be a string",
        ),
    ],
)
def test_rows_that_are_wrong_are_named(
    files: tuple[Path, Path], predictions: str, message: str
) -> None:
    files[0].write_text(predictions, encoding="utf-8")
    code, _, errors = run(*files)
    assert code == 2
    assert message in errors


def test_one_item_says_why_cider_is_zero(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    files[0].write_text(json.dumps({"v1": GIVEN["v1"][0]}))
    files[1].write_text(json.dumps({"v1": GIVEN["v1"]}))
    _, shown, _ = run(*files)
    assert "CIDEr: it is always 0 for one item" in shown
    assert "CIDEr-D: it is always 0 for one item" in shown
    CiderD([["a dog"], ["a hat"]]).frequencies.save(tmp_path / "F.json")
    values = json.loads(
        run(*files, "--json", "--frequencies", str(tmp_path / "F.json"))[1]
    )
    assert values["CIDEr-D"] > 0
    assert "CIDEr-D" not in values["reasons"]
