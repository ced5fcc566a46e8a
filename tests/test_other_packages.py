"""Modules and operations of other packages: any order of ports, and results that were not declared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import mplug2
from modules.streams import Tokens
from mplug2.build.dry_run import dry_run
from mplug2.build.eject import eject
from mplug2.build.smoke import smoke, tiny_batch
from mplug2.cli.app import app
from registry import (
    MODULES,
    OPERATIONS,
    Registry,
    Spec,
    SpecError,
    operation,
    parse_spec,
)


@operation(
    inputs={"first": "tokens B N D", "*parts": "tokens B _ D"}, outputs="tokens B N D"
)
def after(first: Tokens, *parts: Tokens) -> Tokens:
    """Add the first token of every part to the first stream."""
    return Tokens(first.values + sum(part.values[:, :1] for part in parts))


@operation(
    inputs={"first?": "tokens B N D", "*parts": "tokens B N D", "scale?": "weight B"},
    outputs="tokens B N D",
)
def between(
    first: Tokens | None,
    *parts: Tokens,
    scale: Tensor | None = None,
    factor: float = 1.0,
) -> Tokens:
    """Sum the streams and scale the sum."""
    total = torch.stack(
        [one.values for one in ([first] if first else []) + list(parts)]
    ).sum(0)
    return Tokens(factor * total * (1.0 if scale is None else scale[:, None, None]))


class Careless(nn.Module):
    """Returns what `gives` says, whatever it declares."""

    inputs = {"tokens": "tokens B N width"}
    outputs = {"mean": "vector B width", "all": "tokens B N width"}

    def __init__(self, width: int, gives: str) -> None:
        super().__init__()
        self.gives = gives
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, tokens: Tokens) -> Any:
        values = tokens.values * self.weight
        if self.gives == "both":
            return {"mean": values.mean(1), "all": Tokens(values)}
        if self.gives == "bare":
            return {"mean": values.mean(1), "all": values}
        if self.gives == "wrapped":
            return {"mean": Tokens(values), "all": Tokens(values)}
        return {"mean": values.mean(1)}


def enter(
    monkeypatch: pytest.MonkeyPatch,
    registry: Registry,
    name: str,
    thing: Callable[..., Any],
) -> None:
    """Register a thing for one test."""
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    registry.register(name)(thing)


def flow(line: str) -> Spec:
    """Return a spec of one line, that reads all of its inputs in another one."""
    return parse_spec(
        "inputs: {a: tokens B N 8, b: tokens B N 8, c: tokens B N 8, w: weight B}\n"
        f"flow: {{it: '{line}', rest: 'concat(a, b, c)'}}\n"
        "goals: {out: {it: it, rest: rest, w: w}}\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        "after(a, b, c)",
        "after(b, c, first=a)",
        "after(first=a, parts=b)",
        "between(a, b, scale=w)",
        "between(a, b, c, scale=w, factor=2.0)",
        "between(parts=b)",
    ],
)
def test_a_port_of_many_streams_beside_others(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(monkeypatch, OPERATIONS, "after", after)
    enter(monkeypatch, OPERATIONS, "between", between)
    spec = flow(line)
    dry_run(spec)
    smoke(spec)
    net = mplug2.compose(spec)
    batch = tiny_batch(net, "out")
    made: dict[str, Any] = {}
    exec(compile(eject(spec), "net.py", "exec"), made)
    a, b, c = (batch[name].values for name in "abc")
    expected = {
        "after(a, b, c)": a + b[:, :1] + c[:, :1],
        "after(b, c, first=a)": a + b[:, :1] + c[:, :1],
        "after(first=a, parts=b)": a + b[:, :1],
        "between(a, b, scale=w)": a + b,
        "between(a, b, c, scale=w, factor=2.0)": 2 * (a + b + c),
        "between(parts=b)": b,
    }
    for one in (net, made["Spec"]()):
        torch.testing.assert_close(one(batch, "out")["it"].values, expected[line])


@pytest.mark.parametrize(
    ("gives", "message"),
    [
        ("both", ""),
        (
            "bare",
            "'x.all' is declared as tokens B N 8, but comes out as Tensor, not Tokens",
        ),
        (
            "wrapped",
            "'x.mean' is declared as vector B 8, but comes out as Tokens, not Tensor",
        ),
        ("one", "'x.all' is declared as tokens B N 8, but comes out as nothing"),
    ],
)
def test_what_comes_out_must_be_of_the_declared_kind(
    gives: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(monkeypatch, MODULES, "careless", Careless)
    modules = f"modules: {{m: {{use: careless, width: 8, gives: {gives}}}}}"
    spec = parse_spec(
        f"inputs: {{a: tokens B N D}}\n{modules}\nflow:\n  x: m(a)\n"
        "goals: {out: {mean: x.mean, all: x.all}}\n"
    )
    try:
        dry_run(spec)
        found = ""
    except SpecError as error:
        found = error.problems[0].message
        assert error.problems[0].place.line == 4
    assert found == message


def test_a_broken_package_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULES, "_entries", dict(MODULES._entries))
    MODULES.register("broken", "no_such_package.at_all:Thing")
    done = CliRunner().invoke(app, ["list", "*o*"])
    assert done.exit_code == 0, done.output
    assert "cannot be read: no_such_package.at_all:Thing" in " ".join(
        done.output.split()
    )
    assert "concat" in done.output
    file = tmp_path / "a.yaml"
    file.write_text(
        "inputs: {q: text B L}\nmodules: {t: {use: text_encoder, width: 8, depth: 1}}\n"
        "flow: {x: t(q)}\ngoals: {out: {x: x}}\n"
    )
    done = CliRunner().invoke(app, ["check", str(file), "--stages", "1-3"])
    assert "what makes tokens of text: clip_text, text_embedding" in done.output, (
        done.output
    )
