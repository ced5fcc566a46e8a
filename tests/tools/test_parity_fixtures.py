"""Outputs equal to those recorded from the official classes, through specs and the converter."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from quick import mostly_slow
from safetensors.torch import load_file, save_file

from registry import UserError
from tools.parity import families
from tools.parity.compare import compare

Tensors = dict[str, torch.Tensor]
FIXTURES = ("vqa_eq64", "vqa_v64_h32_distill_stride1", "caption_v64_h32")


MPLUG = (
    ("fusion", ["S1_layer1_raw_output", "S3_image_output"]),
    ("vqa", ["base_S3_train_loss", "base_S3_beam3_ids_2_2", "base_S3_rank_ids"]),
    (
        "retrieval",
        ["loss_ita", "soft_t2i", "itm_logits", "pair_itm_logits", "after::image_queue"],
    ),
    ("grounding", ["loss_seq", "loss_elementwise_intended", "pred_box", "pred_iou"]),
)


def failed_rows(
    fixture: Path, folder: Path, file: str, change: Callable[[Tensors], Tensors]
) -> list[str]:
    """Copy a fixture, replace tensors of one of its files by what ``change`` returns, and compare it."""
    shutil.copytree(fixture, folder, dirs_exist_ok=True)
    path = folder / f"{file}.safetensors"
    tensors = load_file(path)
    save_file(tensors | change(tensors), path)
    return [row.name for row in compare(folder) if not row.good]


@pytest.mark.parametrize("name", mostly_slow(FIXTURES, [FIXTURES[0], FIXTURES[2]]))
def test_every_recorded_output_is_met(name: str, shared: Path) -> None:
    rows = compare(shared / "reference/parity/mplug2" / name)
    assert [row.name for row in rows if not row.good] == []
    names = " ".join(row.name for row in rows)
    required = ["universal_output", "decoder_logits", "beam ids"]
    if name.startswith("vqa"):
        required += ["fusion_image_output", "rank_k3_ids"]
    assert all(part in names for part in required)


@pytest.mark.parametrize(("name", "required"), MPLUG)
def test_every_recorded_output_of_mplug_is_met(
    name: str, required: list[str], shared: Path
) -> None:
    rows = compare(shared / "reference/parity/mplug" / name)
    assert [row.name for row in rows if not row.good] == []
    names = {row.name for row in rows}
    assert set(required) <= names and len(names) == len(rows)


UNITER = (
    (
        "pretrain",
        ["mrckl.loss", "itm.ot_plan", "mlm.grad.cls.predictions.bias", "mrfr.layer.2"],
    ),
    ("vqa", ["loss", "grad.vqa_output.3.bias"]),
    ("itm_rank", ["scores", "loss_each"]),
    ("nlvr2_paired", ["embedding_output", "grad.nlvr2_output.weight"]),
    ("nlvr2_paired_attn", ["scores", "grad.attn1.in_proj_weight"]),
    ("adamw", ["lr.8", "w.9", "b.9"]),
)


@pytest.mark.parametrize(("name", "required"), UNITER)
def test_every_recorded_output_of_uniter_is_met(
    name: str, required: list[str], shared: Path
) -> None:
    rows = compare(shared / "reference/parity/uniter" / name)
    assert [row.name for row in rows if not row.good] == []
    assert set(required) <= {row.name for row in rows}


@pytest.mark.parametrize(
    ("name", "file", "key", "seen"),
    [
        (
            "pretrain",
            "state_dict",
            "uniter.img_embeddings.mask_embedding.weight",
            "mrfr.loss",
        ),
        ("pretrain", "inputs", "itm.targets", "itm.loss_ot"),
        ("nlvr2_paired_attn", "state_dict", "attn_pool.fc.0.weight", "scores"),
        ("adamw", "inputs", "gw", "w.1"),
    ],
)
def test_a_wrong_tensor_of_uniter_is_seen(
    name: str, file: str, key: str, seen: str, shared: Path, tmp_path: Path
) -> None:
    fixture = shared / "reference/parity/uniter" / name
    assert seen in failed_rows(
        fixture, tmp_path, file, lambda tensors: {key: 1 - tensors[key]}
    )


@pytest.mark.parametrize(
    ("name", "required"),
    [
        (
            "vlmo/base_pretrain",
            ["vl.block3", "itc.loss", "itm.logits", "mlm.logits", "index.text_image"],
        ),
        ("vlmo/irtr", ["irtr.loss", "image_ft.raw_cls_feats"]),
        ("vlmo/textmlm", ["textmlm.loss", "text_mlm.text_feats"]),
        ("vlmo/vqa", ["vqa.loss", "vqa.logits"]),
        (
            "beit/mim",
            [
                "logits_all",
                "grad.mask_token",
                "grad.rel_pos_bias.relative_position_bias_table",
            ],
        ),
        (
            "beit/per_block_mean",
            ["pooled", "grad.blocks.0.attn.relative_position_bias_table"],
        ),
        ("beit/shared_mean", ["rel_pos_bias", "grad.blocks.1.mlp.fc1.weight"]),
        ("beit/resize", ["w14_w24.after", "w14_w30.after", "vlmo_w4_w6.after"]),
        ("beit/to_vlmo", ["vlmo_table_after"]),
        (
            "clip/contrastive",
            [
                "visual.block.2",
                "loss",
                "grad.logit_scale",
                "after_step.visual.conv1.weight",
            ],
        ),
        ("clip/zeroshot", ["class_weights", "logits_100", "top3"]),
    ],
)
def test_every_recorded_output_of_vlmo_beit_and_clip_is_met(
    name: str, required: list[str], shared: Path
) -> None:
    rows = compare(shared / "reference/parity" / name)
    assert [row.name for row in rows if not row.good] == []
    assert set(required) <= {row.name for row in rows}


def test_every_recorded_output_of_timix_is_met(shared: Path) -> None:
    rows = compare(shared / "reference/parity/timix/pretrain")
    assert [row.name for row in rows if not row.good] == []
    names = {row.name for row in rows}
    assert {
        "loss_ita",
        "loss_mlm",
        "pta_loss",
        "mix3.loss",
        "mix1.source_mask",
        "salient_score",
    } <= names


SCORE_PREDICTOR = "visual_encoder.visual.transformer.score_predictor"


@pytest.mark.parametrize(
    ("key", "seen"),
    [
        (
            f"{SCORE_PREDICTOR}.out_conv.2.weight",
            ["patch_predictor_log_probs", "pta_loss"],
        ),
        (f"{SCORE_PREDICTOR}.in_conv.0.bias", ["mix3.source_mask", "mix3.image"]),
        ("fusion_encoder_m.cls.predictions.decoder.weight", ["loss_mlm"]),
        ("text_proj.bias", ["mix1.loss", "predicted_distribution"]),
    ],
)
def test_a_wrong_weight_of_timix_is_seen(
    key: str, seen: list[str], shared: Path, tmp_path: Path
) -> None:
    def change(tensors: Tensors) -> Tensors:
        torch.manual_seed(0)
        return {key: tensors[key] + torch.randn_like(tensors[key])}

    failed = failed_rows(
        shared / "reference/parity/timix/pretrain", tmp_path, "state_dict", change
    )
    assert set(seen) <= set(failed)


@pytest.mark.parametrize(
    ("name", "weight"),
    [
        ("uniter/itm_rank", "uniter.extra.weight"),
        ("vlmo/vqa", "extra.weight"),
        ("timix/pretrain", "extra.weight"),
        ("beit/mim", "extra.weight"),
        ("clip/contrastive", "extra.weight"),
    ],
)
def test_a_weight_or_input_that_fits_no_name_is_a_failure(
    name: str, weight: str, shared: Path, tmp_path: Path
) -> None:
    shutil.copytree(shared / "reference/parity" / name, tmp_path, dirs_exist_ok=True)
    for file, key in (("state_dict", weight), ("inputs", "extra_ids")):
        path = tmp_path / f"{file}.safetensors"
        save_file(load_file(path) | {key: torch.zeros(1)}, path)
    failed = [row.name for row in compare(tmp_path) if not row.good]
    assert failed == [f"weight {weight}", "input extra_ids"]


@pytest.mark.parametrize(
    ("name", "key", "seen"),
    [
        (
            "vlmo/base_pretrain",
            "transformer.blocks.3.mlp_vl.fc2.weight",
            "text_only.cls_vlffn_feats",
        ),
        ("vlmo/vqa", "relative_position_bias_table", "vqa.logits"),
        ("vlmo/irtr", "token_type_embeddings.weight", "irtr.loss"),
        ("beit/mim", "mask_token", "loss"),
        ("beit/per_block_mean", "blocks.2.attn.q_bias", "logits"),
        ("clip/contrastive", "text_projection", "after_step.text_projection"),
        ("clip/zeroshot", "positional_embedding", "class_weights"),
    ],
)
def test_a_wrong_weight_of_vlmo_beit_and_clip_is_seen(
    name: str, key: str, seen: str, shared: Path, tmp_path: Path
) -> None:
    def change(tensors: Tensors) -> Tensors:
        return {key: tensors[key] + torch.rand_like(tensors[key])}

    assert seen in failed_rows(
        shared / "reference/parity" / name, tmp_path, "state_dict", change
    )


@pytest.mark.parametrize(
    ("name", "part", "key", "seen"),
    [
        (
            "fusion",
            "S3_",
            "encoder.layer.5.attention.self.query.weight",
            "S3_image_output",
        ),
        (
            "retrieval",
            "",
            "text_encoder_m.encoder.layer.0.output.dense.bias",
            "loss_ita",
        ),
        ("retrieval", "", "temp", "soft_i2t"),
        (
            "grounding",
            "",
            "text_decoder.cls.predictions.transform.dense.bias",
            "loss_seq",
        ),
    ],
)
def test_a_wrong_weight_of_mplug_is_seen(
    name: str, part: str, key: str, seen: str, shared: Path, tmp_path: Path
) -> None:
    def change(tensors: Tensors) -> Tensors:
        return {key: tensors[key] + 0.5 * torch.rand_like(tensors[key])}

    fixture = shared / "reference/parity/mplug" / name
    assert seen in failed_rows(fixture, tmp_path, f"{part}state_dict", change)


def test_an_output_that_nothing_was_compared_with_is_a_failure(
    shared: Path, tmp_path: Path
) -> None:
    shutil.copytree(
        shared / "reference/parity/mplug/grounding", tmp_path, dirs_exist_ok=True
    )
    file = tmp_path / "outputs.safetensors"
    save_file(load_file(file) | {"something_else": torch.zeros(1)}, file)
    assert [row.name for row in compare(tmp_path) if not row.good] == [
        "something_else (no counterpart here)"
    ]


@pytest.mark.slow
def test_a_wrong_output_is_seen(shared: Path, tmp_path: Path) -> None:
    """The check can fail: one weight changed, and the tool exits with 1."""
    source = shared / "reference/parity/mplug2/vqa_eq64"
    for name in ("inputs", "outputs", "state_dict"):
        tensors = load_file(source / f"{name}.safetensors")
        if name == "state_dict":
            tensors["text_decoder.bert.encoder.layer.0.attention.self.query.weight"][
                0
            ] += 0.5
        save_file(tensors, tmp_path / f"{name}.safetensors")
    (tmp_path / "meta.json").write_text(
        json.dumps(json.loads((source / "meta.json").read_text()))
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "tools/parity.py", str(tmp_path)],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert "BEYOND TOLERANCE" in done.stdout


@pytest.mark.parametrize(
    ("family", "name"), [("mplug2", "vqa_eq64"), ("mplug", "retrieval")]
)
@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("outputs.safetensors", None),
        ("state_dict.safetensors", b""),
        ("meta.json", b"[]"),
        ("meta.json", b'{"kind": []'),
        ("meta.json", b"\xff"),
    ],
)
def test_a_broken_file_of_a_fixture_is_named(
    family: str,
    name: str,
    file: str,
    content: bytes | None,
    shared: Path,
    tmp_path: Path,
) -> None:
    shutil.copytree(
        shared / "reference/parity" / family / name, tmp_path, dirs_exist_ok=True
    )
    broken = tmp_path / file
    broken.write_bytes(broken.read_bytes()[:1000] if content is None else content)
    with pytest.raises(UserError, match="not a fixture"):
        compare(tmp_path)


def test_every_row_of_the_retrieval_fixture_can_fail(
    shared: Path, tmp_path: Path
) -> None:
    """What is not replayed from the fixture is computed here: other recordings are seen in every row."""
    shutil.copytree(
        shared / "reference/parity/mplug/retrieval", tmp_path, dirs_exist_ok=True
    )
    file = tmp_path / "outputs.safetensors"
    replayed = ("neg_image_for_text", "neg_text_for_image")
    tensors = {
        key: x if key in replayed else x + 1 for key, x in load_file(file).items()
    }
    for key in ("weights_i2t", "weights_t2i"):  # compared as shares of their sums
        tensors[key] = torch.rand_like(tensors[key])
    save_file(tensors, file)
    assert [row.name for row in compare(tmp_path) if row.good] == []


def test_a_folder_that_is_no_fixture(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a fixture"):
        compare(tmp_path)


def test_a_family_that_has_no_comparison_here_is_not_taken_for_another(
    shared: Path, tmp_path: Path
) -> None:
    shutil.copytree(
        shared / "reference/parity/clip/contrastive", tmp_path, dirs_exist_ok=True
    )
    for name in ("config", "meta"):
        (tmp_path / f"{name}.json").write_text('{"width": 8}')
    with pytest.raises(
        UserError, match=r"none of (\w+, )+\w+ recognizes its config.json and meta.json"
    ):
        compare(tmp_path)


def test_a_family_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in `families` is found, gets every fixture's numbers, and cannot forget a recorded tensor."""
    (tmp_path / "toy.py").write_text(
        "def recognizes(fixture): return fixture.meta.get('toy') == 1\n"
        "def compare(fixture, rows): rows.close('a', fixture.tensors('inputs')['a'] * 2)\n"
    )
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(tmp_path)])
    folder = tmp_path / "fixture"
    folder.mkdir()
    (folder / "meta.json").write_text('{"toy": 1}')
    save_file({"a": torch.ones(3)}, folder / "inputs.safetensors")
    save_file(
        {"a": torch.full((3,), 2.0), "b": torch.ones(1)}, folder / "outputs.safetensors"
    )
    rows = compare(folder)
    assert [(row.name, row.verdict) for row in rows] == [
        ("a", "ok"),
        ("b (no counterpart here)", "NOT COMPARED"),
    ]
