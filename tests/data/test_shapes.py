"""The shapes world is deterministic, balanced, and keeps its motion out of single frames."""

from __future__ import annotations

import json
import shutil
from collections import Counter, defaultdict
from pathlib import Path

import av
import numpy as np
import pytest

from mplug2.data.media.video import read_frames
from mplug2.data.shapes.questions import captions, pair_sentence, questions, vocabulary
from mplug2.data.shapes.render import box, render, render_beat
from mplug2.data.shapes.world import (
    BEATS,
    COLUMNS,
    ROWS,
    Scene,
    Thing,
    drift,
    sample_scene,
    still_scene,
)
from mplug2.data.shapes.write import encode, make_shapes
from mplug2.data.text_cleaning import clean_caption, clean_question
from registry.errors import UserError
from tools.make_shapes import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shapes")
    assert make_shapes(path, seed=5, train=10, val=4, test=4, workers=1)
    return path


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def scenes(number: int) -> list[Scene]:
    return [
        sample_scene(("drift", "turns")[i % 2], np.random.default_rng(i))
        for i in range(number)
    ]


def bag(clip: np.ndarray) -> list[bytes]:
    return sorted(frame.tobytes() for frame in clip)


@pytest.mark.parametrize(("way", "back"), [("left", "right"), ("up", "down")])
def test_a_drift_backwards_in_time_is_a_drift_the_other_way(
    way: str, back: str
) -> None:
    """The same frames in the other order: without the order of frames nobody can tell them apart."""
    moves, opposite = (
        np.array(drift(d, np.random.default_rng(1))) for d in (way, back)
    )
    along = 1 if way == "left" else 0
    assert np.allclose(moves[::-1, along], opposite[:, along])
    assert np.allclose(moves[:, 1 - along], opposite[:, 1 - along]), (
        "trembling knows no direction"
    )
    clips = [
        render(
            Scene(
                "drift",
                (Thing("red", "circle", ((0, 0),) * BEATS, 0.4, (0.5, 0.5), path),),
                way,
                (9, 9, 9),
            ),
            48,
            6,
        )
        for path in (tuple(map(tuple, moves)), tuple(map(tuple, moves[::-1])))
    ]
    assert bag(clips[0]) == bag(clips[1])
    assert clips[0].tobytes() != clips[1].tobytes()


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "mine.mp4").write_text("precious")
    with pytest.raises(UserError, match="must be empty or a shapes world"):
        make_shapes(tmp_path, train=1, val=1, test=1)
    assert (tmp_path / "videos" / "mine.mp4").read_text() == "precious"


@pytest.mark.parametrize("encoder", ["libx264", "mpeg4"])
def test_an_encoded_frame_does_not_depend_on_when_it_comes(
    tmp_path: Path, encoder: str
) -> None:
    if encoder not in av.codecs_available:
        pytest.skip(f"this build of PyAV has no {encoder}")
    for scene in scenes(6):
        clip = render(scene, 48, 12)
        decoded = []
        for name, frames in (("forth.mp4", clip), ("back.mp4", clip[::-1])):
            encode(tmp_path / name, np.ascontiguousarray(frames), encoder)
            with av.open(str(tmp_path / name)) as container:
                decoded.append(
                    [
                        frame.to_ndarray(format="rgb24")
                        for frame in container.decode(video=0)
                    ]
                )
        assert np.array_equal(np.stack(decoded[0]), np.stack(decoded[1][::-1]))


def test_a_drift_goes_its_way() -> None:
    steps = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
    for scene in scenes(60)[::2]:
        moves = np.array(scene.things[0].moves)
        assert scene.direction is not None
        way = np.array(steps[scene.direction])
        along = np.diff(moves, axis=0) @ way
        assert np.allclose(along, 0.2), "the same step in every beat"
        across = moves @ np.abs(way[::-1])
        assert np.ptp(across) == pytest.approx(0.4), "it trembles less than it moves"


def test_shapes_that_take_turns_are_visible_equally_long_one_at_a_time() -> None:
    for scene in scenes(60)[1::2]:
        visible = np.array(
            [[cell is not None for cell in thing.cells] for thing in scene.things]
        )
        assert visible.sum(1).tolist() == [2, 2, 2]
        assert visible.sum(0).tolist() == [1] * BEATS
        assert visible.argmax(1).tolist() == [0, 2, 4], (
            "things stand in order of appearance"
        )


