"""Large networks made narrow for stage 5: the same weights by name, every width by the same number."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import mplug2
from mplug2.build import smoke
from mplug2.build.shrink import narrowed
from registry import Spec, parse_spec, read_spec

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "configs_video" / "VideoQA_shapes_tiny.yaml"
LARGE = [
    ROOT / f"{name}.yaml"
    for name in (
        "configs_video/VideoQA_msrvtt_large",
        "configs_image/retrieval_coco_mplug_large",
    )
]


def parameters(spec: Spec) -> dict[str, int]:
    net = mplug2.compose(spec, device="meta", initial=False)
    return {name: one.numel() for name, one in net.named_parameters()}


@pytest.mark.parametrize("file", LARGE, ids=lambda file: file.stem)
def test_shipped_networks_become_small_and_keep_their_names(file: Path) -> None:
    spec = read_spec(file)
    narrow, divisor = narrowed(spec)
    before, after = parameters(spec), parameters(narrow)
    assert divisor == 16
    assert list(before) == list(after)
    assert sum(after.values()) < 20_000_000 < sum(before.values())
    assert narrow.place("modules") == spec.place("modules")


def test_heads_and_the_narrowest_width_set_the_limit() -> None:
    spec = read_spec(
        TINY
    )  # width 96, 4 heads: 96 / 4 = 24 is the first above 16 that 4 heads divide
    assert narrowed(spec)[1] == 4
    assert narrowed(spec)[0].modules["vision"].arguments["width"] == 24
    assert narrowed(read_spec(TINY, ["modules.vision.heads=3"]))[1] == 4
    assert narrowed(read_spec(TINY, ["modules.vision.heads=32"]))[1] == 1


def test_tokens_among_the_inputs_follow() -> None:
    spec = parse_spec(
        "inputs: {seen: tokens B N 512, label: labels B}\n"
        "modules: {head: {use: class_head, width: 512, classes: 2}}\n"
        "flow: {logits: head(seen), loss: 'cross_entropy(logits, target=label)'}\n"
        "goals: {train: {loss: loss}}\n"
    )
    narrow, divisor = narrowed(spec)
    assert (narrow.inputs["seen"].axes[-1], divisor) == (32, 16)
    assert narrow.modules["head"].arguments == {"width": 32, "classes": 2}


def test_a_large_network_takes_its_step_narrow_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = read_spec(TINY)
    assert smoke.smoke(spec) == ""
    monkeypatch.setattr(smoke, "LARGE", 1)
    assert smoke.smoke(spec) == "stage 5 with widths divided by 4"


def test_one_that_cannot_become_narrow_is_told_before(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(smoke, "LARGE", 1)
    with caplog.at_level(logging.WARNING, "mplug2"):
        assert smoke.smoke(read_spec(TINY, ["modules.vision.heads=32"])) == ""
    assert "takes its step with all 1 million parameters" in caplog.text
