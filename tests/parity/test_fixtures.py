"""Outputs equal to those recorded from the official classes, through specs and the converter."""

import subprocess
import sys
from pathlib import Path

import pytest

from mplug2.parity.compare import compare
from registry import UserError

FIXTURES = ("vqa_eq64", "vqa_v64_h32_distill_stride1", "caption_v64_h32")


@pytest.mark.parametrize("name", FIXTURES)
def test_every_recorded_output_is_met(name: str, shared: Path) -> None:
    rows = compare(shared / "reference/parity/mplug2" / name)
    assert [row.name for row in rows if not row.good] == []
    names = " ".join(row.name for row in rows)
    wanted = ["universal_output", "decoder_logits", "beam ids"]
    if name.startswith("vqa"):
        wanted += ["fusion_image_output", "rank_k3_ids"]
    assert all(part in names for part in wanted)


def test_a_wrong_output_is_seen(shared: Path, tmp_path: Path) -> None:
    """The check can fail: one weight changed, and the tool exits with 1."""
    import json

    from safetensors.torch import load_file, save_file

    source = shared / "reference/parity/mplug2/vqa_eq64"
    for name in ("inputs", "outputs", "state_dict"):
        tensors = load_file(source / f"{name}.safetensors")
        if name == "state_dict":
            tensors["text_decoder.bert.encoder.layer.0.attention.self.query.weight"][0] += 0.5
        save_file(tensors, tmp_path / f"{name}.safetensors")
    (tmp_path / "meta.json").write_text(json.dumps(json.loads((source / "meta.json").read_text())))
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "tools/parity.py", str(tmp_path)], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    assert "BEYOND TOLERANCE" in done.stdout


def test_a_folder_that_is_no_fixture(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a fixture"):
        compare(tmp_path)
