"""Tables of ViLT and VLMo: every recorded row, other types of columns, and what is wrong with a file."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from loaders import make_source_of

from mplug2.data.arrow.rows import lines_of
from mplug2.data.arrow.table import ArrowTable
from mplug2.data.batch import FailedSample, Sample
from mplug2.data.shapes.questions import vocabulary
from mplug2.data.sources.arrow import ArrowSource
from mplug2.data.tasks.caption import RetrievalTask
from mplug2.data.tasks.question_answer import QuestionAnswerTask
from mplug2.data.tasks.text_label import TextLabelTask
from mplug2.data.text import Tokenizer
from registry import UserError
from registry.language.ports import StreamType

IMAGE = StreamType("image", ("V", 3, 16, 16))


@pytest.fixture
def arrow(shared: Path) -> Path:
    pytest.importorskip("pyarrow")
    return shared / "data" / "arrow"


def source(
    task: Any, tables: Sequence[Path], views: Sequence[str] = ("image",), **more: Any
) -> ArrowSource:
    words = Tokenizer({token: index for index, token in enumerate(vocabulary())})
    settings = {"types": dict.fromkeys(views, IMAGE), "tokenizer": words} | more
    paths = [str(path) for path in tables]
    made = make_source_of(ArrowSource, task, arrow=paths, **settings)
    assert isinstance(made, ArrowSource)
    return made


def recorded(folder: Path, split: str) -> tuple[list[Path], list[dict[str, Any]]]:
    """Return the tables of a split and the samples that the official reader gives for it."""
    facts = json.loads((folder / "expected.json").read_text())["splits"][split]
    return [folder / f"{name}.arrow" for name in facts["tables"]], facts["samples"]


@pytest.mark.parametrize(
    ("name", "split"), [("coco", "train"), ("f30k", "train"), ("f30k", "test")]
)
def test_every_recorded_caption_is_read_in_its_order(
    name: str, split: str, arrow: Path
) -> None:
    tables, samples = recorded(arrow / name, split)
    data = source(RetrievalTask, tables, training=True)
    starts, total = {}, 0  # recorded rows count through all tables of a split
    for path in tables:
        starts[path.stem] = total
        total += len(ArrowTable(path))
    expected = []
    for sample in samples:
        row = sample["row"] - starts[sample["table"]]
        expected.append((f"{sample['table']}/{row}.image", sample["text"]))
    assert [
        (item.media[0], text) for item in data.items for text in item.texts
    ] == expected


def test_every_recorded_image_has_the_stored_bytes(arrow: Path) -> None:
    facts = json.loads((arrow / "coco" / "expected.json").read_text())["files"]
    for name, entry in facts.items():
        table = ArrowTable(arrow / "coco" / f"{name}.arrow")
        assert len(table) == entry["rows"]
        for row, record in enumerate(entry["records"]):
            content = table.image(row, "image").read()
            assert hashlib.sha256(content).hexdigest() == record["image"]["sha256"]
    data = source(RetrievalTask, [arrow / "coco/coco_caption_karpathy_restval.arrow"])
    again = pickle.loads(pickle.dumps(data))
    for copy in (data, again):
        samples = [copy.read(request) for request in copy.requests(0, 0)]
        assert all(isinstance(sample, Sample) for sample in samples)
        assert copy.collate(samples).inputs["image"].shape == (2, 3, 16, 16)


def test_questions_have_their_answers_with_votes(arrow: Path) -> None:
    tables, samples = recorded(arrow / "vqa", "train")
    data = source(QuestionAnswerTask, tables, training=True)
    assert [(item.id, item.text) for item in data.items] == [
        (sample["qid"], sample["text"]) for sample in samples
    ]
    scores = {1: 0.3, 2: 0.6, 3: 0.9, 4: 1.0}
    for item, sample in zip(data.items, samples, strict=True):
        assert list(item.answers) == sample["vqa_answer"]
        assert [scores[int(count)] for count in item.counts] == sample["vqa_scores"]


def test_pairs_have_two_images(arrow: Path) -> None:
    tables, samples = recorded(arrow / "nlvr2", "train")
    settings = {
        "views": ("left", "right"),
        "labels": ["False", "True"],
        "training": True,
    }
    data = source(TextLabelTask, tables, **settings)
    assert [(item.text, item.label == "True") for item in data.items] == [
        (sample["text"], sample["answers"]) for sample in samples
    ]
    first = data.read(data.requests(0, 0)[0])
    assert isinstance(first, Sample) and len(first.views) == 2


@pytest.mark.parametrize("variant", ["large_string", "large_types", "many_batches"])
def test_other_types_and_batches_give_the_same_lines(variant: str, arrow: Path) -> None:
    name = "f30k_caption_karpathy_train.arrow"
    plain, other = (
        ArrowTable(folder / name)
        for folder in (arrow / "f30k", arrow / "variants" / variant)
    )
    assert list(lines_of(other)) == list(lines_of(plain))
    contents = [
        [table.image(row, "image").read() for row in range(len(table))]
        for table in (plain, other)
    ]
    assert contents[0] == contents[1]


def test_tables_of_other_types_are_read_together_and_empty_ones_add_nothing(
    arrow: Path,
) -> None:
    mixed = arrow / "variants" / "mixed_string"
    names = ("coco_caption_karpathy_train.arrow", "coco_caption_karpathy_restval.arrow")
    _, samples = recorded(arrow / "coco", "train")
    data = source(RetrievalTask, [mixed / name for name in names], training=True)
    assert [text for item in data.items for text in item.texts] == [
        sample["text"] for sample in samples
    ]
    empty = arrow / "variants" / "empty_table"
    both = source(
        QuestionAnswerTask,
        [empty / "vqav2_train.arrow", empty / "vqav2_trainable_val.arrow"],
    )
    assert len(both.items) == len(
        source(QuestionAnswerTask, [empty / "vqav2_train.arrow"]).items
    )


@pytest.mark.parametrize(
    ("variant", "name", "message"),
    [
        (
            "missing_second",
            "coco_caption_karpathy_restval",
            "each table must exist, but .*restval.arrow does not",
        ),
        (
            "stream_format",
            "f30k_caption_karpathy_train",
            "must be a complete file of Arrow's IPC file format",
        ),
        (
            "truncated_half",
            "coco_caption_karpathy_val",
            "must be a complete file of Arrow's IPC file format",
        ),
        (
            "truncated_tail",
            "coco_caption_karpathy_val",
            "must be a complete file of Arrow's IPC file format",
        ),
        (
            "zero_bytes",
            "coco_caption_karpathy_val",
            "must be a complete file of Arrow's IPC file format",
        ),
        (
            "no_column",
            "f30k_caption_karpathy_test",
            "must have the columns image and caption; .* it has image",
        ),
        (
            "null_texts",
            "f30k_caption_karpathy_test",
            "row 1 must have a list of captions, but 'caption' is null",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    variant: str, name: str, message: str, arrow: Path
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        source(RetrievalTask, [arrow / "variants" / variant / f"{name}.arrow"])
    assert f"{name}.arrow" in str(caught.value)


def test_a_broken_image_is_a_failed_sample_and_an_empty_list_of_captions_no_row(
    arrow: Path,
) -> None:
    file = "f30k_caption_karpathy_test.arrow"
    data = source(RetrievalTask, [arrow / "variants/bad_image" / file])
    failures = [
        sample
        for sample in (data.read(request) for request in data.requests(0, 0))
        if isinstance(sample, FailedSample)
    ]
    assert len(failures) == 1
    assert failures[0].file.endswith(f"{file}/1.image")
    data = source(RetrievalTask, [arrow / "variants/no_texts" / file])
    assert data.names() == [f"{file.removesuffix('.arrow')}/1.image"]


def test_two_tables_of_one_name_are_refused(arrow: Path, tmp_path: Path) -> None:
    name = "coco_caption_karpathy_val.arrow"
    shutil.copy(arrow / "coco" / name, tmp_path / name)
    with pytest.raises(UserError, match="tables must differ in their names"):
        source(RetrievalTask, [arrow / "coco" / name, tmp_path / name])
    with pytest.raises(UserError, match="must name at least one table"):
        source(RetrievalTask, [])
