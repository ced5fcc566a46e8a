"""`init: bert:`: a Hugging Face BERT goes where mPLUG puts it, and computes what transformers computes."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

import mplug2
from modules.streams import Text
from modules.torchvision_guard import ensure_torchvision
from mplug2.network import Network
from registry import UserError, parse_spec

if TYPE_CHECKING:
    from transformers import BertForPreTraining

ensure_torchvision()

SPEC = """
inputs: {video: frames B 3 T H W, question: text B L, answer: text B La}
modules:
  vision: {use: video_vit, width: 32, heads: 2, depth: 1, patch: 8, frames: 2, size: 16}
  words: {use: text_embedding, width: 32, vocab_size: 60, max_positions: 24}
  text: {use: text_encoder, width: 32, heads: 4, hidden: 48, depth: 3}
  universal: {use: universal, width: 32, heads: 4, hidden: 48, depth: 2, latents: 4}
  fusion: {use: fusion, width: 32, heads: 4, hidden: 48, depth: 2}
  decoder: {use: text_decoder, width: 32, heads: 4, hidden: 48, depth: 4, vocab_size: 60, max_positions: 16}
flow:
  patches: vision(video)
  visual: universal(patches, route='vision')
  spoken: words(question)
  read: text(spoken)
  asked: universal(read)
  both: fusion(text=asked, vision=visual)
  memory: concat(both.vision, both.text)
  logits: decoder(answer, memory=memory)
  loss: lm_loss(logits, target=answer)
