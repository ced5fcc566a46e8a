"""Shards: what they give equals the folder that was packed, from any position, and damage is named."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loaders import eval_loader, make_source, one_epoch, train_loader
from PIL import Image
from safetensors.numpy import load_file, save_file

from mplug2.data.bad_files import BadFileCounter
from mplug2.data.batch import Batch
from mplug2.data.shapes.questions import vocabulary
from mplug2.data.shapes.write import make_shapes
from mplug2.data.shards.index import INDEX, ShardIndex
from mplug2.data.shards.pack import pack_shards
from mplug2.data.sources.shards import ShardSource
from mplug2.data.tasks.caption import RetrievalTask
from mplug2.data.tasks.plain_text import PlainTextTask
from mplug2.data.tasks.question_answer import QuestionAnswerTask
from mplug2.data.tasks.text_label import TextLabelTask
from mplug2.data.text import Tokenizer
from mplug2.data.unknown_words import count_words
from mplug2.runtime.manifest import MANIFEST, damage, file_entry
from registry.errors import UserError
from registry.language.ports import StreamType

WORDS = Tokenizer({token: number for number, token in enumerate(vocabulary())})
VIDEO = {"video": StreamType("frames", ("V", 3, 3, 24, 24))}
IMAGE = {"image": StreamType("image", ("V", 3, 24, 24))}
PAIR = {name: StreamType("image", ("B", 3, 24, 24)) for name in ("left", "right")}
TINY_SHARD = 20_000  # bytes: a few samples


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    make_shapes(folder, seed=1, train=12, val=4, test=0, size=24, frames=6, workers=1)
    return folder


@pytest.fixture(scope="module")
def videos(shapes: Path) -> Path:
    """Questions about clips, packed."""
    out = shapes / "packed_videos"
    pack_shards(
        shapes / "qa_train.jsonl", shapes / "videos", out, shard_bytes=TINY_SHARD
    )
    return out


def questions(task_class: Any = QuestionAnswerTask, **more: Any) -> Any:
    return task_class(tokenizer=WORDS, types=VIDEO, inputs=None, **more)


def packed(
    folder: Path, training: bool = True, per_clip: int = 3, **more: Any
) -> ShardSource:
    task = questions(training=training, questions_per_clip=per_clip)
    return ShardSource(str(folder), task, training=training, types=VIDEO, **more)


def rows_of(batches: list[Batch]) -> list[int]:
    return [
        record["question_id"]
        for batch in batches
        for record in batch.records
        if "padding" not in record
    ]


def images(folder: Path, count: int) -> list[str]:
    """Write small images of one color each; return their names."""
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (24, 24), (number, 0, 0)).save(folder / f"{number}.v1.png")
    return [f"{number}.v1.png" for number in range(count)]


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def captioned(folder: Path, captions: list[int], **settings: Any) -> Path:
    """Pack images with so many captions each."""
    names = images(folder / "images", len(captions))
    rows = [
        {"image": name, "caption": f"a ring {number} {turn}"}
        for number, name in enumerate(names)
        for turn in range(captions[number])
    ]
    path = write_lines(folder / "captions.jsonl", rows)
    pack_shards(path, folder / "images", folder / "packed", **settings)
    return folder / "packed"


def captions_source(
    folder: Path | str, training: bool = True, **more: Any
) -> ShardSource:
    task = RetrievalTask(tokenizer=WORDS, types=IMAGE, inputs=None, training=training)
    return ShardSource(str(folder), task, training=training, types=IMAGE, **more)


def test_shards_are_plain_tar_files_of_the_webdataset_layout(
    shapes: Path, videos: Path
) -> None:
    assert damage(videos) is None
    samples: dict[str, dict[str, bytes]] = {}
    tars = sorted(videos.glob("*.tar"))
    assert len(tars) > 1
    for path in tars:
        with tarfile.open(path) as tar:
            for member in tar:
                content = tar.extractfile(member)
                assert content is not None
                key, _, name = member.name.partition(".")
                samples.setdefault(key, {})[name] = content.read()
    assert len(samples) == 12
    rows = [
        json.loads(line)
        for line in (shapes / "qa_train.jsonl").read_text().splitlines()
    ]
    packed_rows = []
    for sample in samples.values():
        assert set(sample) == {"json", "mp4"}
        about = json.loads(sample["json"])
        assert (
            sample["mp4"]
            == (shapes / "videos" / f"{about[0]['video_id']}.mp4").read_bytes()
        )
        packed_rows += about
    assert [{k: row[k] for k in rows[0]} for row in packed_rows] == rows
    assert sorted(row["question_id"] for row in packed_rows) == list(range(len(rows)))


def test_an_evaluation_reads_the_same_from_shards_and_folder(
    shapes: Path, videos: Path
) -> None:
    from_folder = make_source(
        QuestionAnswerTask,
        shapes / "qa_train.jsonl",
        media=str(shapes / "videos"),
        types=VIDEO,
        tokenizer=WORDS,
    )
    read = list(eval_loader(packed(videos, training=False, per_clip=1), 4))
    expected = list(eval_loader(from_folder, 4))
    assert len(read) == len(expected) > 3
    for batch, other in zip(read, expected, strict=True):
        assert batch.records == other.records
        assert torch.equal(batch.inputs["video"], other.inputs["video"])
        assert torch.equal(batch.inputs["question"].ids, other.inputs["question"].ids)


def test_training_reads_the_same_pixels_as_from_the_folder(
    shapes: Path, videos: Path
) -> None:
    source = packed(videos, augment="crop", flip="media")
    request = source.requests(3, 5)[2]
    folder = make_source(
        QuestionAnswerTask,
        shapes / "qa_train.jsonl",
        media=str(shapes / "videos"),
        types=VIDEO,
        tokenizer=WORDS,
        training=True,
        augment="crop",
        flip="media",
    )
    first = source.read(request)
    # Read by the folder's source, with the same seed: the pixels depend on nothing else.
    number = next(
        n for n, item in enumerate(folder.items) if item.media == request.media
    )
    second = folder.read_items(
        request._replace(items=request.items), (folder.items[number],)
    )
    assert torch.equal(first.views[0], second.views[0])


@settings(max_examples=12, deadline=None)
@given(
    captions=st.lists(st.integers(1, 4), min_size=1, max_size=9),
    shard_bytes=st.sampled_from([1, 3_000, 10**6]),
    world=st.integers(1, 3),
    stop=st.integers(0, 9),
    seed=st.integers(0, 2**31),
)
def test_every_file_once_an_epoch_and_every_caption_in_turn(
    captions: list[int],
    shard_bytes: int,
    world: int,
    stop: int,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Whatever the sizes of shards, the ranks, and the position at which a run is interrupted."""
    folder = captioned(tmp_path_factory.mktemp("a"), captions, shard_bytes=shard_bytes)
    source = captions_source(folder)
    by_file: Counter[int] = Counter()
    texts: Counter[str] = Counter()
    for epoch in range(max(captions)):
        loaders = [
            train_loader(source, 1, rank=rank, world=world, seed=seed)
            for rank in range(world)
        ]
        samples = []
        for loader in loaders:
            loader.load_state_dict({"epoch": epoch, "samples": 0})
        position = min(stop * world, len(source) - 1) // world * world
        for rank, loader in enumerate(loaders):
            batches = iter(loader)
            for _ in range(position // world):
                samples.append(next(batches))
            state = loader.state_dict()
            resumed = train_loader(
                captions_source(folder), 1, rank=rank, world=world, seed=seed
            )
            resumed.load_state_dict(state)
            samples += one_epoch(resumed)
        ids = [
            record
            for batch in samples
            for record in batch.records
            if "padding" not in record
        ]
        assert len(ids) == len(captions)
        numbers = [int(record["image"].partition(".")[0]) for record in ids]
        assert sorted(numbers) == list(range(len(captions)))
        by_file.update(numbers)
        texts.update(text for record in ids for text in record["references"])
    assert all(
        texts[f"a ring {number} {turn}"] >= 1
        for number, n in enumerate(captions)
        for turn in range(n)
    )
    shutil.rmtree(folder.parent)


def test_fewer_shards_than_ranks_and_workers(tmp_path: Path) -> None:
    folder = captioned(tmp_path, [1] * 9)
    assert len(list(folder.glob("*.tar"))) == 1
    read: list[int] = []
    steps = []
    for rank in range(2):
        loader = train_loader(captions_source(folder), 2, rank=rank, world=2, workers=2)
        batches = one_epoch(loader)
        steps.append(len(batches))
        read += rows_of(batches)
    assert sorted(read) == list(range(9))
    assert steps[0] == steps[1] == 3


def test_pairs_and_names_with_dots_keep_their_partners(tmp_path: Path) -> None:
    names = images(tmp_path / "images", 6)
    rows = [
        {"images": [names[left], names[right]], "sentence": "a ring", "label": "True"}
        for left, right in ((4, 1), (0, 5), (2, 3))
    ]
    path = write_lines(tmp_path / "pairs.jsonl", rows)
    pack_shards(path, tmp_path / "images", tmp_path / "packed")
    task = TextLabelTask(
        tokenizer=WORDS,
        types=PAIR,
        inputs=None,
        labels=["True", "False"],
        training=False,
    )
    source = ShardSource(
        str(tmp_path / "packed"), task, types=PAIR, image_mean=0.0, image_std=1 / 255
    )
    (batch,) = eval_loader(source, 3)
    assert batch.inputs["left"][:, 0, 0, 0].round().tolist() == [4, 0, 2]
    assert batch.inputs["right"][:, 0, 0, 0].round().tolist() == [1, 5, 3]


def test_repeats_and_a_list_of_excluded_files(tmp_path: Path) -> None:
    folder = captioned(tmp_path, [1] * 8)
    (tmp_path / "out.jsonl").write_text('{"video_id": "3.v1.png"}\n')
    source = captions_source(
        folder, exclude_list=str(tmp_path / "out.jsonl"), repeats=2
    )
    requests = source.requests(0, 0)
    assert len(requests) == len(source) == 7
    assert Counter(Counter(request.items[0] for request in requests).values()) == {
        2: 3,
        1: 1,
    }
    assert 3 not in {request.items[0] for request in requests}
    assert len({(request.items, request.seed) for request in requests}) == 7
    assert source.fingerprint() != captions_source(folder).fingerprint()


@pytest.mark.parametrize("harm", ["missing", "truncated", "header"])
def test_a_bad_shard_is_named_and_its_samples_replaced(
    harm: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = captioned(tmp_path, [1] * 10, shard_bytes=3_000)
    tars = sorted(folder.glob("*.tar"))
    shard = ShardIndex.open(str(folder)).shards[1]
    assert len(tars) > 3 and shard.address == str(tars[1])
    if harm == "missing":
        tars[1].unlink()
    elif harm == "truncated":
        tars[1].write_bytes(tars[1].read_bytes()[:-1024])
    else:
        content = bytearray(tars[1].read_bytes())
        content[0:9] = b"../../etc"
        tars[1].write_bytes(content)
    counter = BadFileCounter()
    loader = train_loader(
        captions_source(folder), 1, max_bad_fraction=0.5, counter=counter
    )
    batches = one_epoch(loader)
    assert sum(len(batch.records) for batch in batches) == 10
    if harm == "header":
        assert counter.add("another") == 2  # a single file of the shard
        assert "no file begins at byte 0" in caplog.text
        return
    assert list(loader.bad) == [str(tars[1])]
    assert counter.add("another") == 1 + shard.num_files
    what = (
        "does not exist"
        if harm == "missing"
        else f"its manifest lists {shard.num_bytes}"
    )
    assert (
        caplog.text.count(str(tars[1])) == 2 and what in caplog.text
    )  # once as the file, once in the reason
    with pytest.raises(
        UserError, match=f"{shard.num_files} of 10 files cannot be used"
    ):
        one_epoch(train_loader(captions_source(folder), 1, max_bad_fraction=0.1))
    with pytest.raises(UserError, match="00001.tar"):
        captions_source(folder, training=False)


def change_index(folder: Path, **arrays: Any) -> None:
    """Replace arrays of an index, with a manifest that agrees: an index is not trusted for its checksum."""
    save_file(load_file(folder / INDEX) | arrays, folder / INDEX)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][INDEX] = file_entry(folder / INDEX)
    (folder / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"offset": np.full((3, 2), 10**12)}, "every file must be inside its shard"),
        ({"offset": np.zeros((3, 2), np.int64)}, "every file must be inside its shard"),
        ({"size": np.full((3, 2), 2**62)}, "every file must be inside its shard"),
        (
            {"shard": np.full(3, 7, np.int32)},
            "the numbers of shards and names must exist",
        ),
        ({"name_order": np.full(3, -1)}, "the numbers of shards and names must exist"),
        (
            {"name_end": np.array([1, 0, 24])},
            "the numbers of shards and names must exist",
        ),
        (
            {"suffixes": np.zeros((2, 8), np.uint8)},
            "the arrays must agree on the number of samples",
        ),
        ({"size": np.zeros((3, 2), np.float32)}, "must have an array 'size' of int64"),
    ],
)
def test_an_index_that_points_elsewhere_is_refused(
    arrays: dict[str, np.ndarray], message: str, tmp_path: Path
) -> None:
    folder = captioned(tmp_path, [1] * 3)
    change_index(folder, **arrays)
    with pytest.raises(UserError, match=message):
        ShardIndex.open(str(folder))


