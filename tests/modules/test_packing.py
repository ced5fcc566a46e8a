"""Texts that are packed into rows: networks compute what they compute for each text alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_specs import ROOT, small

import mplug2
from modules.decoder import TextDecoder
from modules.losses.text import lm_count, lm_loss
from modules.masking import NO_LABEL, WordMasking
from modules.padded_kinds import TextValues, TokenValues
from modules.streams import Text, Tokens
from modules.text import TextEmbedding, TextEncoder
from mplug2.data.byte_tokenizer import ByteTokenizer
from mplug2.data.packing import packed_text
from registry import UserError

BYTES = ByteTokenizer()
TEXTS = ["a ring", "b", "", "red ring left of it", "circles", "no", "a ring"]
IDS = [[*BYTES.encode(text), BYTES.sep] for text in TEXTS]
CAPACITY = 30
CLM, MLM = (
    ROOT / "configs_text" / name
    for name in ("clm_bytes_tiny.yaml", "mlm_bytes_tiny.yaml")
)


def packed() -> Text:
    return packed_text(BYTES, IDS, None, CAPACITY)


def by_text(values: torch.Tensor, text: Text) -> dict[tuple[int, ...], torch.Tensor]:
    """Return what belongs to each text, by its ids."""
    parts = torch.zeros_like(text.ids) if text.parts is None else text.parts
    values_of_text = {}
    for row in range(len(text.ids)):
        for number in range(int(parts[row].max()) + 1):
            is_of_text = text.mask[row] & (parts[row] == number)
            values_of_text[tuple(text.ids[row][is_of_text].tolist())] = values[row][
                is_of_text
            ]
    return values_of_text


def test_rows_hold_all_texts_once_with_their_numbers() -> None:
    text = packed()
    assert len(text.ids) < len(IDS) and text.parts is not None
    assert sorted(by_text(text.ids, text)) == sorted({tuple(ids) for ids in IDS})
    assert int(text.mask.sum()) == sum(map(len, IDS))
    assert not text.parts[~text.mask].any()
    assert text.ids.shape[1] <= CAPACITY


def test_encoder_and_decoder_compute_each_text_alone() -> None:
    torch.manual_seed(0)
    embedding = TextEmbedding(16, vocab_size=360, max_positions=CAPACITY, dropout=0.0)
    encoder = TextEncoder(16, 2, heads=2, dropout=0.0)
    decoder = TextDecoder(
        16, 2, 360, CAPACITY, heads=2, dropout=0.0, cross_attention=False
    )
    for compute in (lambda text: encoder(embedding(text)).values, decoder):
        together, alone = by_text(compute(packed()), packed()), {}
        for ids in IDS:
            text = BYTES.pad_rows([ids])
            alone |= by_text(compute(text), text)
        assert together.keys() == alone.keys()
        for ids, values in alone.items():
            assert torch.allclose(together[ids], values, atol=1e-5)


def gradients_of(net: torch.nn.Module) -> dict[str, torch.Tensor]:
    reached = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    return {name: gradient.clone() for name, gradient in reached.items()}


@pytest.mark.parametrize("spec", [CLM, MLM], ids=["causal", "masked"])
def test_loss_and_gradients_are_those_of_unpacked_rows(spec: Path) -> None:
    off = [
        f"modules.{name}.dropout=0.0"
        for name in ("decoder", "text_embedding", "text_encoder")
    ]
    names = ("decoder",) if spec == CLM else ("text_embedding", "text_encoder")
    settings = [line for line in off if line.split(".")[1] in names]
    # A fraction of one half: texts are short, and each batch must have masked words.
    settings += ["modules.word_masking.fraction=0.5"] if spec == MLM else []
    net = mplug2.compose(small(spec, *settings))
    results = []
    for text in (BYTES.pad_rows(IDS), packed()):
        net.train()
        net.zero_grad()
        if spec == MLM:
            net.get_module("word_masking").step.zero_()
        loss = net({"text": text}, "train")["loss"]
        loss.backward()
        results.append((loss.item(), gradients_of(net)))
    (loss, gradients), (packed_loss, packed_gradients) = results
    assert loss > 1 and abs(loss - packed_loss) < 1e-6 * loss
    assert gradients.keys() == packed_gradients.keys() and gradients
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, packed_gradients[name], atol=1e-6, rtol=1e-4), (
            name
        )


@pytest.mark.parametrize("whole_words", [False, True])
def test_the_same_words_are_masked(whole_words: bool) -> None:
    masking = WordMasking(vocab_size=360, fraction=0.4, whole_words=whole_words)
    text = BYTES.pad_rows(IDS)
    masking.eval()  # both draw as at step 0
    alone = by_text(masking(text)["labels"], text)
    together = by_text(masking(packed())["labels"], packed())
    assert any((labels != NO_LABEL).any() for labels in alone.values())
    assert {ids: labels.tolist() for ids, labels in alone.items()} == {
        ids: labels.tolist() for ids, labels in together.items()
    }


def test_no_loss_crosses_the_border_of_a_text() -> None:
    for reduction, ignore_first in (
        ("per_token", 0),
        ("per_token", 3),
        ("per_sequence", 0),
    ):
        counts, losses = [], []
        for text in (BYTES.pad_rows(IDS), packed()):
            logits = torch.zeros(*text.ids.shape, 360)
            options = {"reduction": reduction, "ignore_first": ignore_first}
            counts.append(float(lm_count(text, **options)))
            losses.append(float(lm_loss(logits, text, **options).total))
        assert counts[0] == counts[1] > 0
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_what_would_mix_texts_refuses_them() -> None:
    spec = small(ROOT / "configs_text" / "sst2_tiny.yaml")
    net = mplug2.compose(spec)
    with pytest.raises(UserError, match="several texts are packed into a row"):
        net({"text": packed(), "label": torch.zeros(2, dtype=torch.long)}, "train")
    decoder = TextDecoder(16, 1, 360, CAPACITY, heads=2)
    with pytest.raises(UserError, match="packed texts cannot share a memory"):
        decoder(packed(), Tokens(torch.zeros(1, 3, 16)))
    with pytest.raises(UserError, match="packed texts have no weight or question each"):
        lm_loss(
            torch.zeros(*packed().ids.shape, 360),
            packed(),
            weight=torch.ones(len(packed().ids)),
        )
    with pytest.raises(
        ValueError, match="text must be at most 8 tokens long, but is 21"
    ):
        TextEmbedding(16, vocab_size=360, max_positions=8)(packed())


def test_packed_rows_are_joined_with_rows_of_one_text() -> None:
    text, other = packed(), BYTES.pad_rows(IDS[:1])
    joined = TextValues().concat([text, other])
    assert (
        torch.equal(joined.parts[: len(text.ids)], text.parts)
        and not joined.parts[len(text.ids) :].any()
    )
    hidden = Tokens(torch.zeros(*text.ids.shape, 4), text.mask, text.parts)
    states = TokenValues().concat([hidden, Tokens(torch.zeros(1, 2, 4))])
    assert torch.equal(states.parts, joined.parts)
    assert TokenValues().cast(hidden, torch.float64).parts is text.parts
