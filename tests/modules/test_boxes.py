"""Boxes as coordinate words: written, read back, judged and located."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from modules.boxes import (
    box_loss,
    box_search,
    cxcywh_to_xyxy,
    decode_boxes,
    encode_boxes,
    overlap,
    xyxy_to_cxcywh,
)
from modules.decoder import TextDecoder
from modules.streams import Sequences, Tokens

SMALL = {"bins": 9, "prefix": 4}


def _boxes(rows: int, seed: int = 0) -> torch.Tensor:
    ends = torch.rand(rows, 2, 2, generator=torch.Generator().manual_seed(seed))
    return torch.cat([ends.amin(dim=1), ends.amax(dim=1)], dim=1)


def _decoder() -> TextDecoder:
    torch.manual_seed(0)
    return TextDecoder(
        width=32, depth=2, heads=2, vocab_size=20, max_positions=8, types=1, dropout=0.1
    )


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4))
def test_a_box_comes_back_within_a_bin(ends: list[float]) -> None:
    (left, right), (top, bottom) = sorted(ends[:2]), sorted(ends[2:])
    box = torch.tensor([[left, top, right, bottom]])
    words = encode_boxes(box)
    assert (
        words.ids.shape == (1, 5)
        and int(words.ids[0, 0]) == 344
        and bool(words.mask.all())
    )
    assert 345 <= int(words.ids[0, 1:].min()) <= int(words.ids[0, 1:].max()) <= 681
    found = decode_boxes(Sequences(words.ids[:, None], torch.zeros(1, 1)))
    torch.testing.assert_close(found, box, atol=1.5 / 336, rtol=0.0)


def test_a_coordinate_on_a_bin_belongs_to_it_in_spite_of_rounding() -> None:
    for k in range(337):
        box = cxcywh_to_xyxy(torch.tensor([[k / 336, 0.5, 0.1, 0.3]]))
        assert encode_boxes(box).ids.tolist() == [
            [344, 345 + k, 345 + 168, 345 + 33, 345 + 100]
        ]


def test_overlap_is_what_can_be_counted() -> None:
    one, other = (
        torch.tensor([[0.0, 0.0, 0.5, 1.0]]),
        torch.tensor([[0.25, 0.0, 0.75, 0.5]]),
    )
    iou, giou = overlap(one, other)
    torch.testing.assert_close(iou, torch.tensor([0.125 / 0.625]))
    torch.testing.assert_close(giou, torch.tensor([0.125 / 0.625 - 0.125 / 0.75]))
    apart = overlap(
        torch.tensor([[0.0, 0.0, 0.1, 0.1]]), torch.tensor([[0.9, 0.9, 1.0, 1.0]])
    )
    assert float(apart[0]) == 0.0 and float(apart[1]) == pytest.approx(-0.98)
    torch.testing.assert_close(cxcywh_to_xyxy(xyxy_to_cxcywh(_boxes(5))), _boxes(5))


def test_the_loss_is_its_equation() -> None:
    box, logits = (
        _boxes(3),
        torch.randn(3, 5, 20, generator=torch.Generator().manual_seed(1)),
    )
    target = encode_boxes(box, **SMALL)
    scores, places = logits[:, :4, 5:14], target.ids[:, 1:] - 5
    ce = -scores.log_softmax(dim=-1).gather(2, places[..., None])[..., 0]
    guess = scores.argmax(dim=-1) / 8
    l1 = (guess - xyxy_to_cxcywh(box)).abs()
    far = 1 - overlap(cxcywh_to_xyxy(guess), box, 1e-5)[1]
    torch.testing.assert_close(
        box_loss(logits, target, box, weights="none", **SMALL).mean(), ce.mean()
    )
    elementwise = (ce * l1 * far[:, None]).mean()
    torch.testing.assert_close(
        box_loss(logits, target, box, **SMALL).mean(), elementwise
    )
    released = torch.stack(
        [ce[i] * l1[j] * far[j] for i in range(3) for j in range(3)]
    ).mean()
    torch.testing.assert_close(
        box_loss(logits, target, box, weights="released", **SMALL).mean(), released
    )
    assert not torch.isclose(elementwise, released)


def test_only_coordinates_get_a_gradient_and_errors_get_none() -> None:
    box, logits = _boxes(3), torch.randn(3, 5, 20).requires_grad_()
    box_loss(logits, encode_boxes(box, **SMALL), box, **SMALL).mean().backward()
    assert logits.grad is not None
    reached = logits.grad.abs().sum(dim=(0, 1)) > 0
    assert reached.nonzero().flatten().tolist() == list(range(5, 14))
    assert float(logits.grad[:, 4].abs().max()) == 0.0


def test_a_located_box_is_the_likeliest_at_every_step() -> None:
    decoder = _decoder().eval()
    memory = Tokens(
        torch.randn(3, 6, 32), torch.arange(6) < torch.tensor([[6], [3], [1]])
    )
    found = box_search(decoder, memory, **SMALL)
    assert found.ids.shape == (3, 1, 5)
    words = encode_boxes(decode_boxes(found, **SMALL), **SMALL)
    words = words._replace(ids=found.ids[:, 0])
    scores = decoder(words, memory)[:, :4, 5:14].log_softmax(dim=-1)
    assert (scores.argmax(dim=-1) + 5).tolist() == found.ids[:, 0, 1:].tolist()
    torch.testing.assert_close(scores.amax(dim=-1).sum(dim=1), found.scores[:, 0])
    assert found.logprobs is not None
    torch.testing.assert_close(scores.amax(dim=-1), found.logprobs[:, 0, 1:])


def test_locating_knows_no_dropout_and_leaves_training_as_it_was() -> None:
    decoder, memory = _decoder().train(), Tokens(torch.randn(2, 3, 32))
    first, second = (box_search(decoder, memory, **SMALL) for _ in range(2))
    assert torch.equal(first.scores, second.scores) and decoder.training


def test_a_vocabulary_without_room_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"less than the vocabulary \(20\), but prefix is 344"
    ):
        box_search(_decoder(), Tokens(torch.randn(2, 3, 32)))


def test_the_loss_teaches_a_decoder_to_find() -> None:
    decoder, box = _decoder().eval(), _boxes(4, seed=3)
    memory, target = (
        Tokens(F.one_hot(torch.arange(4), 32).float()[:, None]),
        encode_boxes(box, **SMALL),
    )
    optimizer = torch.optim.Adam(decoder.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        box_loss(
            decoder(target, memory), target, box, weights="none", **SMALL
        ).mean().backward()
        optimizer.step()
    assert (
        box_search(decoder, memory, **SMALL).ids[:, 0].tolist() == target.ids.tolist()
    )
