"""The evaluations of `eval`: one without a name (the short form), or several by name with shared settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from registry.errors import NOWHERE, Location
from registry.language.schema import EVAL, EVALUATIONS
from registry.language.spec import Spec
from registry.sources import SHORT_SOURCE, SourceSpec, splits_of_source


@dataclass(frozen=True)
class EvaluationSpec:
    """A named evaluation. ``name`` is empty in the short form; results are `name/value`, or else `value`.

    ``split`` is what `mplug2 eval` measures; ``train_split`` is measured during training, and None where
    there is none: a test split never selects a checkpoint.
    """

    name: str
    source: str
    split: str
    train_split: str | None
    goal: str
    evaluator: str | None
    metrics: tuple[str, ...]
    arguments: dict[str, Any] = field(default_factory=dict)
    place: Location = field(default=NOWHERE, compare=False)  # of its name in the spec

    @property
    def label(self) -> str:
        """How messages name it: the key of the spec."""
        return f"eval.{self.name}" if self.name else "eval"

    def key(self, value: str) -> str:
        """Return the name under which a value is reported."""
        return f"{self.name}/{value}" if self.name else value


def read_evaluations(
    spec: Spec, sources: Mapping[str, SourceSpec]
) -> tuple[EvaluationSpec, ...]:
    """Return the evaluations of a spec."""
    evaluations = []
    for name, settings in evaluation_settings(spec.eval).items():
        # A spec without a section `eval` has its defaults, which measure nothing.
        if name or settings["metrics"] or settings["evaluator"]:
            evaluations.append(_evaluation(name, spec, settings, sources))
    return tuple(evaluations)


def evaluation_settings(section: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the settings of each evaluation of the section `eval`, with those that all of them share.

    The only evaluation of the short form has the name ''. Arguments of the shared evaluator are left out
    where an evaluation names another evaluator.
    """
    shared = {key: value for key, value in section.items() if key != EVALUATIONS}
    named: Mapping[str, Any] = section.get(EVALUATIONS) or {}
    if not named:
        return {"": shared}
    evaluations = {}
    for name, settings in named.items():
        inherited = shared
        # What is not a key of `eval` is an argument of the evaluator: another one has others.
        if settings.get("evaluator") not in (None, shared.get("evaluator")):
            inherited = {key: value for key, value in shared.items() if key in EVAL}
        evaluations[name] = {**inherited, **settings}
    return evaluations


def _evaluation(
    name: str, spec: Spec, settings: dict[str, Any], sources: Mapping[str, SourceSpec]
) -> EvaluationSpec:
    arguments = dict(settings)  # what is left after the keys that all evaluations have
    source = arguments.pop("source") or spec.data.get("source")
    if not source:
        source = next(iter(sources), SHORT_SOURCE)
    split = arguments.pop("split")
    splits = splits_of_source(source, sources)
    # A test split never chooses a checkpoint, so training measures the validation split in its place.
    train_split = split if name and split in splits and split != "test" else None
    if train_split is None and "val" in splits:
        train_split = "val"
    return EvaluationSpec(
        name,
        source,
        split,
        train_split,
        goal=arguments.pop("goal"),
        evaluator=arguments.pop("evaluator"),
        metrics=tuple(arguments.pop("metrics")),
        arguments=arguments,
        place=spec.key_place("eval", name) if name else spec.key_place("eval"),
    )
