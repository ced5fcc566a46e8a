"""The network to ask: a spec, its trained weights, its vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mplug2.checking.vocabulary import check_trained_vocabulary
from mplug2.data.text import Tokenizer
from mplug2.data.vocabularies import load_tokenizer
from mplug2.runtime.devices import usable_device
from mplug2.runtime.run_folder import trained_checkpoint
from registry import Literal, Spec, check, declaration_of, read_spec
from registry.goal_source import goal_tokenizer

if TYPE_CHECKING:
    from mplug2.network import Network


def load(
    spec: str | Path,
    checkpoint: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    goal: str | None = None,
    best: int = 5,
    device: torch.device | str | None = None,
) -> tuple[Network, Tokenizer | None, Path]:
    """Return the network of ``spec`` for prediction, the tokenizer of ``goal`` (if it has one), a checkpoint.

    ``goal`` is that of `eval` by default, the checkpoint the best one of the spec's run folder.
    Searches give up to ``best`` texts. Without ``device`` it is a GPU if there is one; there the network
    computes in the precision that it was trained in. Raises UserError where spec, checkpoint or vocabulary
    do not fit.
    """
    from mplug2.build.compose import compose
    from mplug2.runtime.precision import DTYPES
    from mplug2.weights.momentum import load_momentum
    from mplug2.weights.store import load_weights, weights_file

    read = read_spec(spec, overrides)
    check(read).raise_if_bad()
    weights = Path(checkpoint) if checkpoint is not None else trained_checkpoint(read)
    weights_file(
        weights
    )  # A missing checkpoint is reported before a tokenizer is downloaded.
    name = goal_tokenizer(read, goal or read.eval["goal"])
    tokenizer = None if name is None else load_tokenizer(read, name)
    if tokenizer is not None:
        check_trained_vocabulary(read, weights, name)
    target = usable_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    net = compose(
        with_num_outputs(read, best), device=target, initial=False, drawn=False
    )
    load_weights(net, weights)
    load_momentum(net, weights)
    if target.type == "cuda":
        net.to(DTYPES[read.train["precision"]])
    return net.eval(), tokenizer, weights


def tokenizer_of(net: Network) -> Tokenizer | None:
    """Return the tokenizer of a network's goal of evaluation, if it has one."""
    name = goal_tokenizer(net.spec, net.spec.eval["goal"])
    return None if name is None else load_tokenizer(net.spec, name)


def with_num_outputs(spec: Spec, best: int) -> Spec:
    """Return ``spec`` with its goal's searches giving up to ``best`` texts, at most as many as beams."""
    flow = dict(spec.flow)
    for ref in spec.goals.get(spec.eval["goal"], {}).values():
        equation = flow.get(ref.stream)
        options = declaration_of(spec, equation).options if equation is not None else {}
        if equation is None or not {"num_return_sequences", "num_beams"} <= set(
            options
        ):
            continue
        given = equation.keywords.get("num_beams")
        beams = (
            given.value if isinstance(given, Literal) else options["num_beams"].default
        )
        keywords = {
            **equation.keywords,
            "num_return_sequences": Literal(min(best, beams)),
        }
        flow[ref.stream] = replace(equation, keywords=keywords)
    return replace(spec, flow=flow)
