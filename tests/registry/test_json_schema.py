"""The JSON schema of specs: all shipped specs fit, planted mistakes do not, and it has what checks know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import mplug2  # noqa: F401  (fills the registries)
from registry.json_schema import DRAFT, spec_schema
from registry.language.annotations import accepts, json_schema
from registry.language.schema import SECTIONS, SETTINGS
from registry.registries import REGISTRIES
from registry.yaml.parse import parse
from registry.yaml.tree import Source

jsonschema = pytest.importorskip(
    "jsonschema", reason="jsonschema is part of the extra `dev`"
)
ROOT = Path(__file__).resolve().parents[2]
SCHEMA = spec_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
FILES = sorted(ROOT.glob("configs_*/**/*.yaml"))


def problems(text: str) -> list[str]:
    return [
        error.message
        for error in VALIDATOR.iter_errors(parse(Source("spec.yaml", text)).plain())
    ]


@pytest.mark.slow
def test_it_is_a_schema_of_its_draft() -> None:
    assert SCHEMA["$schema"] == DRAFT
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_shipped_specs_fit(file: Path) -> None:
    assert problems(file.read_text(encoding="utf-8")) == []


GOOD = """
extends: [a.yaml, b.yaml]
inputs: {video: frames V 3 T H W}
modules: {vision: {width: 96}, text: {use: text_encoder, width: 96, depth: 1}, gone: }
define: {'encode(text)': {embeds: words(text), return: encoder(embeds)}}
flow: {seen: vision(video)}
goals: {train: {loss: loss}, embed: seen, old: }
init: {vision: 'clip:ViT-L-14'}
tie: {a.weight: b.weight}
freeze: {vision: {until: 10}, text: true}
momentum: {decay: 0.99}
data: {task: caption, media: clips, train: {path: a.jsonl}, val: , batch_size: 4}
train: {lr: {default: 1e-4, vision: 1e-5}, epochs: {steps: 100}, optimizer: {name: adamw, elementwise: true}}
eval: {metrics: [accuracy], qa: {goal: predict, metrics: [accuracy]}, seed: }
"""
LONG = """
data:
  sources:
    clips: {task: caption, train: {path: a.jsonl, media: clips}}
    all: {clips: 2}
  batches: {train: {source: all, batch_size: {tokens: 512}}}
