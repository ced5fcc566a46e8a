"""Masked words: how many, which, and that nothing but seed, step and the text itself decides."""

from __future__ import annotations

import pytest
import torch

from modules.losses.masked_words import masked_loss
from modules.masking import NO_LABEL, WordMasking
from modules.selection import select_labelled
from modules.streams import Text, Tokens
from modules.vector_heads import VectorHead

VOCABULARY = 1000
SEP, CLS = 102, 101


def texts(rows: int, length: int = 40, seed: int = 0) -> Text:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(200, VOCABULARY, (rows, length), generator=generator)
    ids[:, 0], ids[:, -1] = CLS, SEP
    return Text(ids, torch.ones_like(ids, dtype=torch.bool))


def test_of_the_chosen_tokens_eight_in_ten_are_hidden() -> None:
    text = texts(500)
    masked = WordMasking(VOCABULARY, fraction=0.2).train()(text)
    labels, ids = masked["labels"], masked["text"].ids
    chosen = labels != NO_LABEL
    assert float(chosen[:, 1:-1].float().mean()) == pytest.approx(0.2, abs=0.01)
    assert torch.equal(labels[chosen], text.ids[chosen])
    assert torch.equal(ids[~chosen], text.ids[~chosen])
    hidden, same = ids[chosen] == 103, ids[chosen] == text.ids[chosen]
    assert float(hidden.float().mean()) == pytest.approx(0.8, abs=0.02)
    assert float(same.float().mean()) == pytest.approx(0.1, abs=0.02)
    drawn = ids[chosen][~hidden & ~same]
    assert int(drawn.max()) < VOCABULARY and len(drawn.unique()) > 100


def test_special_tokens_and_padding_stay() -> None:
    text = texts(100)
    text.mask[:, 20:] = False
    labels = WordMasking(VOCABULARY, fraction=0.9)(text)["labels"]
    assert (labels[:, 0] == NO_LABEL).all() and (labels[:, 20:] == NO_LABEL).all()
    assert (labels[:, 1:20] != NO_LABEL).float().mean() > 0.85


def test_pieces_of_a_word_are_hidden_together() -> None:
    ids = texts(200)
    begins = torch.arange(40) % 3 == 0
    text = ids._replace(word_start=begins.expand(200, -1))
    chosen = (
        WordMasking(VOCABULARY, fraction=0.3, whole_words=True)(text)["labels"]
        != NO_LABEL
    )
    words = chosen[:, 3:39].view(200, 12, 3)
    assert torch.equal(words.any(dim=-1), words.all(dim=-1))
    assert 0.2 < float(words.all(dim=-1).float().mean()) < 0.4


def test_masks_do_not_depend_on_other_rows_or_on_padding() -> None:
    module = WordMasking(VOCABULARY).train()
    text = texts(6)
    together = module(text)["labels"]
    module.step.zero_()
    alone = module(Text(text.ids[2:3], text.mask[2:3]))["labels"]
    assert torch.equal(alone[0], together[2])
    module.step.zero_()
    padded = Text(
        torch.cat([text.ids, torch.zeros(6, 3).long()], 1),
        torch.cat([text.mask, torch.zeros(6, 3).bool()], 1),
    )
    assert torch.equal(module(padded)["labels"][:, :40], together)


def test_training_draws_anew_and_evaluation_always_the_same() -> None:
    module, text = WordMasking(VOCABULARY).train(), texts(4)
    first, second = module(text)["labels"], module(text)["labels"]
    assert not torch.equal(first, second)
    resumed = WordMasking(VOCABULARY).train()
    resumed.load_state_dict(module.state_dict())
    assert torch.equal(resumed(text)["labels"], module(text)["labels"])
    module.eval()
    assert torch.equal(module(text)["labels"], module(text)["labels"])
    assert torch.equal(
        module(text)["labels"], WordMasking(VOCABULARY).eval()(text)["labels"]
    )
    with torch.no_grad():
        assert not torch.equal(
            WordMasking(VOCABULARY, seed=1).eval()(text)["labels"],
            module(text)["labels"],
        )


def test_losses_are_summed_for_each_text() -> None:
    torch.manual_seed(0)
    labels = torch.tensor([[-100, 3, -100, 1], [-100] * 4, [2, -100, -100, -100]])
    masked = select_labelled(Tokens(torch.randn(3, 4, 8)), labels)
    head = VectorHead(8, 5)
    logits = head(masked["hidden"])
    measured = masked_loss(logits, masked["labels"], labels)
    losses = -logits.log_softmax(dim=-1)[torch.arange(3), masked["labels"]]
    torch.testing.assert_close(
        measured["loss_sum"],
        torch.stack([losses[0] + losses[1], losses[0] * 0, losses[2]]),
    )
    assert measured["num_tokens"].tolist() == [2, 0, 1]
    right = (logits.argmax(dim=-1) == masked["labels"]).float()
    assert measured["num_correct"].tolist() == [
        float(right[0] + right[1]),
        0,
        float(right[2]),
    ]
    with pytest.raises(ValueError, match=r"one class for each of 3 labels \(got 2\)"):
        masked_loss(logits[:2], masked["labels"][:2], labels)
