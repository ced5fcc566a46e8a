"""The loader covers every question once over all ranks, resumes anywhere, and counts what is broken."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from mplug2.data.bad_files import BadFileCounter, shared_tally
from mplug2.data.batch import Batch
from mplug2.data.loader import Loader, build_loader, load_tokenizer
from mplug2.data.shapes.questions import vocabulary
from mplug2.data.shapes.write import make_shapes
from mplug2.data.tasks.question_answer import QuestionAnswer
from mplug2.data.text import Tokenizer
from registry import parse_spec
from registry.errors import UserError
from registry.language.ports import StreamType

TYPES = {"video": StreamType("frames", ("V", 3, 6, 24, 24))}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    make_shapes(folder, seed=1, train=12, val=5, test=5, size=24, frames=6, workers=1)
    return folder


def reader(
    shapes: Path, *, training: bool = True, per_clip: int = 3, split: str = "train", **more: object
) -> QuestionAnswer:
    words = Tokenizer({token: index for index, token in enumerate(vocabulary())})
    return QuestionAnswer(
        path=str(shapes / f"qa_{split}.jsonl"),
        media=str(shapes / "videos"),
        types=TYPES,
        tokenizer=words,
        split=split,
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
    (target / f"qa_{split}.jsonl").write_text((shapes / f"qa_{split}.jsonl").read_text())
    return target


def ids(batches: list[Batch]) -> list[int]:
    return [record["question_id"] for batch in batches for record in batch.records if "padding" not in record]


def same(first: Batch, second: Batch) -> bool:
    return first.records == second.records and all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else torch.equal(a.ids, b.ids)
        for a, b in zip(first.inputs.values(), second.inputs.values(), strict=True)
    )


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_ranks_share_an_epoch_and_make_equally_many_steps(shapes: Path, world: int) -> None:
    data = reader(shapes)
    loaders = [Loader(data, batch=2, rank=rank, world=world, seed=4) for rank in range(world)]
    for loader in loaders:
        loader.set_epoch(1)
    batches = [list(loader) for loader in loaders]
    assert {len(found) for found in batches} == {len(loaders[0])}
    assert Counter(ids([batch for found in batches for batch in found])) == Counter(range(len(data.items)))


def test_two_ranks_read_what_one_with_twice_the_batch_reads(shapes: Path) -> None:
    data = reader(shapes)
    pairs = zip(*(Loader(data, batch=2, rank=rank, world=2) for rank in range(2)), strict=True)
    for (first, second), whole in zip(pairs, Loader(data, batch=4), strict=True):
        assert sorted(ids([first, second])) == sorted(ids([whole]))


def test_a_restart_goes_on_at_the_very_next_batch(shapes: Path) -> None:
    loader = Loader(reader(shapes), batch=2, seed=9)
    loader.set_epoch(2)
    whole = list(loader)
    fresh = Loader(reader(shapes), batch=2, seed=9)
    fresh.set_epoch(2, start=3)
    rest = list(fresh)
    assert len(fresh) == len(whole)
    assert len(rest) == len(whole) - 3
    assert all(same(a, b) for a, b in zip(whole[3:], rest, strict=True))
    fresh.set_epoch(3)
    assert ids(list(fresh)) != ids(whole)


def test_the_number_of_workers_changes_nothing(shapes: Path) -> None:
    alone, helped = (Loader(reader(shapes), batch=4, seed=2, workers=workers) for workers in (0, 2))
    for epoch in range(2):
        alone.set_epoch(epoch)
        helped.set_epoch(epoch, start=1)
        assert all(same(a, b) for a, b in zip(list(alone)[1:], helped, strict=True))


def test_loading_leaves_the_global_random_numbers_alone(shapes: Path) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(Loader(reader(shapes), batch=4))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_file_is_replaced_with_its_questions(
    shapes: Path, tmp_path: Path, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    data = reader(spoil(shapes, tmp_path / "s", 2))
    loader = Loader(data, batch=4, workers=workers, max_bad=0.2)
    with caplog.at_level(logging.WARNING):
        batches = list(loader)
    broken = {"train_00000", "train_00001"}
    assert {Path(path).stem for path in loader.bad} == broken
    assert all(name in caplog.text for name in broken)
    seen = [record for batch in batches for record in batch.records]
    assert not broken & {record["video_id"] for record in seen}
    for batch in batches:
        names = [batch.records[row]["video_id"] for row in range(len(batch.records))]
        clips = batch.inputs["clip"].tolist()
        assert len(set(zip(clips, names, strict=True))) == len(set(clips)), "a clip keeps its own questions"
    again = Loader(reader(tmp_path / "s"), batch=4, max_bad=0.2)
    assert all(same(a, b) for a, b in zip(batches, again, strict=True))


def test_too_many_broken_files_stop_the_run_with_the_list(shapes: Path, tmp_path: Path) -> None:
    loader = Loader(reader(spoil(shapes, tmp_path / "s", 3)), batch=4, max_bad=0.2)
    with pytest.raises(
        UserError, match=r"3 of 12 files cannot be decoded, but data\.max_bad allows 2\.4"
    ) as caught:
        list(loader)
    assert all(f"train_0000{index}.mp4" in str(caught.value) for index in range(3))


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize(("broken", "stops"), [(2, False), (3, True)])
def test_ranks_stop_at_as_many_broken_files_as_one_process_does(
    shapes: Path, tmp_path: Path, world: int, broken: int, stops: bool
) -> None:
    data = reader(spoil(shapes, tmp_path / "s", broken))
    store = torch.distributed.HashStore()
    stopped = []
    for rank in range(world):
        loader = Loader(
            data, batch=4, rank=rank, world=world, max_bad=0.2, tally=BadFileCounter(store, "train")
        )
        try:
            list(loader)
        except UserError as error:
            assert "3 of 12 files" in str(error)
            stopped.append(rank)
    assert bool(stopped) == stops


def test_a_run_of_several_ranks_counts_in_its_own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    dist = torch.distributed
    assert shared_tally().store is None
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        monkeypatch.setattr(dist, "get_world_size", lambda: 2)
        first, second = shared_tally(), shared_tally()
        assert [first.add(name) for name in ("a", "a", "b")] == [1, 1, 2]
        assert second.add("a") == 1, "another loader counts its own files"
        assert BadFileCounter(first.store, first.name).add("c") == 3, "another rank goes on counting"
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("epoch", [0, 1])
def test_the_groups_of_an_epoch_are_made_once(
    shapes: Path, tmp_path: Path, epoch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = reader(spoil(shapes, tmp_path / "s", 2))
    loader = Loader(data, batch=4, max_bad=1.0)
    asked: list[int] = []
    make = data.groups
    monkeypatch.setattr(data, "groups", lambda epoch, seed: asked.append(epoch) or make(epoch, seed))
    loader.set_epoch(epoch)
    list(loader)
    assert len(loader.bad) == 2
    assert asked == [epoch] * epoch, "those of epoch 0 are known from the start"


def test_if_nothing_can_be_decoded_the_run_ends(shapes: Path, tmp_path: Path) -> None:
    loader = Loader(reader(spoil(shapes, tmp_path / "s", 12)), batch=4, max_bad=1.0)
    with pytest.raises(UserError, match="none of 100 samples"):
        list(loader)


def test_evaluation_keeps_a_row_for_every_question_of_a_broken_file(shapes: Path, tmp_path: Path) -> None:
    data = reader(spoil(shapes, tmp_path / "s", 1, "val"), training=False, split="val")
    loader = Loader(data, batch=3, max_bad=0.5)
    records = [record for batch in loader for record in batch.records]
    assert [record["question_id"] for record in records] == list(range(len(data.items)))
    assert {record["video_id"] for record in records if "bad" in record} == {"val_00000"}
    assert [Path(path).name for path in loader.bad] == ["val_00000.mp4"]


SPEC = """
inputs: {{video: frames V 3 T H W, question: text Q L, clip: index Q}}
modules: {{}}
flow: {{}}
goals: {{}}
data:
  kind: question_answer
  tokenizer: {shapes}/vocab.txt
  workers: 0
  max_bad: 0.01
  media: {shapes}/videos
  questions_per_clip: 6
  train: {{path: {shapes}/qa_train.jsonl}}
  test: {{path: {shapes}/nowhere.jsonl}}
