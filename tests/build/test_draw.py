"""Pictures of networks: what is in them, where things stand, and the three formats."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from counting import operations
from drawn import assert_nothing_overlaps
from hypothesis import given, settings
from hypothesis import strategies as st
from small_specs import FILES, spec_parameters
from typer.testing import CliRunner

import mplug2  # noqa: F401  (fills the registries)
from mplug2.build.drawing.diagram import read_diagram
from mplug2.build.drawing.layout import Place, _crossings, lay_out, spread
from mplug2.build.drawing.scene import build_scene
from mplug2.build.drawing.shapes import MOMENTUM, SHARED, wrapped
from mplug2.build.drawing.svg import write_svg
from mplug2.cli.app import app
from registry import Spec, parse_spec, read_spec

ROOT = Path(__file__).resolve().parents[2]
LARGE = ROOT / "configs_video" / "VideoQA_msrvtt_large.yaml"
TEACHER = (
    (
        "flow.loss=lm_loss(logits, target=answer, weight=answer_weight, question_index=question_index, "
        "teacher=ema(logits), alpha=0.4)"
    ),
    "momentum.decay=0.99",
    "freeze=[vision, text.layers.0]",
)


def large(*overrides: str) -> Spec:
    return read_spec(LARGE, overrides)


def test_a_module_called_twice_is_shared_and_one_handed_on_counts() -> None:
    diagram = read_diagram(large())
    assert diagram.shared == ["universal", "decoder"]
    assert diagram.nodes["generated"].modules == ("decoder",)
    assert {node.kind for node in diagram.nodes.values()} == {
        "input",
        "module",
        "operation",
        "goal",
    }


def test_every_use_of_a_stream_is_an_edge_with_its_shape() -> None:
    edges = {(edge.stream, edge.target): edge for edge in read_diagram(large()).edges}
    assert edges["fused.vision", "memory"].shape == "tokens Q vision_encoded.N 1024"
    assert edges["video", "vision_encoded"].shape == "frames V 3 16 224 224"
    assert edges["text_hidden", "fused"].port == "text"
    assert edges["loss", "train:loss"].shape == "scalar"


def test_momentum_marks_what_runs_again_and_only_that() -> None:
    diagram = read_diagram(large(*TEACHER))
    again = {key for key, run in diagram.runs.items() if run.momentum}
    assert {
        "vision_encoded",
        "vision_hidden",
        "text_hidden",
        "memory",
        "logits",
    } <= again
    assert not again & {"loss", "generated", "video", "answer"}
    teacher = next(edge for edge in diagram.edges if edge.port == "teacher")
    assert (diagram.edges[teacher].plain, diagram.edges[teacher].momentum) == (
        False,
        True,
    )
    assert not any(run.momentum for run in read_diagram(large()).runs.values())


def test_frozen_in_whole_and_in_part() -> None:
    frozen = {
        key: node.frozen for key, node in read_diagram(large(*TEACHER)).nodes.items()
    }
    states = tuple(
        frozen[stream]
        for stream in ("vision_encoded", "text_encoded", "fused", "vision_per_text")
    )
    assert states == ("all", "part", "no", "no")


@pytest.mark.parametrize(
    ("pattern", "frozen"),
    [
        *(
            ("vision", "all"),
            ("vision.*", "all"),
            ("vis*", "all"),
            ("*", "all"),
            ("v*.*", "all"),
        ),
        *(
            ("vision.stem", "part"),
            ("vis*.stem*", "part"),
            ("*.bias", "part"),
            ("visio?.stem", "part"),
        ),
        *(("text.layers", "no"), ("tex*.layers", "no")),
    ],
)
def test_how_much_a_pattern_freezes(pattern: str, frozen: str) -> None:
    assert (
        read_diagram(replace(large(), freeze=[pattern])).nodes["vision_encoded"].frozen
        == frozen
    )


@pytest.mark.parametrize("file", spec_parameters(FILES))
def test_nothing_overlaps(file: Path) -> None:
    assert_nothing_overlaps(read_spec(file))


def test_a_long_chain_is_drawn() -> None:
    lines = "".join(
        f"  s{i}: concat({f's{i - 1}' if i else 'a'}, a)\n" for i in range(100)
    )
    spec = parse_spec(
        f"inputs: {{a: tokens B N 8}}\nflow:\n{lines}goals: {{out: {{it: s99}}}}\n"
    )
    diagram = read_diagram(spec)
    assert len(build_scene(diagram).curves) == len(diagram.edges) >= 199


def test_counting_crossings_does_not_compare_all_pairs_of_edges() -> None:
    def work(edges: int) -> int:
        rows: list[list[Place]] = [
            [f"u{i}" for i in range(edges)],
            [f"l{i}" for i in range(edges)],
        ]
        below: dict[Place, list[Place]] = {
            f"u{i}": [f"l{7 * i % edges}"] for i in range(edges)
        }
        return operations(lambda: _crossings(rows, below))

    assert work(400) < 6 * work(100)  # all pairs: 16 times


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), unique=True))
def test_crossings_are_counted(edges: list[tuple[int, int]]) -> None:
    below: dict[Place, list[Place]] = {
        f"u{i}": [f"l{b}" for a, b in edges if a == i] for i in range(6)
    }
    rows: list[list[Place]] = [list(below), [f"l{i}" for i in range(6)]]
    expected = sum(a < c and b > d for a, b in edges for c, d in edges)
    assert _crossings(rows, below) == expected


def test_long_edges_bend_around_nodes() -> None:
    layout = lay_out({"a": 50, "b": 50, "c": 50}, [("a", "b"), ("b", "c"), ("a", "c")])
    assert layout.layers == {"a": 0, "b": 1, "c": 2}
    (bend,) = layout.bends("a", "c")
    assert abs(layout.middles[bend] - layout.middles["b"]) >= 25


def test_chains_and_long_edges_are_straight() -> None:
    scene = build_scene(read_diagram(large()))
    diagram = read_diagram(large())
    for edge, curve in zip(diagram.edges, scene.curves, strict=True):
        if (edge.source, edge.target) in (
            ("video", "vision_encoded"),
            ("vision_encoded", "vision_hidden"),
            ("loss", "train:loss"),
        ):
            assert abs(curve.points[0][0] - curve.points[-1][0]) < 1, edge
        for (x, _), (other, _) in pairwise(curve.points[1:-1]):
            assert abs(x - other) < 2, edge


def test_a_long_call_is_written_in_full() -> None:
    call = "beam_search(@decoder, num_beams=5, num_return_sequences=5, min_length=1, max_length=10)"
    assert wrapped(call) == [
        "beam_search(@decoder, num_beams=5,",
        "num_return_sequences=5, min_length=1,",
        "max_length=10)",
    ]
    assert wrapped("take") == ["take"]
    many = wrapped(f"act({', '.join(f'option_{i}={i}' for i in range(40))})")
    assert (len(many), many[-1]) == (4, "…")
    assert all(len(line) <= 39 for line in wrapped(f"act({'x' * 90})"))


def test_inputs_stand_above_what_needs_them() -> None:
    arrows = [("a", "b"), ("b", "c"), ("late", "c")]
    assert (
        lay_out(dict.fromkeys(("a", "late", "b", "c"), 9.0), arrows, ["late"]).layers[
            "late"
        ]
        == 1
    )


def test_spread_is_least_squares_with_distances() -> None:
    assert spread([0, 10], [5], [1, 1]) == [0, 10]
    assert spread([5, 5, 5], [4, 4], [1, 1, 1]) == [1, 5, 9]
    assert spread([0, 0], [3], [2, 1]) == [-1, 2]


def test_svg_has_the_colours_and_is_well_formed() -> None:
    text = write_svg(build_scene(read_diagram(large(*TEACHER))))
    root = ET.fromstring(text)
    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {
        "vision_encoded",
        "universal(route='vision')",
        "tokens Q L 1024",
        "frozen",
        "frozen in part",
    } <= texts
    assert text.count(f'fill="{SHARED[0]}"') == 3  # two calls and the legend
    assert MOMENTUM in text
    assert "stroke-dasharray" in text
    assert "stroke-dasharray" not in write_svg(build_scene(read_diagram(large())))


@pytest.mark.parametrize("suffix", ["svg", "png", "mmd"])
def test_the_command_writes_the_same_file_twice(suffix: str, tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.{suffix}" for i in range(2)]
    for file in files:
        done = CliRunner().invoke(app, ["draw", str(LARGE), "-o", str(file)])
        assert done.exit_code == 0, done.output
    assert files[0].read_bytes() == files[1].read_bytes()
    if suffix == "mmd":
        text = files[0].read_text()
        assert "#64;decoder" in text
        assert "flowchart TD" in text


def test_a_wrong_suffix_and_a_missing_folder_are_reported(tmp_path: Path) -> None:
    for out, words in (("net.gif", ".svg, .png, .mmd"), ("none/net.svg", "no folder")):
        done = CliRunner().invoke(app, ["draw", str(LARGE), "-o", str(tmp_path / out)])
        assert done.exit_code == 2
        assert words in done.output
