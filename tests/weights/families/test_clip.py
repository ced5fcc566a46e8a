"""`init: clip:`: CLIP's towers, in OpenAI's names or Hugging Face's, as transformers computes it."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import mplug2
from modules.streams import Text
from modules.torchvision_guard import ensure_torchvision
from mplug2.build.convert import export_file, import_file
from mplug2.network import Network
from mplug2.weights.files import read_released
from mplug2.weights.sources import load_tensors
from registry import UserError, parse_spec

if TYPE_CHECKING:
    from transformers import CLIPModel

ensure_torchvision()

WIDTH, DEPTH, PATCH, SIZE = 128, 2, 4, 12
SPEC = f"""
inputs: {{video: frames B 3 T H W, image: image B 3 H W, question: text B L}}
modules:
  vision: {{use: video_vit, width: {WIDTH}, depth: {DEPTH}, patch: {PATCH}, frames: 3, size: {SIZE}}}
  still: {{use: image_vit, width: {WIDTH}, depth: {DEPTH}, patch: {PATCH}, size: {SIZE}}}
  words: {{use: text_embedding, width: 32, vocab_size: 60, max_positions: 24}}
flow: {{patches: vision(video), picture: still(image), spoken: words(question)}}
goals: {{video: {{patches: patches}}, image: {{picture: picture}}, text: {{spoken: spoken}}}}
"""


@pytest.fixture(scope="module")
def clip() -> CLIPModel:
    torch.manual_seed(0)
    vision = {
        "hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": DEPTH,
        "num_attention_heads": 2, "patch_size": PATCH, "image_size": SIZE, "hidden_act": "quick_gelu",
    }  # fmt: skip
    text = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
    }
    # here, since it takes seconds, and every test process imports this file
    from transformers import CLIPConfig, CLIPModel

    config = CLIPConfig(
        vision_config=vision, text_config={**text, "vocab_size": 20}, projection_dim=16,
        attn_implementation="eager",
    )  # fmt: skip
    model = CLIPModel(config).eval()
    for name, parameter in model.named_parameters():
        if "norm" in name or "bias" in name:
            torch.nn.init.normal_(parameter, 1.0, 0.3)
        elif parameter.ndim:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def openai(clip: CLIPModel) -> dict[str, Tensor]:
    """The same weights as OpenAI stores them."""
    names = [
        (r"^vision_model\.", "visual."), (r"embeddings\.class_embedding", "class_embedding"),
        (r"embeddings\.position_embedding\.weight", "positional_embedding"),
        (r"embeddings\.patch_embedding", "conv1"),
        (r"pre_layrnorm", "ln_pre"), (r"post_layernorm", "ln_post"),
        (r"encoder\.layers", "transformer.resblocks"), (r"self_attn\.out_proj", "attn.out_proj"),
        (r"layer_norm(\d)", r"ln_\1"), (r"mlp\.fc1", "mlp.c_fc"), (r"mlp\.fc2", "mlp.c_proj"),
    ]  # fmt: skip
    state: dict[str, Tensor] = {}
    for key, value in clip.state_dict().items():
        if not key.startswith("vision_model") or re.search(
            "k_proj|v_proj|position_ids", key
        ):
            continue
        if "q_proj" in key:
            value = torch.cat(
                [
                    clip.state_dict()[key.replace("q_proj", f"{one}_proj")]
                    for one in "qkv"
                ]
            )
            key = key.replace("self_attn.q_proj.", "attn.in_proj_")
        for theirs, ours in names:
            key = re.sub(theirs, ours, key)
        state[key] = value
    return state | {
        "visual.proj": torch.zeros(WIDTH, 16),
        "positional_embedding": torch.zeros(77, 16),
        "token_embedding.weight": torch.zeros(20, 16),
        "logit_scale": torch.zeros(()),
    }


def composed(source: Path | str, spec: str = SPEC, pattern: str = "'*'") -> Network:
    torch.manual_seed(1)
    return mplug2.compose(
        parse_spec(f"{spec}init: {{{pattern}: 'clip:{source}'}}\n")
    ).eval()


@pytest.fixture(params=["openai.pt", "openai.safetensors", "folder"])
def source(request: pytest.FixtureRequest, clip: CLIPModel, tmp_path: Path) -> Path:
    if request.param == "folder":
        clip.save_pretrained(tmp_path)
        return tmp_path
    if request.param.endswith(".pt"):
        torch.save(openai(clip), tmp_path / request.param)
    else:
        from safetensors.torch import save_file

        save_file(openai(clip), tmp_path / request.param)
    return tmp_path / request.param


def test_images_and_frames_are_read_as_transformers_reads_them(
    source: Path, clip: CLIPModel
) -> None:
    net = composed(source)
    video = torch.randn(2, 3, 3, SIZE, SIZE)
    with torch.no_grad():
        picture = net({"image": video[:, :, 0]}, goal="image")["picture"].values
        patches = net({"video": video}, goal="video")["patches"].values
        frames = [clip.vision_model(video[:, :, t]).last_hidden_state for t in range(3)]
        theirs = clip.vision_model.post_layernorm(frames[0])
        means = torch.stack([one[:, :1] for one in frames]).mean(dim=0)
        together = clip.vision_model.post_layernorm(
            torch.cat([means, *(one[:, 1:] for one in frames)], dim=1)
        )
    torch.testing.assert_close(picture, theirs, atol=1e-4, rtol=1e-4)
    # temporal layers begin as the identity
    torch.testing.assert_close(patches, together, atol=1e-4, rtol=1e-4)


def test_every_key_is_told(
    clip: CLIPModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(openai(clip), tmp_path / "clip.pt")
    larger = SPEC.replace(f"frames: 3, size: {SIZE}", "frames: 3, size: 20")
    larger = larger.replace(
        "inputs: {video: frames B 3 T H W", "inputs: {video: frames B 3 T Y X"
    )
    with caplog.at_level(logging.INFO, "mplug2"):
        composed(tmp_path / "clip.pt", larger)
    for reason in (
        "10 positions to 26",
        "CLIP has no temporal layers",
        "CLIP's text tower",
        "CLIP's output projection",
        "no weights of words in the file",
    ):
        assert reason in caplog.text
    assert "misfit" not in caplog.text


def test_tubes_begin_as_their_middle_frame(clip: CLIPModel, tmp_path: Path) -> None:
    torch.save(openai(clip), tmp_path / "clip.pt")
    strided = SPEC.replace("frames: 3,", "frames: 4, temporal_stride: 2,")
    net = composed(tmp_path / "clip.pt", strided)
    video = torch.randn(1, 3, 4, SIZE, SIZE)
    every = composed(tmp_path / "clip.pt", SPEC.replace("frames: 3,", "frames: 2,"))
    with torch.no_grad():
        ours = net({"video": video}, goal="video")["patches"].values
        theirs = every({"video": video[:, :, ::2]}, goal="video")["patches"].values
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "patch: 4,",
            "patch: 4, heads: 4,",
            "this CLIP has 2 heads, but module 'vision' has 4",
        ),
        ("depth: 2", "depth: 3", r"not in the file"),
        ("depth: 2", "depth: 1", "is not so deep"),
        (
            "patch: 4",
            "patch: 6",
            r"file has \[128, 3, 4, 4\], network has \[128, 3, 6, 6\]",
        ),
    ],
)
def test_what_does_not_fit_is_told(
    old: str, new: str, message: str, clip: CLIPModel, tmp_path: Path
) -> None:
    torch.save(openai(clip), tmp_path / "clip.pt")
    with pytest.raises(UserError, match=message):
        composed(tmp_path / "clip.pt", SPEC.replace(old, new))


def test_another_activation_is_refused(clip: CLIPModel, tmp_path: Path) -> None:
    clip.save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(file.read_text().replace("quick_gelu", "gelu"))
    with pytest.raises(
        UserError, match="must be a CLIP with the activation quick_gelu"
    ):
        composed(tmp_path)


def test_a_file_without_a_visual_tower_is_refused(tmp_path: Path) -> None:
    torch.save({"text.weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(UserError, match="no key fits this network"):
        composed(tmp_path / "other.pt")


def test_a_torchscript_archive_is_refused(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        # no Linear: a test that used DeepSpeed's stage 3 in this process leaves it unfit for scripts
        torch.jit.save(torch.jit.script(torch.nn.Identity()), tmp_path / "ViT.pt")
    with pytest.raises(
        UserError,
        match=r"TorchScript archive, which contains code(.|\n)*hint: .*state_dict\(\)",
    ):
        composed(tmp_path / "ViT.pt")


def test_the_tower_goes_there_and_back(
    source: Path, clip: CLIPModel, tmp_path: Path
) -> None:
    """In OpenAI's names or Hugging Face's: text tower, types and order come from the original."""
    spec = tmp_path / "still.yaml"
    sizes = f"width: {WIDTH}, depth: {DEPTH}, patch: {PATCH}, size: {SIZE}"
    spec.write_text(
        "inputs: {image: image B 3 H W}\n"
        f"modules: {{still: {{use: image_vit, {sizes}}}}}\n"
        "flow: {picture: still(image)}\ngoals: {image: {picture: picture}}\n"
    )
    file = source / "model.safetensors" if source.is_dir() else source
    original = dict(read_released(file).tensors)
    import_file(source, spec, tmp_path / "ours.safetensors", "clip")
    for suffix in (".safetensors", ".pt"):
        text = export_file(
            tmp_path / "ours.safetensors",
            spec,
            tmp_path / f"back{suffix}",
            "clip",
            like=source,
        )
        back = read_released(tmp_path / f"back{suffix}").tensors
        assert set(back) == set(original) and "copied from the original" in text
        for key, value in original.items():
            assert back[key].dtype == value.dtype and torch.equal(back[key], value), key
    # Trained weights are written: query, key and value of Hugging Face are split again.
    net = mplug2.compose(spec, initial=False)
    weights = {
        name: value + 1
        for name, value in load_file(tmp_path / "ours.safetensors").items()
    }
    save_file(weights, tmp_path / "trained.safetensors")
    export_file(
        tmp_path / "trained.safetensors",
        spec,
        tmp_path / "back.pt",
        "clip",
        like=source,
    )
    load_tensors(net, "clip", read_released(tmp_path / "back.pt").tensors)
    for name, value in net.state_dict().items():
        assert torch.equal(value, weights[name]), name


BOTH = f"""
inputs: {{image: image B 3 H W, caption: text B L}}
modules:
  vision: {{use: image_vit, width: {WIDTH}, depth: {DEPTH}, patch: {PATCH}, size: {SIZE}}}
  text: {{use: clip_text, width: 128, depth: 1, vocab_size: 20, max_positions: 77}}
  vision_proj: {{use: feature_head, width_in: {WIDTH}, width: 16, bias: false}}
  text_proj: {{use: end_head, width_in: 128, width: 16}}
  contrastive: {{use: contrastive, clamp: none, learn: log_scale}}
