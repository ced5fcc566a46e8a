"""Every kind of stream keeps the contract of its torch half; padding and row numbers survive joining."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from kind_contract import CHECKS, ROWS, random_value

import mplug2  # noqa: F401  (fills the registries)
from modules.kinds import TorchHalf, half
from modules.streams import Regions, Sequences, Text, Tokens, to_device
from registry import KINDS
from registry.kinds import TORCH_HALF

STREAMS = [name for name in KINDS.names() if not KINDS[name].ports_only]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", STREAMS)
def test_every_kind_keeps_the_contract(name: str, check: Callable[[str], None]) -> None:
    check(name)


def test_the_required_methods_are_those_of_the_protocol() -> None:
    members = {name for name in vars(TorchHalf) if not name.startswith("_")}
    assert members | set(TorchHalf.__annotations__) == set(TORCH_HALF)


@pytest.mark.parametrize("name", ["labels", "index"])
def test_random_numbers_are_in_range_and_reach_every_class(name: str) -> None:
    value = half(name).random([5], torch.Generator(), 3)
    assert value.dtype == torch.long
    assert value.unique().tolist() == [0, 1, 2]


def test_random_boxes_have_their_corners_in_order() -> None:
    boxes = half("boxes").random([50, 4], torch.Generator().manual_seed(0), ROWS)
    assert bool((boxes[:, :2] <= boxes[:, 2:]).all())
    assert bool((boxes >= 0).all() and (boxes <= 1).all())


def test_random_text_is_padded_and_random_masks_leave_no_row_empty() -> None:
    text = random_value("text")
    assert text.mask[-1].tolist() == [True, True, True, False]
    assert bool((text.ids[~text.mask] == 0).all() and (text.ids[text.mask] > 0).all())
    mask = half("mask").random([40, 3], torch.Generator().manual_seed(0), ROWS)
    assert mask.dtype == torch.bool
    assert bool(mask.any(dim=1).all()) and not bool(mask.all())


def test_random_sequences_are_best_first() -> None:
    scores = random_value("sequences").scores
    assert torch.equal(scores, scores.sort(descending=True).values)


def test_pixels_take_the_precision_of_the_network_and_targets_keep_theirs() -> None:
    value = torch.rand(2, dtype=torch.float64)
    for name in ("frames", "image", "vector"):
        assert half(name).cast(value, torch.bfloat16).dtype == torch.bfloat16
    for name in ("scores", "boxes", "weight", "logits", "scalar"):
        assert half(name).cast(value, torch.bfloat16).dtype == torch.float32
    pixels = torch.zeros(2, dtype=torch.uint8)
    assert half("frames").cast(pixels, torch.bfloat16).dtype == torch.uint8


def test_regions_keep_their_boxes_in_full_precision_and_are_padded_with_their_masks() -> (
    None
):
    short = Regions(torch.ones(1, 1, 3), torch.tensor([[[0.1, 0.2, 0.3, 0.4]]]))
    long = Regions(
        torch.ones(1, 2, 3), torch.zeros(1, 2, 4), torch.tensor([[True, False]])
    )
    cast = half("regions").cast(short, torch.bfloat16)
    assert (cast.features.dtype, cast.boxes.dtype) == (torch.bfloat16, torch.float32)
    joined = half("regions").concat([short, long])
    assert joined.mask.tolist() == [[True, False], [True, False]]
    assert joined.features[..., 0].tolist() == [[1.0, 0.0], [1.0, 1.0]]
    assert joined.boxes[0, 1].tolist() == [0.0] * 4
    assert half("regions").concat([short, short]).mask is None
    assert half("regions").select(joined, torch.tensor([1])).mask.tolist() == [
        [True, False]
    ]


def test_texts_of_different_lengths_are_padded_with_their_masks() -> None:
    short = Text(torch.tensor([[5, 6]]), torch.tensor([[True, True]]))
    long = Text(torch.tensor([[7, 8, 9]]), torch.tensor([[True, True, False]]))
    joined = half("text").concat([short, long])
    assert joined.ids.tolist() == [[5, 6, 0], [7, 8, 9]]
    assert joined.mask.tolist() == [[True, True, False], [True, True, False]]


def test_texts_keep_their_segments_and_word_starts() -> None:
    ids, yes = torch.tensor([[5, 6]]), torch.tensor([[True, True]])
    plain = Text(ids, yes)
    pair = Text(ids, yes, torch.tensor([[0, 1]]), torch.tensor([[True, False]]))
    longer = Text(
        torch.tensor([[7, 8, 9]]),
        torch.ones(1, 3, dtype=torch.bool),
        torch.tensor([[0, 1, 1]]),
    )
    kind = half("text")

    joined = kind.concat([pair, plain, longer])
    # A text without segments is one segment; word starts that a text lacks cannot be made up.
    assert joined.segments.tolist() == [[0, 1, 0], [0, 0, 0], [0, 1, 1]]
    assert joined.word_start is None
    assert kind.concat([plain, plain]).segments is None
    assert kind.concat([pair, pair]).word_start.tolist() == [
        [True, False],
        [True, False],
    ]

    for value in (
        kind.select(joined, torch.tensor([2, 0])),
        kind.detach(kind.select(joined, torch.tensor([2, 0]))),
        kind.to_device(kind.select(joined, torch.tensor([2, 0])), "cpu"),
        to_device(kind.select(joined, torch.tensor([2, 0])), "cpu"),
    ):
        assert isinstance(value, Text)
        assert value.segments is not None and value.segments.tolist() == [
            [0, 1, 1],
            [0, 1, 0],
        ]
    assert len(kind.tensors(pair)) == 4 and len(kind.tensors(plain)) == 2
    assert kind.shape(pair) == [1, 2]


def test_hidden_states_of_different_lengths_get_a_mask() -> None:
    short, long = Tokens(torch.ones(1, 2, 4)), Tokens(torch.ones(2, 3, 4))
    assert half("tokens").concat([long, long]).mask is None
    joined = half("tokens").concat([short, long])
    assert joined.values.shape == (3, 3, 4)
    assert joined.values[0, 2].tolist() == [0, 0, 0, 0]
    assert joined.mask is not None
    assert joined.mask.tolist() == [
        [True, True, False],
        [True, True, True],
        [True, True, True],
    ]


def test_masks_of_different_lengths_are_padded_with_false() -> None:
    joined = half("mask").concat(
        [torch.ones(1, 2, dtype=torch.bool), torch.ones(1, 3, dtype=torch.bool)]
    )
    assert joined.tolist() == [[True, True, False], [True, True, True]]


def test_sequences_are_joined_with_all_their_fields() -> None:
    def sequences(length: int) -> Sequences:
        ids = torch.ones(1, 2, length, dtype=torch.long)
        return Sequences(
            ids,
            torch.zeros(1, 2),
            torch.ones(1, 2, length),
            torch.full((1, 2), length - 1),
        )

    joined = half("sequences").concat([sequences(2), sequences(3)])
    assert joined.ids[0].tolist() == [[1, 1, 0], [1, 1, 0]]
    assert joined.logprobs is not None and joined.logprobs[0].tolist() == [
        [1, 1, 0],
        [1, 1, 0],
    ]
    assert joined.lengths is not None and joined.lengths.tolist() == [[1, 1], [2, 2]]
    with pytest.raises(
        ValueError, match="`logprobs` of sequences must be set in all values or in none"
    ):
        half("sequences").concat([sequences(2), sequences(2)._replace(logprobs=None)])


def test_row_numbers_are_joined_with_the_rows_that_come_before() -> None:
    first, second = torch.tensor([0, 1, 1]), torch.tensor([1, 0])
    assert half("index").concat([first, second], [0, 2]).tolist() == [0, 1, 1, 3, 2]
    with pytest.raises(ValueError, match="concat needs `offsets`"):
        half("index").concat([first, second])
