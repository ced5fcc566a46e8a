"""What an evaluation needs to start: its metrics, its evaluator, and the files of its splits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mplug2.checking.problems import problems_of
from mplug2.eval.evaluation import load_metrics
from mplug2.eval.evaluator import build_evaluator
from mplug2.eval.run import eval_loader
from registry import Problem, Spec, StreamType
from registry.evaluations import EvaluationSpec
from registry.training import training_plan

if TYPE_CHECKING:
    from mplug2.network import Network


def evaluation_problems(
    spec: Spec, types: Mapping[str, StreamType], net: Network
) -> list[Problem]:
    """Return why evaluations of a spec cannot start; ``net`` may be on the meta device.

    The annotations of each split that `mplug2 eval` measures, and of each that training measures, are read.
    """
    problems: list[Problem] = []
    for evaluation in training_plan(spec).evaluations:
        path = ("eval", evaluation.name) if evaluation.name else ("eval",)
        for split in dict.fromkeys((evaluation.split, evaluation.train_split)):
            if split is not None:
                with problems_of(problems, spec.place(*path)):
                    _start(spec, types, net, evaluation, split)
    return list(dict.fromkeys(problems))


def _start(
    spec: Spec,
    types: Mapping[str, StreamType],
    net: Network,
    evaluation: EvaluationSpec,
    split: str,
) -> None:
    """Build everything of an evaluation but its weights; raise UserError."""
    metrics = load_metrics(evaluation.metrics)
    loader = eval_loader(spec, types, evaluation, split)
    build_evaluator(
        evaluation,
        metrics,
        net=net,
        call=net,
        decode=str,
        loader=loader,
        on_progress=lambda *_: None,
        detailed=False,
    )