"""


def test_a_spec_says_what_is_loaded(shapes: Path) -> None:
    spec = parse_spec(SPEC.format(shapes=shapes), "my.yaml")
    loader = build_loader(spec, TYPES, "train", batch=4, train=True)
    batch = next(iter(loader))
    assert set(batch.inputs) == {"video", "question", "clip"}
    assert batch.inputs["video"].shape == (4, 3, 6, 24, 24)
    assert Counter(batch.inputs["clip"].tolist()).most_common(1)[0][1] <= 6


def test_a_missing_path_is_named_with_its_place_in_the_spec(shapes: Path) -> None:
    spec = parse_spec(SPEC.format(shapes=shapes), "my.yaml")
    with pytest.raises(
        UserError, match=r"^my\.yaml:14:\d+: the annotation file of the test split .*nowhere\.jsonl"
    ):
        build_loader(spec, TYPES, "test", batch=4)
    with pytest.raises(UserError, match=r"my\.yaml:\d+:\d+: data must have a section 'val'"):
        build_loader(spec, TYPES, "val", batch=4)


def test_a_module_that_knows_fewer_words_than_the_tokenizer_is_named(shapes: Path) -> None:
    words = len(vocabulary())
    text = SPEC.format(shapes=shapes).replace(
        "modules: {}", "modules: {words: {use: text_embedding, width: 8, vocab: NUMBER}}"
    )
    message = rf"^my\.yaml:3:57: vocab of 'words' must be at least {words}, .*but is {words - 1}\n"
    with pytest.raises(UserError, match=message):
        build_loader(parse_spec(text.replace("NUMBER", str(words - 1)), "my.yaml"), TYPES, "train")
    assert load_tokenizer(parse_spec(text.replace("NUMBER", str(words)))).vocab_size == words


def test_frames_are_normalised_pictures(shapes: Path) -> None:
    batch = next(iter(Loader(reader(shapes, training=False), batch=12)))
    video = batch.inputs["video"]
    assert video.dtype == torch.float32
    assert -2 < video.min() < -1
    assert 1 < video.max() < 2.7
    moving = (video[:, :, 0] - video[:, :, 3]).abs().amax((1, 2, 3))
    assert (moving > 0.5).all(), "something moves or changes in every clip"


def test_records_are_written_as_json(shapes: Path) -> None:
    batch = next(iter(Loader(reader(shapes), batch=2)))
    assert json.loads(json.dumps(batch.records)) == batch.records
    assert np.all([record["type"] for record in batch.records])