def test_nothing_overlaps_and_boxes_hold_their_shapes() -> None:
    for scene in scenes(40):
        for beat in range(BEATS):
            cells = [
                thing.cells[beat]
                for thing in scene.things
                if thing.cells[beat] is not None
            ]
            assert len(cells) == len(set(cells))
        for thing in scene.things:
            assert len({other.colour for other in scene.things}) == len(scene.things)
            assert len({other.shape for other in scene.things}) == len(scene.things)
            beat = next(i for i, cell in enumerate(thing.cells) if cell is not None)
            found = box(thing, 48, beat)
            assert found is not None
            left, top, right, bottom = found
            row, column = thing.cells[beat]  # type: ignore[misc]
            cells = 2 if scene.kind == "drift" and thing is scene.things[0] else 1
            assert 16 * column - 1 <= left < right <= 16 * (column + cells) + 1
            assert 16 * row - 1 <= top < bottom <= 16 * (row + cells) + 1
            alone = Scene("still", (thing,), None, (20, 20, 20))
            empty = render_beat(Scene("still", (), None, (20, 20, 20)), 48, beat)
            changed = (
                np.abs(render_beat(alone, 48, beat).astype(int) - empty).max(-1) > 100
            )
            assert changed[top:bottom, left:right].sum() >= 0.95 * changed.sum() > 20


def test_answers_are_balanced_within_each_type() -> None:
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    asked: Counter[int] = Counter()
    for index, scene in enumerate(scenes(600)):
        found = questions(scene, np.random.default_rng(index))
        asked[len(found)] += 1
        for kind, _, answer in found:
            answers[kind][answer] += 1
    assert set(answers) == {
        "colour",
        "shape",
        "number",
        "position",
        "motion_direction",
        "motion_order",
    }
    for kind, counts in answers.items():
        assert counts.most_common(1)[0][1] / counts.total() < 0.38, kind
        assert len(counts) >= 4, kind
    assert 5 <= sum(n * count for n, count in asked.items()) / asked.total() <= 6
    assert set(answers["position"]) == {*ROWS, *COLUMNS}


def test_answers_are_true() -> None:
    for index, scene in enumerate(scenes(80)):
        by_name = {thing.shape: thing for thing in scene.things} | {
            thing.colour: thing for thing in scene.things
        }
        for kind, question, answer in questions(scene, np.random.default_rng(index)):
            words = clean_question(question, 30).split()
            about = next((by_name[word] for word in words if word in by_name), None)
            if kind in ("colour", "shape"):
                assert about is not None
                assert answer == getattr(about, kind)
            elif kind == "position":
                assert about is not None
                row, column = next(cell for cell in about.cells if cell is not None)
                assert answer == (ROWS[row] if "row" in words else COLUMNS[column])
            elif kind == "number":
                assert ["one", "two", "three", "four"].index(answer) + 1 == len(
                    scene.things
                )
            elif kind == "motion_direction":
                assert about is scene.things[0]
                assert answer == scene.direction
            else:
                thing = scene.things[0 if words[-1] == "first" else -1]
                assert answer in (thing.colour, thing.shape)


def test_all_that_is_said_is_in_the_vocabulary() -> None:
    words = vocabulary()
    assert len(words) < 300
    assert len(set(words)) == len(words)
    assert [words.index(t) for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")] == [
        0,
        100,
        101,
        102,
        103,
    ]
    known = set(words)
    for index, scene in enumerate(
        [
            *scenes(200),
            *(still_scene(1 + i % 4, np.random.default_rng(i)) for i in range(40)),
        ]
    ):
        rng = np.random.default_rng(index)
        texts = captions(scene)
        assert len(texts) == 3
        if scene.kind != "still":
            texts += [
                text
                for _, question, answer in questions(scene, rng)
                for text in (question, answer)
            ]
        for text in texts:
            assert text == text.lower()
            assert set(clean_caption(text, 80).split()) <= known, text


def test_pairs_are_described_truly_and_evenly() -> None:
    truths = []
    for index in range(300):
        rng = np.random.default_rng(index)
        left, right = (still_scene(int(rng.integers(1, 5)), rng) for _ in range(2))
        sentence, true = pair_sentence(left, right, rng)
        truths.append(true)
        shape = sentence.split()[-1]
        shown = [
            any(thing.shape == shape for thing in scene.things)
            for scene in (left, right)
        ]
        if sentence.startswith("both"):
            assert all(shown) == true
        elif sentence.startswith("exactly"):
            assert (sum(shown) == 1) == true
        elif "shows" in sentence:
            assert shown["right" in sentence] == true
        else:
            assert (len(left.things) > len(right.things)) == true
    assert 0.35 < np.mean(truths) < 0.65