train: {iteration: [{draw: {train: 1}}, {batch: train, goal: more, until: {epochs: 2, of: train}}]}
"""
MISTAKES = {
    "section": "trian: {lr: 1e-3}",
    "section that is no mapping": "train: fast",
    "extends": "extends: {a: b}",
    "kind of an input": "inputs: {video: frame V 3 T H W}",
    "name of an input": "inputs: {my video: frames V 3 T H W}",
    "use": "modules: {text: {use: text_encodr}}",
    "argument": "modules: {text: {use: text_encoder, dept: 3}}",
    "type of an argument": "modules: {text: {use: text_encoder, depth: three}}",
    "choice of an argument": "modules: {text: {use: text_embedding, position: learnt}}",
    "module that is no mapping": "modules: {text: text_encoder}",
    "flow line that is a list": "flow: {a: [b, c]}",
    "flow line that is a mapping": "flow: {a: {b: c}}",
    "flow line torn by a comma": "flow: {a: join(x, y)}",
    "goal": "goals: {train: [loss]}",
    "output of a goal": "goals: {train: {loss: 3}}",
    "source of weights": "init: {text: 'brt:x'}",
    "tie": "tie: [a.weight, b.weight]",
    "freeze": "freeze: vision",
    "freeze until": "freeze: {vision: {until: 0}}",
    "freeze for": "freeze: {vision: {steps: 10}}",
    "momentum out of range": "momentum: {decay: 1.5}",
    "key of momentum": "momentum: {rate: 0.9}",
    "task": "data: {task: captions}",
    "argument of a task": "data: {task: caption, questions_per_clip: 3}",
    "key of data": "data: {num_workers: 3}",
    "key of a split": "data: {task: caption, train: {file: a.jsonl}}",
    "image mean out of range": "data: {task: caption, image_mean: 127}",
    "batch without samples": "data: {batches: {train: {batch_size: 0}}}",
    "key of a source": "data: {sources: {a: {task: caption, fils: {}, train: {pth: a.jsonl}}}}",
    "key of train": "train: {learning_rate: 1e-3}",
    "type of a number": "train: {epochs: many}",
    "number that is too small": "train: {batch_size: 0}",
    "rate of a pattern": "train: {lr: {default: -1}}",
    "choice": "train: {schedule: cosin}",
    "choice of a number": "train: {zero: 4}",
    "pair of numbers": "train: {betas: [0.9]}",
    "range of a pair": "train: {betas: [0.9, 1.0]}",
    "engine": "train: {engine: deepsped}",
    "logger": "train: {loggers: [jsonll]}",
    "optimizer": "train: {optimizer: adamv}",
    "option of an optimizer": "train: {optimizer: {name: adamw, momentums: 3}}",
    "optimizer without a name": "train: {optimizer: {lr: 3}}",
    "length": "train: {eval_every: {step: 3}}",
    "two lengths": "train: {eval_every: {steps: 3, epochs: 2}}",
    "step": "train: {iteration: [{draw: {a: 1}, batch: a}]}",
    "metric": "eval: {metrics: [acuracy]}",
    "key of eval": "eval: {split_name: test}",
    "key of an evaluation": "eval: {qa: {metric: [accuracy]}}",
    "evaluator": "eval: {evaluator: boxs}",
}


@pytest.mark.parametrize("text", [GOOD, LONG])
def test_every_form_fits(text: str) -> None:
    assert problems(text) == []


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_do_not_fit(name: str) -> None:
    assert problems(MISTAKES[name])


def test_every_section_setting_and_module_is_there() -> None:
    assert set(SCHEMA["properties"]) == set(SECTIONS)
    for section, keys in SETTINGS.items():
        schema = SCHEMA["properties"][section]["anyOf"][0]
        for rule in schema.get("allOf", [])[:1]:
            schema = SCHEMA["$defs"][rule["then"]["$ref"].rpartition("/")[2]]
        assert set(keys) <= set(schema["properties"])
    modules = SCHEMA["properties"]["modules"]["anyOf"][0]["additionalProperties"][
        "anyOf"
    ][0]
    assert modules["properties"]["use"]["enum"] == REGISTRIES.modules.names()


def test_old_names_are_deprecated() -> None:
    train = SCHEMA["properties"]["train"]["anyOf"][0]["properties"]
    assert train["steps"]["deprecated"]
    assert "max_steps" in train["steps"]["description"]
    assert "deprecated" not in train["max_steps"]


VALUES: list[Any] = [
    None,
    True,
    0,
    3,
    -1.5,
    "a",
    "cosine",
    [],
    [1],
    [0.5, 1],
    ["a"],
    {},
    {"a": 1},
    {"a": "b"},
]
ANNOTATIONS = (
    *(
        "int",
        "float",
        "str",
        "bool",
        "int | None",
        "Optional[str]",
        "Union[int, list[str]]",
        "'int'",
        "",
    ),
    *(
        "Literal['cosine', 3, None]",
        "list[int]",
        "tuple[float, float]",
        "tuple[int, ...]",
        "dict[str, float]",
    ),
    *(
        "list",
        "Mapping[str, int | str]",
        "Sequence[str] | str",
        "numpy.ndarray",
        "list[Path]",
    ),
)


@pytest.mark.parametrize("annotation", ANNOTATIONS)
def test_an_annotation_and_its_schema_accept_the_same(annotation: str) -> None:
    validator = jsonschema.Draft202012Validator(json_schema(annotation))
    for value in VALUES:
        assert validator.is_valid(value) == accepts(annotation, value), value
