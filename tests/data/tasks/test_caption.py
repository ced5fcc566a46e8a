"""Captions to write and to find by: prompts, references, one a file in training, all in evaluation."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loaders import make_source
from PIL import Image

from mplug2.data.shapes.questions import vocabulary
from mplug2.data.tasks.caption import CaptionTask, RetrievalTask
from mplug2.data.text import Tokenizer
from registry.errors import UserError
from registry.language.ports import StreamType

TYPES = {"image": StreamType("image", ("B", 3, 16, 16))}
ROWS = [
    {"image": "a.png", "caption": "a red Circle."},
    {"image": "b.png", "captions": ["two shapes", "a blue ring"]},
    {"image": "a.png", "caption": "one shape"},
]


@pytest.fixture
def media(tmp_path: Path) -> Path:
    for name, colour in (("a", (255, 0, 0)), ("b", (0, 0, 255)), ("c", (0, 255, 0))):
        Image.new("RGB", (20, 12), colour).save(tmp_path / f"{name}.png")
    return tmp_path


def arguments(media: Path, rows: list[dict], **more: Any) -> dict[str, Any]:
    path = media / "captions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = Tokenizer({token: index for index, token in enumerate(vocabulary())})
    return {
        "path": str(path),
        "media": str(media),
        "types": TYPES,
        "tokenizer": words,
        **more,
    }


def test_training_has_a_row_a_caption_with_the_references_of_its_file(
    media: Path,
) -> None:
    data = make_source(CaptionTask, **arguments(media, ROWS, training=True))
    assert len(data) == 4
    batch = data.collate([data[index] for index in range(4)])  # type: ignore[misc]
    words = data.task.tokenizer
    said = {
        words.decode(row): given
        for row, given in zip(
            batch.inputs["caption"].ids, batch.inputs["references"], strict=True
        )
    }
    assert said == {
        "a red circle": ["a red Circle.", "one shape"],
        "one shape": ["a red Circle.", "one shape"],
        "two shapes": ["two shapes", "a blue ring"],
        "a blue ring": ["two shapes", "a blue ring"],
    }
    assert batch.inputs["image"].shape == (4, 3, 16, 16)
    assert (batch.inputs["caption"].ids == words.sep).sum(dim=1).tolist() == [1] * 4


def test_a_network_reads_captions_cleaned_or_as_written(media: Path) -> None:
    rows = [{"image": "a.png", "caption": "a red Circle, two"}]
    for how, expected in (
        ("cleaned", "a red circle two"),
        ("as written", "a red Circle, two"),
    ):
        data = make_source(
            RetrievalTask, **arguments(media, rows, training=True, caption_text=how)
        )
        (ids,) = data.collate([data[0]]).inputs["caption"].ids.tolist()  # type: ignore[list-item]
        assert ids == data.task.tokenizer.encode(expected)


def test_evaluation_has_a_row_a_file_with_all_its_captions(media: Path) -> None:
    data = make_source(CaptionTask, **arguments(media, ROWS))
    batch = data.collate([data[0], data[1]])  # type: ignore[list-item]
    assert [(record["image"], record["references"]) for record in batch.records] == [
        ("a.png", ["a red Circle.", "one shape"]),
        ("b.png", ["two shapes", "a blue ring"]),
    ]


def test_the_prompt_stands_before_the_caption_without_a_space_and_is_cut_with_it(
    media: Path,
) -> None:
    data = make_source(
        CaptionTask, **arguments(media, ROWS, prompt="there is", caption_tokens=5)
    )
    batch = data.collate([data[0]])  # type: ignore[list-item]
    words = data.task.tokenizer
    whole = words.encode("there isa red circle[SEP]")
    assert batch.inputs["caption"].ids[0].tolist() == whole[:5]
    assert batch.inputs["prompt"].ids[0].tolist() == [
        words.cls,
        *words.encode("there is")[1:],
    ]


def test_a_caption_that_is_too_long_loses_its_end_with_the_rest(media: Path) -> None:
    """As released: the text with [SEP] is cut; one that just fits keeps it."""
    data = make_source(CaptionTask, **arguments(media, ROWS, caption_tokens=5))
    ids = data.collate([data[0], data[1]]).inputs["caption"].ids  # type: ignore[list-item]
    assert data.task.tokenizer.decode(ids[0]) == "a red circle"
    assert ids[0].tolist()[-1] == data.task.tokenizer.sep
    short = make_source(CaptionTask, **arguments(media, ROWS, caption_tokens=4))
    cut = short.collate([short[0]]).inputs["caption"].ids[0].tolist()  # type: ignore[list-item]
    assert cut == ids[0].tolist()[:4]


def test_retrieval_shows_every_caption_once_an_epoch_beside_its_file(
    media: Path,
) -> None:
    data = make_source(RetrievalTask, **arguments(media, ROWS, training=True))
    orders = {
        tuple(group.items for group in data.requests(epoch, 0)) for epoch in range(8)
    }
    assert len(orders) > 1
    for order in orders:
        assert sorted(order) == [(0,), (1,), (2,), (3,)]
    batch = data.collate([data.read(group) for group in data.requests(0, 0)])  # type: ignore[misc]
    words = data.task.tokenizer
    said = sorted(
        (words.decode(ids), group)
        for ids, group in zip(
            batch.inputs["caption"].ids, batch.inputs["media_id"].tolist(), strict=True
        )
    )
    assert said == [
        ("a blue ring", 1),
        ("a red circle", 0),
        ("one shape", 0),
        ("two shapes", 1),
    ]
    assert len(batch.inputs["image"]) == 4


def test_retrieval_evaluates_all_captions_of_a_file_and_says_whose_they_are(
    media: Path,
) -> None:
    data = make_source(RetrievalTask, **arguments(media, ROWS))
    batch = data.collate([data[0], data[1]])  # type: ignore[list-item]
    assert batch.inputs["image"].shape[0] == 2
    assert len(batch.inputs["caption"].ids) == 4
    assert batch.inputs["media_id"].tolist() == [0, 0, 1, 1]
    assert len(batch.records) == 2


# lines, of which some are about the same file
lines = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.lists(
            st.text(min_size=1, max_size=12).filter(str.strip), min_size=1, max_size=5
        ),
    ),
    min_size=1,
    max_size=6,
)
here = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=30,
)


@here
@given(lines=lines, together=st.integers(1, 4), epoch=st.integers(0, 3))
@pytest.mark.parametrize("reader", [CaptionTask, RetrievalTask])
def test_an_epoch_shows_every_caption_once(
    media: Path, reader: type[CaptionTask], lines: list[Any], together: int, epoch: int
) -> None:
    rows = [{"image": f"{name}.png", "captions": texts} for name, texts in lines]
    data = make_source(
        reader, **arguments(media, rows, training=True, captions_per_clip=together)
    )
    groups = data.requests(epoch, seed=3)
    shown = [
        (data.items[number].media, data.items[number].texts)
        for one in groups
        for number in one.items
    ]
    given = [((f"{name}.png",), (text,)) for name, texts in lines for text in texts]
    assert Counter(shown) == Counter(given)
    for group in groups:
        assert len(group.items) <= together
        assert {data.items[number].media for number in group.items} == {group.media}
    assert len(groups) == sum(
        -(-n // together) for n in Counter(name for name, _ in given).values()
    )


@here
@given(lines=lines)
def test_any_captions_are_kept_whole_and_cut_for_the_network(
    media: Path, lines: list[Any]
) -> None:
    rows = [{"image": f"{name}.png", "captions": texts} for name, texts in lines]
    told: dict[str, list[str]] = {}
    for name, texts in lines:
        told.setdefault(f"{name}.png", []).extend(texts)
    written = make_source(CaptionTask, **arguments(media, rows, caption_tokens=6))
    batch = written.collate([written[index] for index in range(len(written))])  # type: ignore[misc]
    assert {record["image"]: record["references"] for record in batch.records} == told
    assert (
        batch.inputs["references"]
        == list(told.values())
        == written.task.references(written.items)
    )
    assert 2 <= batch.inputs["caption"].ids.shape[1] <= 6
    found = make_source(RetrievalTask, **arguments(media, rows))
    batch = found.collate([found[index] for index in range(len(found))])  # type: ignore[misc]
    counts = [len(texts) for texts in told.values()]
    groups = [number for number, count in enumerate(counts) for _ in range(count)]
    assert (
        batch.inputs["media_id"].tolist()
        == batch.inputs["image_index"].tolist()
        == groups
    )
    assert len(batch.inputs["caption"].ids) == sum(counts)


@here
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["image", "video_id", "caption", "captions"]), inner
            )
        ),
        max_leaves=8,
    )
)
def test_any_line_is_captions_or_a_message_that_names_it(
    media: Path, value: Any
) -> None:
    given = arguments(media, [])
    Path(given["path"]).write_text(json.dumps(value))
    try:
        items = make_source(CaptionTask, **given, training=True).items
    except UserError as error:
        assert "captions.jsonl" in str(error)
    else:
        assert all(isinstance(text, str) for item in items for text in item.texts)


def test_a_broken_image_is_handed_on_and_stands_black(media: Path) -> None:
    (media / "b.png").write_bytes((media / "b.png").read_bytes()[:60])
    data = make_source(CaptionTask, **arguments(media, ROWS))
    broken = data[1]
    assert "b.png cannot be decoded" in broken.reason  # type: ignore[union-attr]
    black = data.blank(broken)  # type: ignore[arg-type]
    assert torch.equal(black.views[0], torch.zeros(3, 16, 16))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"image": "a.png"}', "but has no 'caption'"),
        ('{"caption": "x"}', "but has no 'video_id'"),
        (
            '{"image": "a.png", "captions": []}',
            "'caption' must be a text or a list of texts, but is []",
        ),
        (
            '{"image": "a.png", "caption": 3}',
            "'caption' must be a text or a list of texts, but is 3",
        ),
        ('{"images": ["a.png", "b.png"], "caption": "x"}', "must name 1 file(s)"),
    ],
)
def test_a_malformed_line_is_named(media: Path, line: str, said: str) -> None:
    given = arguments(media, [])
    Path(given["path"]).write_text('{"image": "a.png", "caption": "x"}\n' + line)
    with pytest.raises(UserError) as caught:
        make_source(CaptionTask, **given)
    assert said in str(caught.value)
    assert ":2: " in str(caught.value) or "entry 2" in str(caught.value)


def test_a_network_must_say_what_it_reads(media: Path) -> None:
    given = arguments(media, ROWS) | {
        "types": {"caption": StreamType("text", ("B", "L"))}
    }
    names = "video; image; region_image; left and right"
    with pytest.raises(
        UserError, match=f"inputs of one of these names: {names}; it reads none"
    ):
        make_source(CaptionTask, **given)


def test_retrieval_may_show_a_file_once_for_several_captions(media: Path) -> None:
    given = arguments(media, ROWS, training=True, captions_per_clip=2)
    together = make_source(
        RetrievalTask, **given, inputs={"image", "image_index", "caption", "media_id"}
    )
    batch = together.collate([together[index] for index in range(2)])  # type: ignore[misc]
    assert batch.inputs["image"].shape[0] == 2
    assert batch.inputs["image_index"].tolist() == [0, 0, 1, 1]
    assert sorted(batch.inputs["media_id"].tolist()) == [0, 0, 1, 1]
    repeated = make_source(
        RetrievalTask, **given, inputs={"image", "caption", "media_id"}
    )
    batch = repeated.collate([repeated[index] for index in range(2)])  # type: ignore[misc]
    assert batch.inputs["image"].shape[0] == len(batch.inputs["caption"].ids) == 4
