"""The loss of each text as a sum and a count of tokens, to be measured and not trained on."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from modules.losses.text import next_token_losses
from modules.streams import Text
from registry import operation


@operation(
    inputs={"logits": "logits A L vocab", "target": "text A L"},
    outputs={"loss_sum": "weight A", "num_tokens": "weight A"},
)
def token_loss(
    logits: Float[Tensor, "a l vocab"], target: Text, *, ignore_first: int = 0
) -> dict[str, Float[Tensor, " a"]]:
    """Summed next-token cross-entropy of each text (nats), and how many tokens were scored.

    The first ``ignore_first`` ids, [CLS] counted, are not scored. The metric `perplexity` measures both
    outputs.
    """
    # Softmax over the vocabulary loses digits that matter in half precision.
    losses, counts = next_token_losses(
        logits.float(), target, ignore_first=ignore_first
    )
    return {"loss_sum": losses.sum(dim=1), "num_tokens": counts.sum(dim=1)}
