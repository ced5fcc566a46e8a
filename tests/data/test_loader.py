"""The loader covers every question once over all ranks, resumes anywhere, and counts what is broken."""

from __future__ import annotations

import itertools
import json
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from loaders import eval_loader, make_source, one_epoch, train_loader
from quick import mostly_slow

from mplug2.data.bad_files import BadFileCounter, shared_counter
from mplug2.data.batch import Batch
from mplug2.data.build import build_eval_loader, build_loader
from mplug2.data.shapes.questions import vocabulary
from mplug2.data.shapes.write import make_shapes
from mplug2.data.source_builder import load_tokenizer
from mplug2.data.sources.files import FileSource
from mplug2.data.tasks.question_answer import QuestionAnswerTask
from mplug2.data.text import Tokenizer
from registry import parse_spec
from registry.errors import UserError
from registry.language.ports import StreamType
from registry.training import BatchSpec

TYPES = {"video": StreamType("frames", ("V", 3, 6, 24, 24))}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    make_shapes(folder, seed=1, train=12, val=5, test=5, size=24, frames=6, workers=1)
    return folder


def reader(
    shapes: Path,
    *,
    training: bool = True,
    per_clip: int = 3,
    split: str = "train",
    **more: object,
) -> FileSource:
    words = Tokenizer({token: index for index, token in enumerate(vocabulary())})
    return make_source(
        QuestionAnswerTask,
        path=str(shapes / f"qa_{split}.jsonl"),
        media=str(shapes / "videos"),
        types=TYPES,
        tokenizer=words,
        training=training,
        questions_per_clip=per_clip,
        augment="crop" if training else "none",
        **more,  # type: ignore[arg-type]
    )


def spoil(shapes: Path, target: Path, count: int, split: str = "train") -> Path:
    """A copy of the data with some clips cut off."""
    (target / "videos").mkdir(parents=True)
    for path in sorted((shapes / "videos").glob(f"{split}_*.mp4")):
        (target / "videos" / path.name).write_bytes(path.read_bytes())
    for path in sorted((target / "videos").iterdir())[:count]:
        path.write_bytes(path.read_bytes()[:50])
    (target / f"qa_{split}.jsonl").write_text(
        (shapes / f"qa_{split}.jsonl").read_text()
    )
    return target


def ids(batches: list[Batch]) -> list[int]:
    return [
        record["question_id"]
        for batch in batches
        for record in batch.records
        if "padding" not in record
    ]


def same(first: Batch, second: Batch) -> bool:
    return first.records == second.records and all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else torch.equal(a.ids, b.ids)
        for a, b in zip(first.inputs.values(), second.inputs.values(), strict=True)
    )


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_ranks_share_an_epoch_and_make_equally_many_steps(
    shapes: Path, world: int
) -> None:
    data = reader(shapes)
    loaders = [
        train_loader(data, 2, rank=rank, world=world, seed=4) for rank in range(world)
    ]
    batches = [one_epoch(loader, 1) for loader in loaders]
    assert {len(rank_batches) for rank_batches in batches} == {
        loaders[0].steps_per_epoch()
    }
    everything = [batch for rank_batches in batches for batch in rank_batches]
    assert Counter(ids(everything)) == Counter(range(len(data.items)))


def test_two_ranks_read_what_one_with_twice_the_batch_reads(shapes: Path) -> None:
    data = reader(shapes)
    pairs = zip(
        *(one_epoch(train_loader(data, 2, rank=rank, world=2)) for rank in range(2)),
        strict=True,
    )
    for (first, second), whole in zip(
        pairs, one_epoch(train_loader(data, 4)), strict=True
    ):
        assert sorted(ids([first, second])) == sorted(ids([whole]))


def test_a_restart_goes_on_at_the_very_next_batch(shapes: Path) -> None:
    loader = train_loader(reader(shapes), 2, seed=9)
    loader.load_state_dict({"epoch": 2, "samples": 0})
    batches = iter(loader)
    for _ in range(3):
        next(batches)
    state = loader.state_dict()
    assert (state["epoch"], state["samples"]) == (2, 6)
    fresh = train_loader(reader(shapes), 2, seed=9)
    fresh.load_state_dict(state)
    later = iter(fresh)
    steps = loader.steps_per_epoch()
    assert steps is not None
    for _ in range(2 * steps):  # two more epochs: no later one begins in the middle
        assert same(next(batches), next(later))
    assert loader.state_dict() == fresh.state_dict()


