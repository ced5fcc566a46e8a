"""What a training run needs to start: a goal to train, its data, its optimizer and its engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mplug2.checking.problems import problems_of
from mplug2.data.build import build_loader
from mplug2.data.text_lengths import check_text_lengths
from mplug2.runtime import distributed
from mplug2.train.engines.base import check_engine
from mplug2.train.optim import build_optimizer
from registry import Problem, Spec, StreamType
from registry.training import TrainingPlan, training_plan

if TYPE_CHECKING:
    from mplug2.network import Network


def training_loaders(spec: Spec, types: Mapping[str, StreamType], plan: TrainingPlan) -> dict[str, Any]:
    """Return the loader of each batch, on this rank.

    UserError if its data cannot be read, or has a text that is longer than the network reads.
    """
    loaders = {}
    for name, batch in plan.batches.items():
        loader = build_loader(
            spec,
            types,
            batch,
            seed=spec.train["seed"],
            rank=distributed.rank(),
            world=distributed.world_size(),
        )
        check_text_lengths(spec, types, batch, loader.source)
        loaders[name] = loader
    return loaders


def training_problems(spec: Spec, types: Mapping[str, StreamType], net: Network) -> list[Problem]:
    """Return why a spec with a goal to train cannot be trained; ``net`` may be on the meta device."""
    problems: list[Problem] = []
    plan = training_plan(spec)
    if not plan.iteration:
        return problems
    with problems_of(problems, spec.place("data")):
        training_loaders(spec, types, plan)
    with problems_of(problems, spec.place("train")):
        check_engine(spec.train)
    with problems_of(problems, spec.place("train", "optimizer")):
        build_optimizer(net, spec.train)
    return problems
