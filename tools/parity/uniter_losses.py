"""UNITER's scores and losses: of masked words and regions, of matching, and of optimal transport."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tools.parity.rows import Comparison


def loss_rows(
    prefix: str,
    streams: dict[str, Any],
    values: dict[str, Any],
    loss: Tensor,
    rows: Comparison,
) -> None:
    """Compare scores, the losses of rows, and the loss."""
    task = prefix.removesuffix(".")
    rows.close(f"{prefix}loss", loss)
    scores, target = _scores(task, streams, values)
    rows.close(f"{prefix}scores", scores)
    each = f"{prefix}loss_each"
    if task == "mrfr":
        rows.close(each, (scores - target).square())
    elif task == "mrckl":
        rows.close(each, F.kl_div(scores.log_softmax(dim=-1), target, reduction="none"))
    elif "higher" in streams:
        chances = torch.sigmoid(scores.flatten())
        rows.close(
            each,
            (0.2 + chances[streams["lower"]] - chances[streams["higher"]]).clamp(min=0),
        )
    elif target.is_floating_point():
        rows.close(
            each, F.binary_cross_entropy_with_logits(scores, target, reduction="none")
        )
    else:
        rows.close(each, F.cross_entropy(scores, target, reduction="none"))
    if task == "itm":
        _transport_rows(streams["match"], values, rows)


def _scores(
    task: str, streams: dict[str, Any], values: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """Return the scores of a task and what its loss compares them with."""
    if not task:
        return values["logits"], streams.get("target", values["logits"])
    if task == "mlm":
        return values["word_logits"], values["words"]["labels"]
    if task == "mrfr":
        return values["features"], values["feature_target"]
    if task == "itm":
        return values["match_logits"], streams["match"]
    target = values["class_target"] if task == "mrckl" else values["best"]
    return values["class_logits"], target


def _transport_rows(match: Tensor, values: dict[str, Any], rows: Comparison) -> None:
    transport = values["transport"]
    rows.close("itm.loss_ce", values["itm"])
    rows.close("itm.loss_ot", values["wra"])
    rows.close("itm.ot_cost", transport["cost"])
    rows.close("itm.ot_plan", transport["plan"].transpose(1, 2))
    rows.close("itm.ot_dist", transport["distance"])
    rows.close("itm.ot_pos", transport["distance"][match == 1])
    rows.close("itm.ot_neg", transport["distance"][match == 0])