@pytest.mark.parametrize("name", ["../../secret.tar", "/etc/passwd", "a/../../b.tar"])
def test_a_manifest_does_not_lead_out_of_its_folder(name: str, tmp_path: Path) -> None:
    folder = captioned(tmp_path, [1])
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][name] = manifest["files"].pop("00000.tar")
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(
        UserError, match="a file name must stay inside the media folder"
    ):
        ShardIndex.open(str(folder))


def test_damaged_manifests_and_indices_are_refused(tmp_path: Path) -> None:
    folder = captioned(tmp_path, [1])
    (folder / INDEX).write_bytes((folder / INDEX).read_bytes()[:-1])
    with pytest.raises(UserError, match="SHA-256 is not that of manifest.json"):
        ShardIndex.open(str(folder))
    for text in (
        "[]",
        "{",
        '{"version": 1, "files": {"a.tar": {"bytes": -1, "sha256": "", "media": 1}}}',
    ):
        (folder / MANIFEST).write_text(text)
        with pytest.raises(UserError, match="must be what `mplug2 data shard` wrote"):
            ShardIndex.open(str(folder))
    (folder / MANIFEST).unlink()
    with pytest.raises(
        UserError, match="does not exist. `mplug2 data shard` writes shards"
    ):
        ShardIndex.open(str(folder))


