"""The contrastive loss, its queue and its negatives, against their equations."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from modules.losses.contrastive import Contrastive
from modules.negatives import HardNegatives, uniform
from modules.ops import gather_rows
from modules.queue import NOBODY, FeatureQueue
from modules.streams import Tokens
from registry import UserError


def _unit(rows: int, seed: int, width: int = 6) -> torch.Tensor:
    return F.normalize(
        torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)), dim=1
    )


def test_without_groups_it_is_clips_loss() -> None:
    vision, text = _unit(4, 0), _unit(4, 1)
    found = Contrastive(0.1)(vision, text)
    logits, own = vision @ text.T / 0.1, torch.arange(4)
    wanted = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    torch.testing.assert_close(found["loss"], wanted)
    torch.testing.assert_close(found["vision_to_text"], logits)
    torch.testing.assert_close(found["text_to_vision"], logits.T)


def test_a_learned_log_scale_is_the_same_loss_with_another_parameter() -> None:
    vision, text = _unit(4, 0), _unit(4, 1)
    plain, scaled = (
        Contrastive(0.1, clamp="none"),
        Contrastive(0.1, clamp="none", learn="log_scale"),
    )
    losses = [module(vision, text)["loss"] for module in (plain, scaled)]
    torch.testing.assert_close(losses[0], losses[1])
    for loss in losses:
        loss.backward()
    assert [name for name, _ in scaled.named_parameters()] == ["log_scale"]
    # d loss / d log(1 / tau) = -tau * d loss / d tau
    by_temperature = plain.get_parameter("temperature").grad
    by_scale = scaled.get_parameter("log_scale").grad
    assert by_temperature is not None
    assert by_scale is not None
    torch.testing.assert_close(by_scale, -0.1 * by_temperature)


def test_captions_of_one_image_share_the_target() -> None:
    vision, text = _unit(3, 0), _unit(3, 1)
    vision[2] = vision[0]
    rows = F.log_softmax(vision @ text.T / 0.1, dim=1)
    columns = F.log_softmax(text @ vision.T / 0.1, dim=1)
    target = torch.tensor([[0.5, 0.0, 0.5], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5]])
    wanted = -((rows + columns) * target).sum() / 6
    found = Contrastive(0.1)(vision, text, torch.tensor([7, 8, 7]))["loss"]
    torch.testing.assert_close(found, wanted)


def test_soft_targets_come_from_the_momentum_features_of_the_batch() -> None:
    vision, text, group = _unit(2, 0), _unit(2, 1), torch.tensor([4, 5])
    everyone = _unit(5, 2), _unit(5, 3), torch.tensor([4, 5, 9, 4, NOBODY])
    hard = torch.tensor([[0.5, 0, 0, 0.5, 0], [0, 1, 0, 0, 0]])
    losses = []
    for own, teachers, others in (
        (vision, everyone[0], everyone[1]),
        (text, everyone[1], everyone[0]),
    ):
        soft = 0.4 * F.softmax(teachers[:2] @ others.T / 0.1, dim=1) + 0.6 * hard
        losses.append(-(soft * F.log_softmax(own @ others.T / 0.1, dim=1)).sum() / 2)
    found = Contrastive(0.1)(vision, text, group, *everyone, alpha=0.4)["loss"]
    torch.testing.assert_close(found, sum(losses) / 2)


def test_teachers_of_the_batch_soften_the_targets_of_both_ways() -> None:
    """TiMix: similarities of the features themselves, targets from their momentum twins."""
    vision, text, teachers = _unit(3, 0), _unit(3, 1), (_unit(3, 2), _unit(3, 3))
    loss = Contrastive(0.1)(
        vision, text, teacher_vision=teachers[0], teacher_text=teachers[1], alpha=0.4
    )
    expected = torch.zeros(())
    for left, right, soft in (
        (vision, text, teachers[0] @ teachers[1].T),
        (text, vision, teachers[1] @ teachers[0].T),
    ):
        target = 0.4 * F.softmax(soft / 0.1, dim=1) + 0.6 * torch.eye(3)
        expected = (
            expected - (target * F.log_softmax(left @ right.T / 0.1, dim=1)).sum() / 6
        )
    torch.testing.assert_close(loss["loss"], expected)


def test_a_given_target_serves_both_ways() -> None:
    vision, text = _unit(3, 0), _unit(3, 1)
    target = torch.softmax(
        torch.randn(3, 3, generator=torch.Generator().manual_seed(0)), dim=1
    )
    rows = F.log_softmax(vision @ text.T / 0.1, dim=1)
    columns = F.log_softmax(text @ vision.T / 0.1, dim=1)
    loss = Contrastive(0.1)(vision, text, target=target)["loss"]
    torch.testing.assert_close(loss, -((rows + columns) * target).sum() / 6)
    with pytest.raises(ValueError, match="alpha must be 0 with a target, but is 0.4"):
        Contrastive(0.1)(
            vision,
            text,
            teacher_vision=text,
            teacher_text=text,
            target=target,
            alpha=0.4,
        )


@pytest.mark.parametrize(("start", "better"), [(0.7, 0.5), (0.0001, 0.001)])
def test_a_temperature_beyond_the_bounds_finds_back(
    start: float, better: float
) -> None:
    vision, text = _unit(4, 0), _unit(4, 1)
    held, free = Contrastive(), Contrastive(start, clamp="none")
    held.load_state_dict(free.state_dict())
    torch.testing.assert_close(
        held(vision, text)["loss"], Contrastive(better)(vision, text)["loss"]
    )
    assert not torch.isclose(free(vision, text)["loss"], held(vision, text)["loss"])
    gradients = []
    for matching in (
        True,
        False,
    ):  # what asks for a lower temperature, and what asks for a higher one
        held.zero_grad()
        held(vision, vision if matching else -vision)["loss"].backward()
        assert held.temperature.grad is not None
        gradients.append(float(held.temperature.grad))
    inward = gradients[0] if start > 0.5 else gradients[1]
    outward = gradients[1] if start > 0.5 else gradients[0]
    assert outward == 0.0
    assert inward > 0.0 if start > 0.5 else inward < 0.0


@pytest.mark.parametrize("learn", ["temperature", "log_scale"])
def test_the_scale_of_clip_is_at_most_100(learn: str) -> None:
    # so similar that a wrong partner is not impossible at a scale of 100
    vision = F.normalize(1 + 0.1 * _unit(4, 0), dim=1)
    held, free = (
        Contrastive(clamp="clip", learn=learn),
        Contrastive(0.001, clamp="none", learn=learn),
    )  # type: ignore[arg-type]
    held.load_state_dict(free.state_dict())
    loss = held(vision, vision)["loss"]
    assert loss > 0.01
    torch.testing.assert_close(
        loss, Contrastive(0.01, clamp="none")(vision, vision)["loss"]
    )
    loss.backward()  # perfect pairs ask for a larger scale
    assert float(held.get_parameter(learn).grad.abs()) == 0.0  # type: ignore[union-attr]
    held.zero_grad()
    held(vision, -vision)["loss"].backward()
    assert float(held.get_parameter(learn).grad.abs()) > 0.0  # type: ignore[union-attr]


def test_what_must_be_given_together() -> None:
    vision, group = _unit(2, 0), torch.tensor([0, 1])
    with pytest.raises(ValueError, match="alpha must be 0"):
        Contrastive()(vision, vision, alpha=0.4)
    with pytest.raises(
        ValueError, match="all_vision and all_text must be given together"
    ):
        Contrastive()(vision, vision, all_text=vision)
    with pytest.raises(
        ValueError, match="teacher_vision and teacher_text must be given together"
    ):
        Contrastive()(vision, vision, teacher_text=vision)
    with pytest.raises(ValueError, match="group and all_group must be given together"):
        Contrastive()(vision, vision, group, vision, vision)
    with pytest.raises(ValueError, match="temperature must be above 0"):
        Contrastive(0.0)
    with pytest.raises(ValueError, match="temperature must be 0.001 to 0.5"):
        Contrastive(0.7)
    with pytest.raises(ValueError, match="temperature must be at least 0.01"):
        Contrastive(0.005, clamp="clip")


def test_the_queue_gives_out_before_it_takes_in_and_forgets_the_oldest() -> None:
    bank = FeatureQueue(6, 5)
    started = bank.vision.clone()
    for step in range(3):
        batch = (
            _unit(2, step),
            _unit(2, 10 + step),
            torch.tensor([2 * step, 2 * step + 1]),
        )
        before = bank.vision.clone()
        given_out = bank(*batch)
        torch.testing.assert_close(given_out["vision"], torch.cat([batch[0], before]))
        assert given_out["group"][:2].tolist() == batch[2].tolist()
    assert bank.group.tolist() == [
        5,
        1,
        2,
        3,
        4,
    ]  # the sixth sample stands where the first was
    torch.testing.assert_close(bank.text[1], _unit(2, 10)[1])
    assert bank.pointer.tolist() == [1] and started[4].ne(bank.vision[4]).any()


def test_a_queue_only_moves_in_training_and_travels_in_the_state_dict() -> None:
    bank, batch = FeatureQueue(6, 4), (_unit(2, 0), _unit(2, 1), torch.tensor([3, 4]))
    with torch.no_grad():
        bank(*batch)
    bank.eval()(*batch)
    assert bank.group.tolist() == [NOBODY] * 4
    bank.train()(*batch)
    other = FeatureQueue(6, 4)
    other.load_state_dict(bank.state_dict())
    assert other.group.tolist() == [
        3,
        4,
        NOBODY,
        NOBODY,
    ] and other.pointer.tolist() == [2]
    assert torch.equal(other.vision, bank.vision)
    assert not list(bank.parameters())


def test_a_queue_of_nothing_and_one_that_is_too_small() -> None:
    batch = _unit(3, 0), _unit(3, 1), torch.arange(3)
    assert FeatureQueue(6, 0)(*batch)["text"].shape == (3, 6)
    with pytest.raises(
        UserError, match=r"at least the rows of one step on all ranks \(3\), but is 2"
    ):
        FeatureQueue(6, 2)(*batch)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_numbers_are_uniform_and_follow_from_seed_step_and_row(
    seed: int, step: int
) -> None:
    rows = torch.arange(4000)
    numbers = uniform(seed, 0, torch.tensor([step]), rows)
    assert float(numbers.min()) >= 0 and float(numbers.max()) < 1
    counts = torch.histc(numbers, bins=10, min=0, max=1)
    assert (counts - 400).abs().max() < 150  # eight standard deviations
    assert torch.equal(numbers[5:9], uniform(seed, 0, torch.tensor([step]), rows[5:9]))
    assert not torch.equal(numbers, uniform(seed, 0, torch.tensor([step + 1]), rows))


def test_no_draw_is_another_ones_at_a_neighbouring_step_or_seed() -> None:
    rows, seen = torch.arange(50), set()
    for seed in range(4):
        for salt in range(2):
            for step in range(6):
                seen.add(
                    tuple(uniform(seed, salt, torch.tensor([step]), rows).tolist())
                )
    assert len(seen) == 4 * 2 * 6


def test_negatives_are_drawn_as_likely_as_they_look() -> None:
    mine, group = HardNegatives(seed=3), torch.tensor([0, 1, 0, 2])
    similarity = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    many = similarity.repeat(2000, 1), group.repeat(2000)
    chosen, nothing = mine.draw(*many, group, salt=0)
    assert not nothing.any()
    drawn = F.one_hot(chosen.view(2000, 4), 4).double().mean(dim=0)
    wanted = similarity[:, :4].softmax(dim=1).masked_fill(group[:, None] == group, 0.0)
    wanted = wanted / wanted.sum(dim=1, keepdim=True)
    torch.testing.assert_close(drawn, wanted.double(), atol=0.04, rtol=0.0)


def test_rows_are_pairs_then_texts_then_images_with_a_wrong_partner() -> None:
    similarity, group = torch.zeros(4, 6), torch.tensor([0, 1, 0, 2])
    found = HardNegatives()(similarity, similarity, group)
    assert found["label"].tolist() == [1] * 4 + [0] * 8
    assert found["vision"][:4].tolist() == found["text"][:4].tolist() == [0, 1, 2, 3]
    assert found["vision"][8:].tolist() == found["text"][4:8].tolist() == [0, 1, 2, 3]
    for wrong in (found["vision"][4:8], found["text"][8:]):
        assert not (group[wrong] == group).any()


def test_drawing_leaves_the_global_random_numbers_alone_and_goes_on_after_a_restart() -> (
    None
):
    similarity, group = torch.zeros(6, 6), torch.arange(6)
    before = torch.get_rng_state()
    mine = HardNegatives(seed=1)
    draws = [mine(similarity, similarity, group)["vision"].tolist() for _ in range(3)]
    assert torch.equal(before, torch.get_rng_state())
    assert len({tuple(draw) for draw in draws}) == 3
    resumed = HardNegatives(seed=1)
    first = resumed(similarity, similarity, group)["vision"].tolist()
    assert first == draws[0]
    resumed.load_state_dict({"step": torch.tensor([2])})
    assert resumed(similarity, similarity, group)["vision"].tolist() == draws[2]
    assert (
        HardNegatives(seed=2)(similarity, similarity, group)["vision"].tolist()
        != draws[0]
    )


def test_a_batch_without_a_negative_does_not_count_and_a_sure_pair_still_has_one() -> (
    None
):
    found = HardNegatives()(torch.zeros(2, 2), torch.zeros(2, 2), torch.tensor([5, 5]))
    assert found["label"].tolist() == [1, 1, -1, -1, -1, -1]
    sure = torch.tensor([[0.0, -900.0], [-900.0, 0.0]])
    found = HardNegatives()(sure, sure, torch.tensor([5, 6]))
    assert found["label"].tolist() == [1, 1, 0, 0, 0, 0]
    assert found["vision"].tolist() == [0, 1, 1, 0, 0, 1]


def test_without_groups_only_the_own_partner_is_no_negative() -> None:
    similarity = torch.eye(4) * 9
    drawn = HardNegatives(seed=2)(similarity, similarity)
    rows = torch.arange(4)
    assert not (drawn["vision"][4:8] == rows).any()
    assert not (drawn["text"][8:] == rows).any()
    assert drawn["label"].tolist() == [1] * 4 + [0] * 8
    expected = HardNegatives(seed=2)(similarity, similarity, rows)
    assert torch.equal(drawn["vision"], expected["vision"])


def test_negatives_can_be_replayed() -> None:
    group, similarity = torch.arange(3), torch.zeros(3, 3)
    found = HardNegatives()(
        similarity, similarity, group, torch.tensor([1, 2, 0]), torch.tensor([2, 0, 1])
    )
    assert found["vision"].tolist() == [0, 1, 2, 1, 2, 0, 0, 1, 2]
    assert found["text"].tolist() == [0, 1, 2, 0, 1, 2, 2, 0, 1]


def test_fetch_takes_rows_with_their_masks() -> None:
    mask = torch.tensor([[True, True], [True, False]])
    found = gather_rows(
        Tokens(torch.arange(4.0).view(2, 2, 1), mask), torch.tensor([1, 1, 0])
    )
    assert found.values.flatten().tolist() == [2, 3, 2, 3, 0, 1]
    assert found.mask is not None and found.mask.tolist() == [[True, False]] * 2 + [
        [True, True]
    ]
