"""What a training run needs to start: a goal to train, its data, its optimizer and its engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mplug2.checking.problems import problems_of
from mplug2.data.build import build_loader
from mplug2.data.text_lengths import check_text_lengths
from mplug2.data.unknown_words import count_words
from mplug2.runtime import distributed
from mplug2.train.engines.base import check_engine
from mplug2.train.optim import build_optimizer
from registry import Problem, Spec, StreamType, UserError
from registry.errors import require
from registry.training import TrainingPlan, training_plan

if TYPE_CHECKING:
    from mplug2.network import Network

_OF_LOADERS = ("__iter__", "state_dict", "load_state_dict", "steps_per_epoch")
# The part of the words of a batch that a vocabulary may lack without a warning.
MAX_UNKNOWN = 0.05


def training_loaders(
    spec: Spec, types: Mapping[str, StreamType], plan: TrainingPlan
) -> dict[str, Any]:
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


def check_fit_arguments(
    net: Any, loaders: Mapping[str, Any], evaluation_loaders: Any
) -> None:
    """Raise UserError for what cannot be trained, or cannot be iterated over and resumed."""
    if not isinstance(getattr(net, "spec", None), Spec):
        raise UserError(
            f"net must be a composed network with its spec (got {type(net).__name__})"
        )
    if not loaders:
        raise UserError("loaders must have at least one loader, but is empty")
    require(evaluation_loaders, (Mapping, type(None)), "evaluation_loaders")
    for name, loader in loaders.items():
        missing = [member for member in _OF_LOADERS if not hasattr(loader, member)]
        if missing:
            raise UserError(
                f"loader '{name}' must have {', '.join(_OF_LOADERS)}, but {type(loader).__name__} lacks "
                f"{', '.join(missing)} (docs/extending/loader.md)"
            )


def unknown_word_warnings(loaders: Mapping[str, Any]) -> list[str]:
    """Return a warning for each batch whose vocabulary lacks more than `MAX_UNKNOWN` of the words."""
    warnings = []
    for name, loader in loaders.items():
        source = getattr(loader, "source", None)
        # A user's loader need not have a source.
        if source is None:
            continue
        counts = count_words(source)
        if counts.fraction > MAX_UNKNOWN:
            vocabulary = source.task.tokenizer.source
            warnings.append(
                f"WARNING: batch '{name}': the vocabulary {vocabulary} lacks {counts}. All of them are read "
                "as [UNK]. Name another data.tokenizer"
            )
    return warnings


def training_problems(
    spec: Spec, types: Mapping[str, StreamType], net: Network
) -> list[Problem]:
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
