"""Perplexity of texts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mplug2.metrics.metric import Row, metric


@metric(
    inputs={"loss_sum": "weight B", "num_tokens": "weight B"},
    outputs={"perplexity": "scalar", "token_loss": "scalar"},
    smaller_is_better=["perplexity", "token_loss"],
)
def perplexity(rows: Sequence[Row]) -> dict[str, float]:
    """The exponential of the mean loss of a token, in nats; sums over the split are divided once."""
    loss_sum = math.fsum(row["loss_sum"] for row in rows)
    num_tokens = math.fsum(row["num_tokens"] for row in rows)
    if not num_tokens:
        return {"perplexity": math.nan, "token_loss": math.nan}
    token_loss = loss_sum / num_tokens
    try:
        value = math.exp(token_loss)
    except OverflowError:
        value = math.inf
    return {"perplexity": value, "token_loss": token_loss}
