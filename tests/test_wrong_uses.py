"""Wrong uses of the Python API end in a sentence for the user, never in an error from inside.

Each case is a call of a public function of `mplug2`, `registry` or of a network with something that it cannot
take. It must raise UserError. For wrong keywords Python's own TypeError is as good, and functions that read
one word of the language (`read_type`, `read_port`) raise ValueError.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mplug2
import registry
from modules.streams import Text
from registry import KINDS, Kind, Location, Registry, Spec, SpecError, UserError

TEXT = """
inputs: {text: text B L, label: labels B}
modules:
  words: {use: text_embedding, width: 8, vocab_size: 9, max_positions: 6}
  head:  {use: class_head, width: 8, classes: 3}
flow:
  embedded: words(text)
  logits:   head(embedded)
  loss:     cross_entropy(logits, target=label)
goals: {train: {loss: loss}, predict: {label: logits}}
train: {epochs: 1, output_dir: run}
"""
SPEC = registry.parse_spec(TEXT, "small.yaml")
NET = mplug2.compose(SPEC)
PLAN = mplug2.training_plan(SPEC)


def text(*ids: int) -> Text:
    row = torch.tensor([ids])
    return Text(row, torch.ones_like(row, dtype=torch.bool))


GOOD = {"text": text(1, 2, 3), "label": torch.tensor([0])}
NOT_PATHS = {
    "None": None,
    "a number": 5,
    "a list": ["a"],
    "bytes": b"small.yaml",
    "a mapping": {},
}
BAD_PATHS = {
    "missing": "no.yaml",
    "a folder": ".",
    "NUL": "a\0b",
    "empty": "",
    "long": "a" * 5000,
}
OVERRIDES = {
    "a text": "train.lr=1",
    "numbers": [5],
    "None": [None],
    "a number": 5,
    "without =": ["train.lr"],
    "unknown": ["nosuch.key=1"],
    "too deep": ["train.lr.a.b=1"],
}
GOALS: dict[str, Any] = {
    "unknown": "nosuch",
    "a number": 5,
    "None": None,
    "a list": ["logits"],
    "unknown stream": ("nosuch",),
    "numbers": (5,),
}
BATCHES: dict[str, Any] = {
    "None": None,
    "a list": [text(1)],
    "a number": 5,
    "empty": {},
    "without label": {"text": text(1)},
    "unknown input": {**GOOD, "x": 1},
    "key that is a number": {5: 5},
    "ids as a tensor": {**GOOD, "text": torch.ones(1, 3, dtype=torch.long)},
    "texts": {**GOOD, "text": ["a dog"]},
    "a list of labels": {**GOOD, "label": [0]},
    "an array": {**GOOD, "label": np.zeros(1)},
    "an axis too many": {**GOOD, "label": torch.zeros(1, 1, dtype=torch.long)},
    "real labels": {**GOOD, "label": torch.zeros(1)},
    "label out of range": {**GOOD, "label": torch.tensor([7])},
    "id out of range": {**GOOD, "text": text(1, 99)},
    "negative id": {**GOOD, "text": text(1, -4)},
    "real ids": {
        **GOOD,
        "text": Text(torch.ones(1, 3), torch.ones(1, 3, dtype=torch.bool)),
    },
    "too long": {**GOOD, "text": text(*[1] * 9)},
    "other number of rows": {**GOOD, "label": torch.tensor([0, 1])},
}
VALUE_ONLY = ("unknown input", "without label", "empty", "key that is a number")
NOT_SPECS = {"None": None, "a path": "small.yaml", "a number": 5, "a mapping": {}}
DEVICES: dict[str, Any] = {
    "unknown": "nowhere",
    "negative": -5,
    "a list": [],
    "absent": "xla:9",
}
Call = Callable[[], Any]


def calls_of_specs() -> Iterator[tuple[str, Call]]:
    readers = {
        "read_spec": mplug2.read_spec,
        "compose": mplug2.compose,
        "train": mplug2.train,
        "pipeline": mplug2.pipeline,
        "Spec.read": Spec.read,
    }
    for (name, read), (kind, path) in itertools.product(
        readers.items(), (NOT_PATHS | BAD_PATHS).items()
    ):
        yield f"{name}({kind})", partial(read, path)
    for (name, read), (kind, overrides) in itertools.product(
        readers.items(), OVERRIDES.items()
    ):
        if name != "read_spec" or kind not in (
            "unknown",
            "too deep",
        ):  # which a check finds
            yield (
                f"{name} with overrides: {kind}",
                partial(read, "small.yaml", overrides),
            )
    for kind, overrides in OVERRIDES.items():
        if kind != "a text":
            yield f"with_({kind})", partial(SPEC.with_, overrides)
    functions = {
        "check": mplug2.check,
        "complete": registry.complete,
        "write_spec": registry.write_spec,
        "training_plan": mplug2.training_plan,
        "shadowed_modules": registry.shadowed_modules,
        "plan": lambda spec: registry.plan(spec, "train"),
        "plan_streams": lambda spec: registry.plan_streams(spec, ["logits"]),
        "declaration_of": lambda spec: registry.declaration_of(
            spec, SPEC.flow["logits"]
        ),
    }
    for (name, function), (kind, value) in itertools.product(
        functions.items(), NOT_SPECS.items()
    ):
        yield f"{name}({kind})", partial(function, value)
    for kind, value in (
        NOT_SPECS | {"a list": "[1]", "open": "{", "a tag": "!!python/none x"}
    ).items():
        yield f"parse_spec({kind})", partial(registry.parse_spec, value)
    for kind, value in NOT_SPECS.items():
        yield (
            f"spec_of_tree({kind})",
            partial(registry.spec_of_tree, value, "small.yaml"),
        )
    for kind, sections in {
        "None": None,
        "a number": 5,
        "a section": {"modules": 5},
        "keys that are numbers": {5: 5},
        "an object": {"inputs": {"a": object()}},
        "a tensor": {"train": {"lr": torch.ones(2)}},
        "a set": {"train": {"lr": {1, 2}}},
    }.items():
        yield f"from_dict({kind})", partial(Spec.from_dict, sections)
    for kind, path in {
        "a number": 5,
        "None": None,
        "a folder": ".",
        "nowhere": "no/where.yaml",
    }.items():
        yield f"write({kind})", partial(SPEC.write, path)


def calls_of_networks() -> Iterator[tuple[str, Call]]:
    for kind, goal in GOALS.items():
        yield f"net with goal: {kind}", partial(NET, GOOD, goal)
        yield f"net.plan({kind})", partial(NET.plan, goal)
        yield (
            f"net.count_losses with goal: {kind}",
            partial(NET.count_losses, GOOD, goal),
        )
        if not isinstance(goal, tuple):
            yield f"plan with goal: {kind}", partial(registry.plan, SPEC, goal)
    for kind, batch in BATCHES.items():
        yield f"net({kind})", partial(NET, batch)
    for kind in ("None", "a list", "a number", "texts", "a list of labels", "an array"):
        yield f"net.move({kind})", partial(NET.move, BATCHES[kind])
        yield f"net.count_losses({kind})", partial(NET.count_losses, BATCHES[kind])
    yield "net with observe", partial(NET, GOOD, observe=5)
    yield "get_module", partial(NET.get_module, "nosuch")
    yield "get_module(5)", partial(NET.get_module, 5)  # type: ignore[arg-type]
    yield "load_extra_state", partial(NET.load_extra_state, {"nosuch": 1})
    for kind, device in DEVICES.items():
        yield f"compose on device: {kind}", partial(mplug2.compose, SPEC, device=device)
    yield (
        "compose of a spec with overrides",
        partial(mplug2.compose, SPEC, ["train.lr=1"]),
    )
    yield "compose undrawn", partial(mplug2.compose, SPEC, drawn=False)


def calls_of_runs() -> Iterator[tuple[str, Call]]:
    wrong: list[Any] = [None, 5, "train"]
    for value in wrong:
        yield f"build_loader({value})", partial(mplug2.build_loader, value, {}, None)
        yield (
            f"build_loader(spec, types, {value})",
            partial(mplug2.build_loader, SPEC, {}, value),
        )
        yield (
            f"build_eval_loader({value})",
            partial(mplug2.build_eval_loader, value, {}, "x", "val"),
        )
        yield f"fit({value}, [])", partial(mplug2.fit, value, [])
        yield f"fit(net, {value})", partial(mplug2.fit, NET, value)
        evaluate = partial(mplug2.evaluate, decode=str)
        yield f"evaluate(net, [], {value})", partial(evaluate, NET, [], value)
    yield (
        "build_eval_loader of no source",
        partial(mplug2.build_eval_loader, SPEC, {}, "nosuch", "val"),
    )
    yield (
        "build_eval_loader of no split",
        partial(mplug2.build_eval_loader, SPEC, {}, "data", None),
    )
    yield "evaluate(None)", partial(evaluate, None, [], PLAN)
    yield "evaluate without decode", partial(mplug2.evaluate, NET, [], None)  # type: ignore[call-arg]
    yield "fit(net, {})", partial(mplug2.fit, NET, {})
    yield "fit(a layer)", partial(mplug2.fit, torch.nn.Linear(1, 1), [1])
    yield "fit with evaluation loaders", partial(mplug2.fit, NET, {}, 5)  # type: ignore[arg-type]
    checkpoints = {
        "missing": "nosuch",
        "a number": 5,
        "a folder": ".",
        "a spec": "small.yaml",
    }
    for kind, checkpoint in checkpoints.items():
        yield (
            f"pipeline of checkpoint: {kind}",
            partial(mplug2.pipeline, "small.yaml", checkpoint),
        )
    for top in (0, -1, "a", 1.5, None, True):
        yield (
            f"pipeline(top={top})",
            partial(mplug2.pipeline, "small.yaml", ".", top=top),
        )
    yield (
        "pipeline with a wrong keyword",
        partial(mplug2.pipeline, "small.yaml", batch=3),
    )
    yield "train with a wrong keyword", partial(mplug2.train, "small.yaml", epochs=3)


def calls_of_registries() -> Iterator[tuple[str, Call]]:
    for table in (
        registry.MODULES,
        registry.OPERATIONS,
        registry.TASKS,
        registry.METRICS,
        KINDS,
    ):
        for name in ("nosuch", "", 5, None):
            for method in ("load", "summary", "target"):
                yield (
                    f"{table.kind}.{method}({name!r})",
                    partial(getattr(table, method), name),
                )
    names: list[Any] = ["nosuch", 5, None]
    for name in names:
        yield (
            f"MODULES.declaration({name!r})",
            partial(registry.MODULES.declaration, name),
        )
        yield f"KINDS.half({name!r})", partial(KINDS.half, name)
        yield f"KINDS[{name!r}]", partial(KINDS.__getitem__, name)
        yield f"KINDS.add({name!r})", partial(KINDS.add, name)
        yield f"Declaration.of({name!r})", partial(registry.Declaration.of, name)
    table = Registry("thing")
    yield "register(5)", partial(table.register, 5)  # type: ignore[call-overload]
    yield "register without a target", partial(table.register, "x", "nocolon")
    yield "register of a number", partial(table.register, "x", 5)  # type: ignore[call-overload]
    yield "register of a value", lambda: table.register("x")(5)
    yield "Kind of two words", partial(Kind, "Two Words", "x")
    yield "Kind of a number", partial(Kind, 5, "x", "a:b")  # type: ignore[arg-type]
    yield "operation with a wrong keyword", partial(registry.operation, nosuch=3)  # type: ignore[call-arg]
    yield "Location without a file", Location
    for value in (None, 5, {}):
        yield f"read_equation({value})", partial(registry.read_equation, "x", value)  # type: ignore[arg-type]
        yield f"read_type({value})", partial(registry.read_type, value)  # type: ignore[arg-type]
        yield f"read_port({value})", partial(registry.read_port, value)  # type: ignore[arg-type]
        yield f"bind({value})", partial(registry.bind, value, value)  # type: ignore[arg-type]
        yield f"ancestors({value})", partial(registry.ancestors, value, value)  # type: ignore[arg-type]
        yield (
            f"steps_without_modules({value})",
            partial(registry.steps_without_modules, value, SPEC),
        )  # type: ignore[arg-type]
    for word in ("", "nosuch B", "loss B", "text B L |", "text -> 5"):
        yield f"read_type('{word}')", partial(registry.read_type, word)
        yield f"read_port('{word}')", partial(registry.read_port, word)


CASES = dict(
    itertools.chain(
        calls_of_specs(), calls_of_networks(), calls_of_runs(), calls_of_registries()
    )
)
WORDS = (
    "read_type('",
    "read_port('",
)  # they read a word of the language, and raise ValueError
ARGUMENTS = re.compile(r"unexpected keyword argument|missing \d+ required")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small.yaml").write_text(TEXT)
    monkeypatch.chdir(tmp_path)


def test_the_table_is_long_enough() -> None:
    assert len(CASES) >= 120


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_use_is_a_sentence(name: str) -> None:
    try:
        CASES[name]()
    except UserError as error:
        assert len(str(error)) > 10
        assert len(str(error)) < 12000
    except TypeError as error:
        assert ARGUMENTS.search(str(error)), error
    except ValueError as error:
        assert name.startswith(WORDS), error
    else:
        pytest.fail("nothing was raised")


def test_mistakes_in_values_are_located() -> None:
    with pytest.raises(
        SpecError, match=r"small.yaml:7:13: words: a token id, label or row number"
    ):
        NET({**GOOD, "text": text(1, 99)})
    with pytest.raises(
        SpecError, match=r"small.yaml:7:13: words: text must be at most 6 tokens long"
    ):
        NET({**GOOD, "text": text(*[1] * 9)})