goals: {train: {loss: loss}, read: {first: read, asked: asked}}
"""


@pytest.fixture(scope="module")
def bert() -> BertForPreTraining:
    torch.manual_seed(0)
    # here, since it takes seconds, and every test process imports this file
    from transformers import BertConfig, BertForPreTraining

    config = BertConfig(
        vocab_size=60, hidden_size=32, num_hidden_layers=6, num_attention_heads=4, intermediate_size=48,
        max_position_embeddings=24, attn_implementation="eager",
    )  # fmt: skip
    model = BertForPreTraining(config).eval()
    for parameter in model.parameters():  # biases and norms, too
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def save(bert: Any, folder: Path) -> Path:
    bert.save_pretrained(folder)
    return folder


def composed(folder: Path | str, spec: str = SPEC, pattern: str = "'*'") -> Network:
    torch.manual_seed(1)
    return mplug2.compose(
        parse_spec(f"{spec}init: {{{pattern}: 'bert:{folder}'}}\n")
    ).eval()


def test_text_is_read_as_transformers_reads_it(
    bert: BertForPreTraining, tmp_path: Path
) -> None:
    net = composed(save(bert, tmp_path))
    ids, mask = torch.randint(1, 60, (2, 9)), torch.ones(2, 9, dtype=torch.bool)
    mask[1, 6:] = False
    with torch.no_grad():
        ours = net({"question": Text(ids, mask)}, goal="read")
        states = bert.bert(ids, mask.long(), output_hidden_states=True).hidden_states
    for output, depth in (("first", 3), ("asked", 5)):
        torch.testing.assert_close(
            ours[output].values[mask], states[depth][mask], atol=1e-5, rtol=1e-5
        )


def test_segments_are_token_types(bert: BertForPreTraining, tmp_path: Path) -> None:
    net = composed(save(bert, tmp_path))
    ids, mask = torch.randint(1, 60, (2, 9)), torch.ones(2, 9, dtype=torch.bool)
    segments = (torch.arange(9) > torch.tensor([[3], [5]])).long()
    with torch.no_grad():
        ours = net({"question": Text(ids, mask, segments)}, goal="read")["first"].values
        plain = net({"question": Text(ids, mask)}, goal="read")["first"].values
        states = bert.bert(
            ids, mask.long(), segments, output_hidden_states=True
        ).hidden_states
    torch.testing.assert_close(ours, states[3], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(ours, plain, atol=1e-3)


def test_words_without_a_table_of_segments_take_the_rest(
    bert: BertForPreTraining, tmp_path: Path
) -> None:
    net = composed(
        save(bert, tmp_path),
        SPEC.replace("max_positions: 24", "max_positions: 24, types: 0"),
    )
    assert "words.kind.weight" not in net.state_dict()
    assert torch.equal(
        net.get_module("words").word.weight, bert.bert.embeddings.word_embeddings.weight
    )
    kinds = bert.bert.embeddings.token_type_embeddings.weight
    assert torch.equal(net.get_module("decoder").embedding.kind.weight, kinds)


def test_fusion_takes_the_last_layers_and_the_decoder_the_first(
    bert: BertForPreTraining, tmp_path: Path
) -> None:
    net = composed(save(bert, tmp_path))
    state, theirs = net.state_dict(), bert.state_dict()
    for ours, first in (("fusion", 4), ("decoder", 0)):
        for r in range(2):
            key = f"bert.encoder.layer.{first + r}.attention.self.query.weight"
            assert torch.equal(
                state[f"{ours}.layers.{r}.attention.query.weight"], theirs[key]
            )
    words = net.get_module("decoder")
    hidden = torch.randn(2, 3, 32)
    with torch.no_grad():
        scored = words.head(hidden, words.embedding.word.weight)
        torch.testing.assert_close(
            scored, bert.cls.predictions(hidden), atol=1e-5, rtol=1e-5
        )
    positions = theirs["bert.embeddings.position_embeddings.weight"]
    assert torch.equal(words.embedding.position.weight, positions[:16])


def test_every_key_is_told(
    bert: BertForPreTraining, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "mplug2"):
        composed(save(bert, tmp_path))
    told = caplog.text
    for reason in (
        "BERT has no cross-attention",
        "BERT has no visual route",
        "the first 16 of 24 positions",
        "no weights of vision in the file: it keeps its own",
        "of BERT's task with pairs of sentences",
    ):
        assert reason in told
    assert "misfit" not in told


def test_a_bare_model_in_old_names_as_a_pickle(
    bert: BertForPreTraining, tmp_path: Path
) -> None:
    from transformers import BertModel

    plain = BertModel(bert.config)
    state = {
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for key, value in plain.state_dict().items()
    }
    torch.save(state, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(json.dumps(bert.config.to_dict()))
    net = composed(tmp_path)
    assert torch.equal(
        net.get_module("words").norm.weight, plain.embeddings.LayerNorm.weight
    )
    fresh = composed(tmp_path, pattern="text")
    assert torch.equal(
        net.get_module("decoder").head.dense.weight,
        fresh.get_module("decoder").head.dense.weight,
    )
    assert torch.equal(
        fresh.get_module("text").layers[2].feed.up.weight,
        plain.encoder.layer[2].intermediate.dense.weight,
    )
    assert not torch.equal(
        net.get_module("words").word.weight, fresh.get_module("words").word.weight
    )


@pytest.mark.parametrize(
    ("config", "spec", "message"),
    [
        ({"hidden_act": "gelu_new"}, SPEC, "must be a BERT with activation gelu"),
        ({"model_type": "roberta"}, SPEC, "but is a 'roberta'"),
        ({"num_attention_heads": 8}, SPEC, "has 8 heads, but module 'text' has 4"),
        (
            {},
            SPEC.replace("depth: 3", "depth: 5"),
            r"'universal' \(universal\) takes 2 layers from layer 5 on",
        ),
        (
            {},
            SPEC.replace("vocab_size: 60", "vocab_size: 61"),
            r"word_embeddings.weight .*file has \[60, 32\]",
        ),
    ],
)
def test_what_does_not_fit_is_told(
    config: dict[str, Any],
    spec: str,
    message: str,
    bert: BertForPreTraining,
    tmp_path: Path,
) -> None:
    save(bert, tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    with pytest.raises(UserError, match=message):
        composed(tmp_path, spec)


def test_two_sources_at_once(bert: BertForPreTraining, tmp_path: Path) -> None:
    save(bert, tmp_path)
    torch.manual_seed(5)
    own = mplug2.compose(parse_spec(SPEC), initial=False)
    weights = {
        key: value for key, value in own.state_dict().items() if key.startswith("text.")
    }
    save_file(weights, tmp_path / "x.safetensors")
    net = mplug2.compose(
        parse_spec(
            SPEC
            + f"init: {{'*': 'bert:{tmp_path}', text: 'checkpoint:{tmp_path}/x.safetensors'}}\n"
        )
    )
    assert torch.equal(
        net.get_module("text").layers[0].feed.up.weight,
        own.get_module("text").layers[0].feed.up.weight,
    )
    assert torch.equal(
        net.get_module("words").word.weight, bert.bert.embeddings.word_embeddings.weight
    )


def test_a_folder_without_weights_or_with_a_broken_config(tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"must hold config.json, but holds neither|must hold config.json",
    ):
        composed(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="must be JSON, but is not"):
        composed(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(
        UserError, match=r"must hold model.safetensors or pytorch_model.bin"
    ):
        composed(tmp_path)


def test_a_name_comes_from_the_cache_or_is_told(
    bert: BertForPreTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        UserError, match=r"'bert-tiny' is not a folder here(.|\n)*hf download bert-tiny"
    ):
        composed("bert-tiny")
    model = tmp_path / "models--bert-tiny"
    save(bert, model / "snapshots" / "abc")
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("abc")
    net = composed("bert-tiny")
    assert torch.equal(
        net.get_module("words").word.weight, bert.bert.embeddings.word_embeddings.weight
    )
