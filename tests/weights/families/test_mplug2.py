"""Released checkpoints: every key accounted for, nothing half loaded."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

import mplug2
from mplug2.weights.files import read_tensors
from mplug2.weights.shape_fixes import resize_positions
from mplug2.weights.sources import load_tensors
from registry import UserError, parse_spec


def _narrow(kind: str, facts: dict) -> tuple[str, dict[str, Tensor]]:
    """The full-size key list at reduced width: the same keys and depths, fewer channels and words."""
    bert, clip = facts["bert_config"], facts["config"]["_xclip"]
    wide, hidden = bert["hidden_size"], bert["intermediate_size"]
    sizes = {
        wide: 32,
        hidden: 64,
        3 * wide: 96,
        wide // 2: 16,
        bert["vocab_size"]: 50,
        512: 16,
    }
    sizes |= {clip["clip_vocab"]: 20}
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for key, (shape, _) in facts["state_dict"].items():
        narrowed = [sizes.get(n, n) for n in shape]
        if key.endswith("position_ids"):
            tensors[key] = torch.arange(16)[None]
        elif key.startswith("visual_encoder.transformer.") or "token_embedding" in key:
            tensors[key] = torch.zeros(
                1
            )  # CLIP's text tower is dropped whatever its shape
        else:
            tensors[key] = torch.randn(narrowed, generator=generator)
    text = f"""
inputs: {{video: frames B 3 T H W, question: text B L, answer: text B La}}
modules:
  vision: {{use: video_vit, width: 32, heads: 2, depth: {clip["vision_layers"]}, mlp_ratio: 2.0,
            patch: {clip["patch"]}, frames: {facts["config"]["model_num_frames"]}, size: 224}}
  words: {{use: text_embedding, width: 32, vocab_size: 50, max_positions: 16}}
  text: {{use: text_encoder, width: 32, heads: 2, hidden: 64, depth: {bert["text_encoder_layers"] - 2}}}
  universal: {{use: universal, width: 32, heads: 2, hidden: 64, depth: 2, latents: 50}}
  fusion: {{use: fusion, width: 32, heads: 2, hidden: 64, depth: {bert["fusion_layers"]},
            stride: {bert["stride_layer"]}}}
  decoder: {{use: text_decoder, width: 32, heads: 2, hidden: 64, depth: 12, vocab_size: 50,
      max_positions: 16}}
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
goals: {{train: {{loss: loss}}}}
"""
    return text, tensors


@pytest.fixture(scope="module")
def facts(shared: Path) -> dict:
    return json.loads(
        (shared / "reference/parity/mplug2/full_size_keys.json").read_text()
    )


@pytest.mark.parametrize("kind", ["large_vqa", "base_vqa"])
def test_every_key_of_a_full_size_checkpoint_is_accounted_for(
    kind: str, facts: dict
) -> None:
    text, tensors = _narrow(kind, facts[kind])
    net = mplug2.compose(parse_spec(text), initial=False)
    report = load_tensors(net, "mplug2", tensors)
    assert {row.source for row in report.rows if row.source} == set(tensors)
    assert not report.of("missing", "misfit")
    dead = set(facts[kind]["dead_parameter_names"]) | set(facts[kind]["buffers"])
    assert {row.source for row in report.of("dropped")} == dead
    assert {row.target for row in report.of("loaded", "resized")} == set(
        net.state_dict()
    )
    assert all(row.reason for row in report.of("dropped"))


def test_the_parameter_count_of_the_released_network(facts: dict) -> None:
    for name, kind in (
        ("VideoQA_msrvtt_large", "large_vqa"),
        ("VideoQA_msrvtt_base", "base_vqa"),
    ):
        net = mplug2.compose(f"configs_video/{name}.yaml", device="meta", initial=False)
        trained = [value.numel() for value in net.parameters() if value.requires_grad]
        assert sum(trained) == facts[kind]["live_params"]


def test_another_architecture_is_refused_with_a_table_and_nothing_is_loaded(
    facts: dict,
) -> None:
    text, tensors = _narrow("base_vqa", facts["base_vqa"])
    net = mplug2.compose(
        parse_spec(text.replace("latents: 50", "latents: 40")), initial=False
    )
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(
        UserError,
        match=r"1 keys do not fit.*nothing was loaded(.|\n)*latents.*\[50, 32\].*\[40, 32\]",
    ):
        load_tensors(net, "mplug2", tensors)
    assert all(
        torch.equal(value, before[name]) for name, value in net.state_dict().items()
    )


def test_positions_are_resized_as_released(shared: Path) -> None:
    recorded = read_tensors(
        shared / "reference/parity/mplug2/data/pos_embed.safetensors"
    )
    for name, tokens in (("out_3x3", 10), ("out_6x6", 37), ("out_4x4", 17)):
        ours = resize_positions(recorded["in_4x4"][None], tokens)[0]
        torch.testing.assert_close(ours, recorded[name], atol=5e-5, rtol=1e-4)


def test_a_pickle_of_code_is_refused(tmp_path: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> tuple:
            return (print, ("code ran",))

    (tmp_path / "x.pth").write_bytes(pickle.dumps({"model": Evil()}))
    with pytest.raises(
        UserError, match="not loaded: the file contains objects other than tensors"
    ):
        read_tensors(tmp_path / "x.pth")
    torch.save({"model": {"a": Evil()}}, tmp_path / "y.pth")
    with pytest.raises(
        UserError, match="not loaded: the file contains objects other than tensors"
    ):
        read_tensors(tmp_path / "y.pth")


@pytest.mark.parametrize("wrapper", ["model", "module", None])
def test_released_files_are_unwrapped(tmp_path: Path, wrapper: str | None) -> None:
    weights = {"a.weight": torch.ones(2)}
    torch.save({wrapper: weights} if wrapper else weights, tmp_path / "x.pth")
    assert read_tensors(tmp_path / "x.pth").keys() == weights.keys()


def test_a_file_that_is_not_there_or_not_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such weight file"):
        read_tensors(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(UserError, match="is of another format, not weights"):
        read_tensors(tmp_path / "text.pth")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(UserError, match="not a readable safetensors file"):
        read_tensors(tmp_path / "text.safetensors")