def test_the_folder_holds_every_annotation(folder: Path) -> None:
    for split, count in (("train", 10), ("val", 4), ("test", 4)):
        videos = [f"{split}_{index:05d}" for index in range(count)]
        assert (
            sorted(path.stem for path in (folder / "videos").glob(f"{split}_*"))
            == videos
        )
        assert [
            row["video_id"] for row in rows(folder / f"boxes_{split}.jsonl")
        ] == videos
        assert [
            row["video_id"] for row in rows(folder / f"classes_{split}.jsonl")
        ] == videos
        assert {row["video_id"] for row in rows(folder / f"qa_{split}.jsonl")} == set(
            videos
        )
        assert {
            row["video_id"] for row in rows(folder / f"captions_{split}.jsonl")
        } == set(videos)
        assert len(rows(folder / f"images_{split}.jsonl")) == 2 * count
        for row in rows(folder / f"pairs_{split}.jsonl"):
            assert all((folder / "images" / name).is_file() for name in row["images"])
    assert set(rows(folder / "captions_train.jsonl")[0]) == {"video_id", "caption"}
    assert set(rows(folder / "captions_test.jsonl")[0]) == {
        "video_id",
        "golden_captions",
    }
    assert set(rows(folder / "qa_test.jsonl")[0]) == {
        "video_id",
        "question",
        "answer",
        "type",
    }
    track = rows(folder / "boxes_test.jsonl")[1]["things"]
    assert [sum(found is not None for found in thing["boxes"]) for thing in track] == [
        4,
        4,
        4,
    ]


def test_clips_decode_to_what_was_drawn(folder: Path) -> None:
    rng = np.random.default_rng([5, 0, 3])
    scene = sample_scene("turns", rng)
    clip = read_frames(folder / "videos/train_00003.mp4", range)
    drawn = render(scene, 48, 12)
    assert clip.frames.shape == drawn.shape
    assert np.abs(clip.frames.astype(int) - drawn).mean() < 6
    again = [
        np.abs(clip.frames[i].astype(int) - clip.frames[i + 1]).max()
        for i in range(0, 12, 2)
    ]
    assert max(again) <= 8, (
        "both frames of a beat look alike: no trace of what was before"
    )


def test_every_frame_is_a_key_frame(folder: Path) -> None:
    with av.open(str(folder / "videos/train_00000.mp4")) as container:
        assert all(
            packet.is_keyframe for packet in container.demux(video=0) if packet.size
        )


def test_the_same_seed_writes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    make_shapes(tmp_path / "again", seed=5, train=10, val=4, test=4, workers=1)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            assert (
                path.read_bytes()
                == (tmp_path / "again" / path.relative_to(folder)).read_bytes()
            ), path.name
    make_shapes(tmp_path / "other", seed=6, train=10, val=4, test=4, workers=1)
    assert (tmp_path / "other/qa_train.jsonl").read_text() != (
        folder / "qa_train.jsonl"
    ).read_text()


def test_what_is_done_is_skipped_and_other_arguments_write_anew(
    folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    assert not make_shapes(copy, seed=5, train=10, val=4, test=4)
    assert make_shapes(copy, seed=5, train=2, val=1, test=1, workers=1)
    assert len(list((copy / "videos").iterdir())) == 4
    (copy / "manifest.json").unlink()
    assert make_shapes(copy, seed=5, train=2, val=1, test=1, workers=1)


@pytest.mark.parametrize("empty", ["train", "val", "test"])
def test_a_split_may_be_empty_and_leaves_nothing_of_an_earlier_one(
    tmp_path: Path, empty: str
) -> None:
    counts = {"train": 1, "val": 1, "test": 1, "size": 24, "frames": 6, "workers": 1}
    assert make_shapes(tmp_path, **counts)
    before = {path.name for path in tmp_path.glob("*.jsonl")}
    assert make_shapes(tmp_path, **counts | {empty: 0})
    gone = {name for name in before if name.endswith(f"_{empty}.jsonl")}
    assert len(gone) == len(before) / 3
    assert {path.name for path in tmp_path.glob("*.jsonl")} == before - gone
    assert not list((tmp_path / "videos").glob(f"{empty}_*"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(
            UserError, match=rf"{folder} must be a folder that can be written to"
        ):
            make_shapes(folder, train=1, val=1, test=1)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["seed", "train", "val", "test"])
def test_numbers_below_nought_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"{name} must be at least 0, but is -1"):
        make_shapes(tmp_path, **{name: -1})


def test_several_processes_write_the_same(folder: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        make_shapes(
            tmp_path / str(workers),
            seed=0,
            train=60,
            val=1,
            test=1,
            size=24,
            frames=6,
            workers=workers,
        )
    for name in ("qa_train.jsonl", "captions_train.jsonl", "videos/train_00059.mp4"):
        assert (tmp_path / "1" / name).read_bytes() == (
            tmp_path / "2" / name
        ).read_bytes()


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = ["--train", "2", "--val", "1", "--test", "1", "--workers", "1"]
    assert main([str(tmp_path / "s"), *counts]) == 0
    assert main([str(tmp_path / "s"), *counts]) == 0
    assert "is there already" in capsys.readouterr().out
    assert main([str(tmp_path / "t"), "--frames", "7"]) == 2
    assert "frames must be a multiple of 6, but is 7" in capsys.readouterr().err
    with pytest.raises(UserError, match="even number of at least 24"):
        make_shapes(tmp_path / "t", size=25)