flow:
  vision_hidden: vision(image)
  text_hidden: text(caption)
  image_features: vision_proj(vision_hidden)
  text_features: text_proj(text_hidden, text=caption)
  itc: contrastive(image_features, text_features)
goals:
  train: {{loss: itc.loss}}
  embed_vision: {{features: image_features}}
  embed_text: {{features: text_features}}
  compare: {{similarities: itc.vision_to_text}}
"""
OPEN_CLIP = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {
        "image_size": SIZE,
        "layers": DEPTH,
        "width": WIDTH,
        "patch_size": PATCH,
    },
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 20,
        "width": 128,
        "heads": 2,
        "layers": 1,
    },
}


@pytest.fixture(scope="module")
def towers() -> CLIPModel:
    """A CLIP of transformers with a text tower as OpenAI's sizes have it: 64 channels in each head."""
    torch.manual_seed(2)
    vision = {
        "hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": DEPTH,
        "num_attention_heads": 2, "patch_size": PATCH, "image_size": SIZE, "hidden_act": "quick_gelu",
    }  # fmt: skip
    text = {
        "hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 1, "num_attention_heads": 2,
        "vocab_size": 20, "max_position_embeddings": 77, "hidden_act": "quick_gelu", "eos_token_id": 19,
        "bos_token_id": 18, "pad_token_id": 0,
    }  # fmt: skip
    from transformers import CLIPConfig, CLIPModel

    config = CLIPConfig(
        vision_config=vision,
        text_config=text,
        projection_dim=16,
        attn_implementation="eager",
    )
    model = CLIPModel(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def openai_towers(towers: CLIPModel) -> dict[str, Tensor]:
    """The weights of both towers as OpenAI's archives store them, with the settings in the archive."""
    hugging_face = towers.state_dict()
    state = openai(towers)
    names = [
        (r"^text_model\.encoder\.layers", "transformer.resblocks"), (r"^text_model\.", ""),
        (r"embeddings\.token_embedding", "token_embedding"),
        (r"embeddings\.position_embedding\.weight", "positional_embedding"),
        (r"final_layer_norm", "ln_final"), (r"self_attn\.out_proj", "attn.out_proj"),
        (r"layer_norm(\d)", r"ln_\1"), (r"mlp\.fc1", "mlp.c_fc"), (r"mlp\.fc2", "mlp.c_proj"),
    ]  # fmt: skip
    for key, value in hugging_face.items():
        if not key.startswith("text_model") or re.search(
            "k_proj|v_proj|position_ids", key
        ):
            continue
        if "q_proj" in key:
            value = torch.cat(
                [hugging_face[key.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            )
            key = key.replace("self_attn.q_proj.", "attn.in_proj_")
        for theirs, ours in names:
            key = re.sub(theirs, ours, key)
        state[key] = value
    return state | {
        "text_projection": hugging_face["text_projection.weight"].T.contiguous(),
        "visual.proj": hugging_face["visual_projection.weight"].T.contiguous(),
        "logit_scale": hugging_face["logit_scale"],
        "input_resolution": torch.tensor(SIZE),
        "context_length": torch.tensor(77),
        "vocab_size": torch.tensor(20),
    }


@pytest.fixture(params=["openai.pt", "hugging_face", "open_clip", "open_clip_text"])
def both(request: pytest.FixtureRequest, towers: CLIPModel, tmp_path: Path) -> Path:
    """Both towers as OpenAI, transformers and open_clip store them, the latter in two spellings."""
    source = tmp_path / str(request.param)
    if request.param == "openai.pt":
        torch.save(openai_towers(towers), source)
        return source
    if request.param == "hugging_face":
        towers.save_pretrained(source)
        return source
    settings = ("input_resolution", "context_length", "vocab_size")
    state = {
        key: value
        for key, value in openai_towers(towers).items()
        if key not in settings
    }
    if request.param == "open_clip_text":
        outside = ("visual.", "logit_scale")
        state = {
            key if key.startswith(outside) else f"text.{key}": value
            for key, value in state.items()
        }
    source.mkdir()
    save_file(state, source / "open_clip_model.safetensors")
    (source / "open_clip_config.json").write_text(json.dumps({"model_cfg": OPEN_CLIP}))
    return source


def test_images_and_texts_are_compared_as_transformers_compares_them(
    both: Path, towers: CLIPModel
) -> None:
    net = composed(both, BOTH)
    images = torch.randn(3, 3, SIZE, SIZE)
    ids = torch.tensor([[18, 3, 4, 19, 0], [18, 19, 0, 0, 0], [18, 7, 8, 9, 19]])
    caption = Text(ids, torch.arange(5) <= ids.argmax(dim=1, keepdim=True))
    with torch.no_grad():
        ours = net({"image": images, "caption": caption}, goal="compare")
        theirs = towers(input_ids=ids, pixel_values=images).logits_per_image
    torch.testing.assert_close(ours["similarities"], theirs, atol=1e-4, rtol=1e-4)


def test_both_towers_go_there_and_back(both: Path, tmp_path: Path) -> None:
    spec = tmp_path / "both.yaml"
    spec.write_text(BOTH)
    weights = {"hugging_face": "model.safetensors", "openai.pt": ""}
    file = both / weights.get(both.name, "open_clip_model.safetensors")
    original = dict(read_released(file).tensors)
    import_file(both, spec, tmp_path / "ours.safetensors", "clip")
    text = export_file(
        tmp_path / "ours.safetensors", spec, tmp_path / "back.pt", "clip", like=both
    )
    back = read_released(tmp_path / "back.pt").tensors
    assert set(back) == set(original)
    for key, value in original.items():
        assert back[key].dtype == value.dtype and torch.equal(back[key], value), key
    assert ("copied from the original" in text) == (
        both.name == "openai.pt"
    )  # the three settings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quick_gelu": False}, "does not set quick_gelu"),
        (
            {"text_cfg": {**OPEN_CLIP["text_cfg"], "heads": 4}},
            "has 4 heads, but module 'text' has 2",
        ),  # type: ignore[dict-item]
        ({"vision_cfg": "timm"}, "must describe a vision transformer"),
    ],
)
def test_an_open_clip_that_computes_something_else_is_refused(
    change: dict[str, object], message: str, towers: CLIPModel, tmp_path: Path
) -> None:
    save_file(
        {"logit_scale": torch.zeros(())}, tmp_path / "open_clip_model.safetensors"
    )
    (tmp_path / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": OPEN_CLIP | change})
    )
    with pytest.raises(UserError, match=message):
        composed(tmp_path, BOTH)