@pytest.mark.parametrize(("world", "batch"), [(2, 1), (1, 5), (3, 2)])
def test_after_a_restart_with_other_ranks_and_batches_every_sample_still_comes_once(
    shapes: Path, world: int, batch: int
) -> None:
    data = reader(shapes)
    loader = train_loader(data, 2, seed=3)
    batches = iter(loader)
    before = [next(batches) for _ in range(4)]
    loaders = [
        train_loader(data, batch, rank=rank, world=world, seed=3)
        for rank in range(world)
    ]
    after = []
    for fresh in loaders:
        fresh.load_state_dict(loader.state_dict())
        after += one_epoch(fresh)
    assert Counter(ids([*before, *after])) == Counter(range(len(data.items)))
    states = [fresh.state_dict() for fresh in loaders]
    assert {(state["epoch"], state["samples"]) for state in states} == {(1, 0)}


def test_an_optimizer_step_ends_with_its_final_micro_batch_and_never_crosses_an_epoch(
    shapes: Path,
) -> None:
    data = reader(shapes)
    loader = train_loader(data, 2, accumulation=3)
    num_samples, positions, finals = len(data), [], []
    num_micro_batches = -(-num_samples // 2)
    for batch in itertools.islice(loader, num_micro_batches):
        finals.append(batch.final)
        positions.append(loader.state_dict()["samples"])
    expected = [
        number % 3 == 2 or number == num_micro_batches - 1
        for number in range(num_micro_batches)
    ]
    assert finals == expected
    assert positions == [number // 3 * 6 for number in range(1, num_micro_batches)] + [
        0
    ]
    assert loader.steps_per_epoch() == loader.steps_in(0) == sum(expected)


def test_within_an_epoch_changed_data_is_refused(shapes: Path) -> None:
    loader = train_loader(reader(shapes), 2)
    next(iter(loader))
    fewer = train_loader(reader(shapes, per_clip=6), 2)
    with pytest.raises(UserError, match="its data must be unchanged"):
        fewer.load_state_dict(loader.state_dict())
    fewer.load_state_dict(loader.state_dict() | {"epoch": 1, "samples": 0})


def test_within_an_epoch_another_seed_is_refused(shapes: Path) -> None:
    loader = train_loader(reader(shapes), 2, seed=3)
    next(iter(loader))
    other = train_loader(reader(shapes), 2, seed=4)
    with pytest.raises(UserError, match="the seed of its order was 3 and is 4"):
        other.load_state_dict(loader.state_dict())
    other.load_state_dict(loader.state_dict() | {"epoch": 1, "samples": 0})


def test_within_an_epoch_a_line_that_was_changed_in_place_is_refused(
    shapes: Path,
) -> None:
    loader = train_loader(reader(shapes), 2)
    next(iter(loader))
    state = loader.state_dict()
    path = loader.source.path  # type: ignore[attr-defined]
    text = path.read_text()
    try:
        path.write_text(
            text.replace('"which way', '"WHICH way')
        )  # as many lines and bytes as before
        changed = train_loader(reader(shapes), 2)
        with pytest.raises(
            UserError, match=rf"must be unchanged, but {path} has changed"
        ):
            changed.load_state_dict(state)
        changed.load_state_dict(
            {key: value for key, value in state.items() if key != "content"}
        )
    finally:
        path.write_text(text)


# The question ids of each batch of 2 samples, as the loader of 2026-11 gave them (seed 5).
ORDER: dict[tuple[int, int, int], list[list[int]]] = {  # by (world, rank, epoch)
    (1, 0, 0): [
        [13, 15, 11, 12, 14],
        [27, 32, 28, 17, 16, 20],
        [34, 36, 24, 23, 26],
        [33, 37, 35, 2, 0],
        [53, 48, 52, 44, 46, 45],
        [6, 9, 5, 43, 39, 38],
        [47, 56, 58],
        [31, 30, 29, 21, 18, 19],
        [25, 22, 4, 3, 1],
        [10, 8, 7, 60, 62, 59],
        [49, 51, 50, 64, 61, 63],
        [55, 54, 57, 41, 40, 42],
    ],
    (1, 0, 1): [
        [47, 44, 46, 11, 12, 13],
        [51, 50, 49, 61, 62, 64],
        [45, 63, 60, 59],
        [25, 24, 52, 48, 53],
        [20, 19, 18, 10, 8, 6],
        [29, 30, 32, 42, 39, 41],
        [3, 1, 17, 21, 16],
        [37, 33, 36, 31, 27, 28],
        [7, 9, 5, 2, 0, 4],
        [58, 55, 22, 26, 23],
        [15, 14, 34, 35],
        [38, 43, 40, 56, 54, 57],
    ],
    (2, 1, 0): [
        [11, 12, 14, 17, 16, 20],
        [24, 23, 26, 2, 0],
        [44, 46, 45, 43, 39, 38],
        [56, 58, 21, 18, 19],
        [4, 3, 1, 60, 62, 59],
        [64, 61, 63, 41, 40, 42],
    ],
    (3, 2, 1): [
        [51, 50, 49, 63, 60, 59],
        [20, 19, 18, 42, 39, 41],
        [37, 33, 36, 2, 0, 4],
        [15, 14, 56, 54, 57],
    ],
}


@pytest.mark.parametrize(("world", "rank", "epoch"), ORDER)
def test_the_order_is_that_of_earlier_versions(
    shapes: Path, world: int, rank: int, epoch: int
) -> None:
    loader = train_loader(reader(shapes), 2, rank=rank, world=world, seed=5)
    batches = one_epoch(loader, epoch)
    ids_of_batches = [
        [record["question_id"] for record in batch.records] for batch in batches
    ]
    assert ids_of_batches == ORDER[world, rank, epoch]


def test_the_number_of_workers_changes_nothing(shapes: Path) -> None:
    alone, helped = (
        train_loader(reader(shapes), 4, seed=2, workers=workers) for workers in (0, 2)
    )
    for epoch in range(2):
        assert all(
            same(a, b)
            for a, b in zip(
                one_epoch(alone, epoch), one_epoch(helped, epoch), strict=True
            )
        )


def test_loading_leaves_the_global_random_numbers_alone(shapes: Path) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one_epoch(train_loader(reader(shapes), 4))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_file_is_replaced_with_its_questions(
    shapes: Path, tmp_path: Path, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    data = reader(spoil(shapes, tmp_path / "s", 2))
    loader = train_loader(data, 4, workers=workers, max_bad_fraction=0.2)
    with caplog.at_level(logging.WARNING):
        batches = one_epoch(loader)
    broken = {"train_00000", "train_00001"}
    assert {Path(path).stem for path in loader.bad} == broken
    assert all(name in caplog.text for name in broken)
    seen = [record for batch in batches for record in batch.records]
    assert not broken & {record["video_id"] for record in seen}
    for batch in batches:
        names = [batch.records[row]["video_id"] for row in range(len(batch.records))]
        clips = batch.inputs["video_index"].tolist()
        assert len(set(zip(clips, names, strict=True))) == len(set(clips)), (
            "a clip keeps its own questions"
        )
    again = train_loader(reader(tmp_path / "s"), 4, max_bad_fraction=0.2)
    assert all(same(a, b) for a, b in zip(batches, one_epoch(again), strict=True))


def test_too_many_broken_files_stop_the_run_with_the_list(
    shapes: Path, tmp_path: Path
) -> None:
    loader = train_loader(
        reader(spoil(shapes, tmp_path / "s", 3)), 4, max_bad_fraction=0.2
    )
    with pytest.raises(
        UserError,
        match=r"3 of 12 files cannot be used, but data\.max_bad_fraction allows 2\.4",
    ) as caught:
        one_epoch(loader)
    assert all(f"train_0000{index}.mp4" in str(caught.value) for index in range(3))


@pytest.mark.parametrize("world", mostly_slow([1, 2, 4], [2]))
@pytest.mark.parametrize(("broken", "stops"), [(2, False), (3, True)])
def test_ranks_stop_at_as_many_broken_files_as_one_process_does(
    shapes: Path, tmp_path: Path, world: int, broken: int, stops: bool
) -> None:
    data = reader(spoil(shapes, tmp_path / "s", broken))
    store = torch.distributed.HashStore()
    stopped = []
    for rank in range(world):
        loader = train_loader(
            data,
            4,
            rank=rank,
            world=world,
            max_bad_fraction=0.2,
            counter=BadFileCounter(store, "train"),
        )
        try:
            one_epoch(loader)
        except UserError as error:
            assert "3 of 12 files" in str(error)
            stopped.append(rank)
    assert bool(stopped) == stops


def test_a_run_of_several_ranks_counts_in_its_own_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert shared_counter().store is None
    # Stands in for a process group: one that a test before this one made must outlive it.
    dist = torch.distributed
    store = dist.HashStore()
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist.distributed_c10d, "_get_default_store", lambda: store)
    first, second = shared_counter(), shared_counter()
    assert [first.add(name) for name in ("a", "a", "b")] == [1, 1, 2]
    assert second.add("a") == 1, "another loader counts its own files"
    assert BadFileCounter(first.store, first.name).add("c") == 3, (
        "another rank goes on counting"
    )


def test_the_order_of_an_epoch_is_made_once(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = reader(spoil(shapes, tmp_path / "s", 2))
    made: list[int] = []
    make = data.requests
    monkeypatch.setattr(
        data, "requests", lambda epoch, seed: made.append(epoch) or make(epoch, seed)
    )
    loader = train_loader(data, 4, max_bad_fraction=1.0)
    batches = iter(loader)
    steps = loader.steps_per_epoch()
    assert steps is not None
    for _ in range(2 * steps):
        next(batches)
    assert len(loader.bad) == 2
    assert made == [0, 1]


def test_if_nothing_can_be_decoded_the_run_ends(shapes: Path, tmp_path: Path) -> None:
    loader = train_loader(
        reader(spoil(shapes, tmp_path / "s", 12)), 4, max_bad_fraction=1.0
    )
    with pytest.raises(UserError, match="none of 100 samples"):
        one_epoch(loader)


def test_evaluation_keeps_a_row_for_every_question_of_a_broken_file(
    shapes: Path, tmp_path: Path
) -> None:
    data = reader(spoil(shapes, tmp_path / "s", 1, "val"), training=False, split="val")
    loader = eval_loader(data, 3, max_bad_fraction=0.5)
    records = [record for batch in loader for record in batch.records]
    assert [record["question_id"] for record in records] == list(range(len(data.items)))
    assert {record["video_id"] for record in records if "bad" in record} == {
        "val_00000"
    }
    assert [Path(path).name for path in loader.bad] == ["val_00000.mp4"]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_an_evaluation_loader_knows_its_records_without_those_that_pad(
    shapes: Path, world: int
) -> None:
    counted = 0
    for rank in range(world):
        loader = eval_loader(
            reader(shapes, training=False, split="val"), 2, rank=rank, world=world
        )
        for batch in loader:
            counted += sum("padding" not in record for record in batch.records)
    assert loader.num_records == counted == len(loader.source.items)  # type: ignore[attr-defined]


SPEC = """
inputs: {{video: frames V 3 T H W, question: text Q L, video_index: index Q -> V}}
modules: {{}}
flow: {{}}
goals: {{}}
data:
  kind: question_answer
  tokenizer: {shapes}/vocab.txt
  workers: 0
  max_bad_fraction: 0.01
  media: {shapes}/videos
  questions_per_clip: 6
  train: {{path: {shapes}/qa_train.jsonl}}
  test: {{path: {shapes}/nowhere.jsonl}}
"""


def test_a_spec_says_what_is_loaded(shapes: Path) -> None:
    spec = parse_spec(SPEC.format(shapes=shapes), "my.yaml")
    loader = build_loader(
        spec, TYPES, BatchSpec("train", "data", "train", micro_batch=4)
    )
    batch = next(iter(loader))
    assert set(batch.inputs) == {"video", "question", "video_index"}
    assert batch.inputs["video"].shape == (4, 3, 6, 24, 24)
    assert Counter(batch.inputs["video_index"].tolist()).most_common(1)[0][1] <= 6


def test_a_missing_path_is_named_with_its_place_in_the_spec(shapes: Path) -> None:
    spec = parse_spec(SPEC.format(shapes=shapes), "my.yaml")
    with pytest.raises(
        UserError,
        match=r"^my\.yaml:14:\d+: the annotation file must exist, but .*nowhere\.jsonl",
    ):
        build_eval_loader(spec, TYPES, "data", "test", batch_size=4)
    with pytest.raises(
        UserError, match=r"my\.yaml:\d+:\d+: data must have a section 'val'"
    ):
        build_eval_loader(spec, TYPES, "data", "val", batch_size=4)


def test_a_module_that_knows_fewer_words_than_the_tokenizer_is_named(
    shapes: Path,
) -> None:
    words = len(vocabulary())
    text = SPEC.format(shapes=shapes).replace(
        "modules: {}",
        "modules: {words: {use: text_embedding, width: 8, vocab_size: NUMBER, max_positions: 32}}",
    )
    message = rf"^my\.yaml:3:62: vocab_size of 'words' must be at least {words}, .*but is {words - 1}\n"
    too_small = parse_spec(text.replace("NUMBER", str(words - 1)), "my.yaml")
    with pytest.raises(UserError, match=message):
        build_eval_loader(too_small, TYPES, "data", "train")
    assert (
        load_tokenizer(parse_spec(text.replace("NUMBER", str(words)))).vocab_size
        == words
    )


def test_frames_are_normalised_pictures(shapes: Path) -> None:
    batch = next(iter(eval_loader(reader(shapes, training=False), 12)))
    video = batch.inputs["video"]
    assert video.dtype == torch.float32
    assert -2 < video.min() < -1
    assert 1 < video.max() < 2.7
    moving = (video[:, :, 0] - video[:, :, 3]).abs().amax((1, 2, 3))
    assert (moving > 0.5).all(), "something moves or changes in every clip"


def test_records_are_written_as_json(shapes: Path) -> None:
    batch = next(iter(train_loader(reader(shapes), 2)))
    assert json.loads(json.dumps(batch.records)) == batch.records
    assert np.all([record["type"] for record in batch.records])
