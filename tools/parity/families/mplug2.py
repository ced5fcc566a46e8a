"""mPLUG-2: run a fixture's inputs through a composed network, and compare every recorded output."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from modules.losses.text import next_token_losses
from modules.streams import Sequences, Text
from mplug2.build.compose import compose
from mplug2.network import Network
from mplug2.weights.sources import load_tensors, map_keys
from registry import parse_spec
from tools.parity.fixture import Fixture, reading
from tools.parity.recipes.mplug2 import fixture_spec
from tools.parity.rows import Comparison, Row, run_streams

# Gradient norms come from sums over many rounded terms, and those of key biases are rounding noise alone.
GRAD_ATOL, GRAD_RTOL = 1e-5, 1e-3


def recognizes(fixture: Fixture) -> bool:
    """Return whether a fixture was recorded from mPLUG-2, whose numbers are all in meta.json."""
    return (
        not fixture.config
        and "cfg" in fixture.meta
        and fixture.meta.get("kind") in ("vqa", "caption")
    )


def compare(fixture: Fixture, rows: Comparison) -> None:
    """Compare every recorded output; UserError if the fixture cannot be read."""
    meta = fixture.meta
    inputs, weights = fixture.tensors("inputs"), fixture.tensors("state_dict")
    with reading(fixture.path):
        text = fixture_spec(meta)
    net = compose(parse_spec(text, f"{meta['fixture']}.yaml"), initial=False)
    net.eval()
    load_tensors(net, "mplug2", weights, origin=fixture.name)
    batch = _batch(meta, inputs)
    with torch.no_grad():
        streams = _embed(net, batch, rows)
        (_caption if meta["kind"] == "caption" else _answers)(
            net, meta, batch, streams, rows
        )
        _beams(net, meta, batch, rows)
        if "logits_m" in rows.outputs:
            _momentum(net, meta, batch, rows)
    if "grad_norm" in meta["results"]:
        _gradients(net, meta, batch, weights, rows)


def _batch(meta: dict[str, Any], inputs: dict[str, Tensor]) -> dict[str, Any]:
    def text(name: str) -> Text:
        return Text(inputs[f"{name}_ids"], inputs[f"{name}_mask"].bool())

    if meta["kind"] == "caption":
        return {"video": inputs["video"], "caption": text("caption")}
    owner = torch.repeat_interleave(
        torch.arange(len(inputs["video"])), torch.tensor(meta["cfg"]["k"])
    )
    return {
        "video": inputs["video"],
        "question": text("question"),
        "answer": text("answer"),
        "candidates": text("cand"),
        "question_index": owner,
        "answer_weight": inputs["weights"],
    }


def _embed(net: Network, batch: dict[str, Any], rows: Comparison) -> dict[str, Any]:
    projected = "projected" in net.spec.flow
    streams = run_streams(
        net,
        batch,
        "vision_encoded",
        "vision_hidden",
        "logits",
        *(["projected"] if projected else []),
    )
    rows.close("visual_output", streams["vision_encoded"].values)
    if projected:
        rows.close("visn_projected", streams["projected"].values)
    last = streams["projected" if projected else "vision_encoded"]
    rows.close("universal_output", net.get_module("universal").vision_route(last))  # type: ignore[operator]
    rows.close("image_embeds", streams["vision_hidden"].values)
    rows.close("decoder_logits", streams["logits"])
    return streams


def _caption(
    net: Network,
    meta: dict[str, Any],
    batch: dict[str, Any],
    streams: dict[str, Any],
    rows: Comparison,
) -> None:
    rows.close("loss", net(batch, "train")["loss"].reshape(1))
    expected = torch.tensor(meta["results"]["loss_no_prompt_mask"])
    rows.close("loss without prompt mask", net(batch, "unmasked")["loss"], expected)


def _answers(
    net: Network,
    meta: dict[str, Any],
    batch: dict[str, Any],
    streams: dict[str, Any],
    rows: Comparison,
) -> None:
    more = run_streams(net, batch, "text_hidden", "fused")
    rows.close("text_output", more["text_hidden"].values)
    rows.close("fusion_image_output", more["fused"]["vision"].values)
    rows.close("fusion_question_output", more["fused"]["text"].values)
    rows.close(
        "per_answer_loss",
        next_token_losses(streams["logits"], batch["answer"])[0].sum(dim=1),
    )
    # alpha never reached the loss in the official code: what it calls loss_alpha0.4 is the plain loss
    for name in [name for name in rows.outputs if name.startswith("loss_alpha")]:
        rows.close(name, net(batch, "train")["loss"].reshape(1))
    for run in meta["results"]["rank"]:
        k = run["k"]
        ranked = run_streams(net, batch, f"rank_{k}")[f"rank_{k}"]
        name = f"rank_k{k}"
        rows.covered.add(f"{name}_ids")
        rows.equal(
            f"{name}_ids",
            ranked["choice"].tolist(),
            rows.outputs[f"{name}_ids"].tolist(),
        )
        rows.close(f"{name}_probs", ranked["answer"].scores)
        if "rank_first_token_probs" not in rows.covered:
            rows.close("rank_first_token_probs", ranked["first"])
        # recorded in the order of the first words' probabilities, ours are in the final order
        order = ranked["first"].topk(k).indices
        place = (ranked["choice"][:, None, :] == order[:, :, None]).int().argmax(dim=-1)
        rows.close(f"{name}_answer_loss", ranked["losses"].gather(1, place).flatten())


def _beams(
    net: Network, meta: dict[str, Any], batch: dict[str, Any], rows: Comparison
) -> None:
    for i, run in enumerate(meta["results"]["beam"]):
        streams: Sequences = net(batch, f"beam_{i}")["answer"]
        settings = " ".join(f"{key}={value}" for key, value in run["settings"].items())
        # ids are padded with 0 here, and ragged there; no text holds a 0
        ids = [
            [[word for word in text if word] for text in sample]
            for sample in streams.ids.tolist()
        ]
        rows.equal(f"beam ids ({settings})", ids, run["ids"])
        rows.close(
            f"beam scores ({settings})", streams.scores, torch.tensor(run["scores"])
        )


def _momentum(
    net: Network, meta: dict[str, Any], batch: dict[str, Any], rows: Comparison
) -> None:
    """The released momentum pass: updated first, but its fusion layers stay as they were initialised."""
    assert net.ema is not None
    fusion = {
        key: value.clone()
        for key, value in net.ema_state_dict().items()
        if key.startswith("fusion.")
    }
    net.update_ema()
    for key, value in net.ema_state_dict().items():
        if key in fusion:
            value.copy_(fusion[key])
    teacher: dict[str, Any] = {}
    plan = net.plan("distill")
    values: dict[tuple[str, bool], Any] = {
        (name, False): value for name, value in batch.items()
    }
    for step in plan.steps:
        values[step.key] = net._run(plan, step, values)
        if step.shadow:
            teacher[step.name] = values[step.key]
    rows.close("fusion_m_image_output", teacher["fused"]["vision"].values)
    rows.close("fusion_m_question_output", teacher["fused"]["text"].values)
    rows.close("logits_m", teacher["logits"][:, :-1])
    # the loss of the composed network, had the official code passed its alpha on and normalised over the
    # vocabulary
    alpha = meta["cfg"]["config"]["alpha"]
    expected = torch.tensor(
        meta["results"][f"hypothetical_loss_if_alpha_{alpha}_were_passed_dimlast_fixed"]
    )
    rows.close("distilled loss (over the vocabulary)", values["soft", False], expected)
    logits, shadow = values["logits", False], teacher["logits"]
    distilled = next_token_losses(logits, batch["answer"], shadow, 1.0)[0].sum(1)
    rows.close("hypothetical_distill_dimlast_fixed", distilled)
    # as written there: normalised over the sequence axis, which nothing but this comparison does
    soft = -(
        F.log_softmax(logits[:, :-1], dim=1) * F.softmax(shadow[:, :-1], dim=-1)
    ).sum(dim=-1)
    rows.close(
        "hypothetical_distill_dim1_as_written",
        (soft * batch["answer"].mask[:, 1:]).sum(dim=1),
    )


def _gradients(
    net: Network,
    meta: dict[str, Any],
    batch: dict[str, Any],
    weights: dict[str, Tensor],
    rows: Comparison,
) -> None:
    net.zero_grad()
    net(batch, "train")["loss"].backward()
    parameters = dict(net.named_parameters())
    worst, good, count = 0.0, True, 0
    for key, name in map_keys(net, "mplug2", weights).items():
        expected, ours = meta["results"]["grad_norm"].get(key), parameters.get(name)
        if expected is None or ours is None or ours.grad is None or "key.bias" in key:
            continue
        difference = abs(float(ours.grad.norm()) - expected)
        worst, count = max(worst, difference), count + 1
        good = good and difference <= GRAD_ATOL + GRAD_RTOL * expected
    rows.rows.append(
        Row(f"gradient norms of {count} parameters", worst, good and count > 0)
    )
