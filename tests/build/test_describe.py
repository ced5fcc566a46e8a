"""What a spec comes to as text: golden files are up to date, and differences are told by name."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from small_specs import spec_parameters
from typer.testing import CliRunner

from mplug2.build.describe import describe, describe_text, differences
from mplug2.cli.app import app
from registry import parse_spec, read_spec, write_spec

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "planted" / "base.yaml"  # a spec that no tuning changes

found = importlib.util.spec_from_file_location(
    "golden_tool", ROOT / "tools" / "golden.py"
)
assert found is not None
assert found.loader is not None
golden = importlib.util.module_from_spec(found)
found.loader.exec_module(golden)


@pytest.mark.parametrize("spec", spec_parameters(golden.shipped()))
def test_golden_files_are_up_to_date(spec: Path) -> None:
    changed = golden.changes(spec)
    assert not changed, (
        f"{changed}\nmeant? `python tools/golden.py --update`, and commit the diff"
    )


def test_no_golden_file_without_its_spec() -> None:
    assert list(golden.stale()) == []


def test_a_text_holds_the_resolved_spec_the_streams_and_every_weight() -> None:
    spec = read_spec(TINY, ["freeze=[vision.stem]"])
    text, found = describe_text(spec), describe(spec)
    assert text.startswith("# resolved spec\n" + write_spec(spec))
    assert "\nboth.vision     tokens Q patches.N 96\n" in text
    assert found.weights["vision.blocks.*.attn.qkv.weight"] == "4 x [288, 96]"
    assert "trainable" in found.weights["vision"]
    assert "trainable" not in found.weights["text"]


def test_a_written_spec_is_the_same_network() -> None:
    spec = read_spec(TINY)
    assert differences(describe(spec), describe(parse_spec(write_spec(spec)))) == {}


def test_diff_tells_settings_streams_and_weights(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(
        f"extends: {TINY}\nmodules: {{vision: {{frames: 3, depth: 5}}}}\ntrain: {{lr: 2e-4}}\n"
    )
    done = CliRunner().invoke(app, ["diff", str(TINY), str(other)])
    assert done.exit_code == 1, done.output
    rows = [line.split() for line in done.output.splitlines()]
    assert ["modules.vision.frames", "6", "3"] in rows
    assert ["train.lr", "2e-05", "0.0002"] in rows
    assert [
        "video",
        "frames",
        "V",
        "3",
        "6",
        "48",
        "48",
        "frames",
        "V",
        "3",
        "3",
        "48",
        "48",
    ] in rows
    assert any(row and row[0] == "vision.blocks.*.norm1.bias" for row in rows)
    assert not any(row and row[0].startswith("text.") for row in rows)


def test_a_default_that_is_written_out_is_no_difference() -> None:
    plain = describe(read_spec(TINY))
    same = read_spec(
        TINY,
        [
            "modules.vision.mlp_ratio=4.0",
            "modules.vision.recompute=none",
            "train.max_grad_norm=1",
        ],
    )
    assert differences(plain, describe(same)) == {}
    other = differences(
        plain, describe(read_spec(TINY, ["modules.vision.recompute=all"]))
    )
    assert other == {"settings": [("modules.vision.recompute", "none", "all")]}


def test_diff_of_equals_is_empty_and_ends_with_0() -> None:
    done = CliRunner().invoke(app, ["diff", str(TINY), str(TINY)])
    assert (done.exit_code, done.output.strip()) == (0, "no differences")