def test_a_link_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    folder = captioned(tmp_path, [1])
    path = folder / "00000.tar"
    content = path.read_bytes()
    member = tarfile.TarInfo("000000000.json")
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    path.write_bytes(member.tobuf(tarfile.USTAR_FORMAT) + content[512:])
    with pytest.raises(UserError, match="must begin the file 000000000.json"):
        ShardIndex.open(str(folder)).annotations(0).read()


def test_packing_names_what_it_cannot_pack(tmp_path: Path) -> None:
    names = images(tmp_path / "images", 3)
    rows = [{"image": name, "caption": "a ring"} for name in [*names, "absent.png"]]
    path, media, out = (
        write_lines(tmp_path / "a.jsonl", rows),
        tmp_path / "images",
        tmp_path / "out",
    )
    with pytest.raises(UserError, match=r"may be missing \(got 1: .*absent.png\)"):
        pack_shards(path, media, out)
    assert list(tmp_path.glob("out*")) == []
    done = pack_shards(path, media, out, max_missing=0.5)
    assert (done.samples, done.rows, done.missing) == (
        3,
        3,
        [str(media / "absent.png")],
    )
    with pytest.raises(UserError, match="already exists. Use --overwrite"):
        pack_shards(path, media, out)
    before = (out / "00000.tar").read_bytes()
    pack_shards(path, media, out, max_missing=0.5, replace=True)
    assert (out / "00000.tar").read_bytes() == before
    write_lines(path, [*rows, {"images": names[:2], "caption": "a ring"}])
    with pytest.raises(
        UserError,
        match=r"a.jsonl:5: all lines must name equally many files \(got 2, and 1",
    ):
        pack_shards(path, media, tmp_path / "b", max_missing=0.5)
    with pytest.raises(
        UserError, match="shards hold media: they need a task with media"
    ):
        ShardSource(str(out), PlainTextTask(WORDS))


def test_a_folder_of_classes_is_packed_with_its_labels(tmp_path: Path) -> None:
    for label in ("ring", "cross"):
        images(tmp_path / label, 2)
    pack_shards(tmp_path, tmp_path, tmp_path.with_name("classes"))
    index = ShardIndex.open(str(tmp_path.with_name("classes")))
    assert [json.loads(index.annotations(n).read())[0]["label"] for n in range(4)] == [
        *("cross", "cross", "ring", "ring")
    ]
    assert index.media_of(2) == ("ring/0.v1.png",)


def test_unknown_words_of_shards_are_counted_in_the_samples_themselves(
    tmp_path: Path,
) -> None:
    source = captions_source(captioned(tmp_path, [1, 1, 1]))
    counts = count_words(source)
    # Four words each; [CLS] is not one of them.
    assert counts.words == 12
    assert set(counts.unknown) == {"0", "1", "2"}
    assert source.items._items is None, "the annotations of all shards were read"  # type: ignore[attr-defined]
