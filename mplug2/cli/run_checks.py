"""What `mplug2 check --run` adds: everything that `train`, `eval`, `predict` and `index` need to start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mplug2.build.compose import compose
from mplug2.data.vocabularies import load_tokenizer
from mplug2.eval.ready import evaluation_problems
from mplug2.eval.retrieval.embedders import GOALS
from mplug2.index.embed import Embedder
from mplug2.network import Network
from mplug2.predict.pipeline import Pipeline
from mplug2.runtime.run_folder import CHECKPOINTS, run_folder
from mplug2.train.ready import training_problems
from registry import Problem, Spec, SpecError, StreamType, UserError
from registry.checks.initial import missing_files
from registry.checks.training import nothing_to_train
from registry.goal_source import goal_tokenizer
from registry.training import training_plan


def run_findings(
    spec: Spec, types: Mapping[str, StreamType]
) -> tuple[list[Problem], list[Problem]]:
    """Return why a spec without mistakes cannot be run here, and notes on what it cannot be used for."""
    net = compose(spec, device="meta", initial=False)
    problems = [*missing_files(spec), *training_problems(spec, types, net)]
    problems += evaluation_problems(spec, types, net)
    notes = _notes(spec)
    if not problems:
        notes += _notes_on_prediction(spec, net)
    return SpecError(problems).problems, notes


def _notes_on_prediction(spec: Spec, net: Network) -> list[Problem]:
    """Return why `predict`, or `index` if the spec has one of its goals, would refuse a spec."""
    notes = []
    searched = set(GOALS.values()) & set(spec.goals)
    for command in ("index",) if searched else ("predict",):
        goal = GOALS["text"] if searched else spec.eval["goal"]
        try:
            name = goal_tokenizer(spec, goal)
            tokenizer = None if name is None else load_tokenizer(spec, name)
            if searched:
                Embedder(net, tokenizer)
            else:
                Pipeline(net, tokenizer, Path())
        except UserError as error:
            message = f"`mplug2 {command}` refuses this spec: {error}"
            notes.append(Problem(spec.place("goals"), message))
    return notes


def _notes(spec: Spec) -> list[Problem]:
    plan = training_plan(spec)
    notes = []
    if not plan.iteration:
        error = nothing_to_train(spec).problems[0]
        notes.append(
            Problem(
                error.place,
                f"`mplug2 train` refuses this spec: {error.message}",
                error.hint,
            )
        )
    if not plan.evaluations:
        notes.append(
            Problem(
                spec.place("eval"),
                "`mplug2 eval` refuses this spec: it has no evaluation",
            )
        )
    folder = run_folder(spec)
    if plan.iteration and (folder / CHECKPOINTS).is_dir():
        notes.append(
            Problem(
                spec.place("train", "output_dir"),
                f"{folder} holds a run: `mplug2 train` needs --resume",
            )
        )
    return notes
