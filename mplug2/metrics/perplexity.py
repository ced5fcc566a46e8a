"""How well texts are predicted: perplexity, bits per byte, and the accuracy of single tokens."""

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
    # Exact sums: the value does not depend on the order in which ranks are merged.
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


@metric(
    inputs={"loss_sum": "weight B", "num_tokens": "weight B"},
    outputs={"bits_per_byte": "scalar"},
    smaller_is_better=["bits_per_byte"],
)
def bits_per_byte(rows: Sequence[Row]) -> dict[str, float]:
    """The loss of all tokens in bits, divided by the bytes of their texts (``num_bytes``).

    It compares networks with different vocabularies. NaN without texts, or if the task does not count bytes.
    """
    num_bytes = math.fsum(row.get("num_bytes", 0) for row in rows)
    if not num_bytes:
        return {"bits_per_byte": math.nan}
    nats = math.fsum(row["loss_sum"] for row in rows)
    return {"bits_per_byte": nats / math.log(2) / num_bytes}


@metric(
    inputs={
        "loss_sum": "weight B",
        "num_tokens": "weight B",
        "num_correct?": "weight B",
    },
    outputs={"token_accuracy": "scalar"},
)
def token_accuracy(rows: Sequence[Row]) -> dict[str, float]:
    """The fraction of scored tokens that are the most probable ones.

    NaN if no token is scored, or if the goal has no output ``num_correct``.
    """
    counted = [row for row in rows if "num_correct" in row]
    num_tokens = math.fsum(row["num_tokens"] for row in counted)
    if not num_tokens:
        return {"token_accuracy": math.nan}
    num_correct = math.fsum(row["num_correct"] for row in counted)
    return {"token_accuracy": num_correct / num_tokens}
