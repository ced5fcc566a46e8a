"""Small heads between and after the large modules."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from modules.attention import EPS, init_weights
from modules.sizes import check_sizes
from modules.streams import Tokens


class Project(nn.Module):
    """Bring tokens from one width to another: linear, then ``norm`` and dropout.

    With ``norm: layer`` this is the released ``visn_fc``, ``visn_layer_norm`` between vision and text widths.
    """

    inputs = {"tokens": "tokens B N width_in"}
    outputs = "tokens B N width"

    def __init__(
        self,
        width_in: int,
        width: int,
        norm: Literal["layer", "none"] = "layer",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        check_sizes(width_in=width_in, width=width)
        self.linear = nn.Linear(width_in, width)
        self.norm = nn.LayerNorm(width, eps=EPS) if norm == "layer" else nn.Identity()
        self.dropout = dropout
        init_weights(self)

    def forward(self, tokens: Tokens) -> Tokens:
        """Project every token."""
        x = self.norm(self.linear(tokens.values))
        return Tokens(F.dropout(x, self.dropout, self.training), tokens.mask)


Pool = Literal["first", "mean", "patches"]
BEIT_EPS = 1e-6


def pooled(tokens: Tokens, pool: Pool) -> Float[Tensor, "b width"]:
    """One vector for each row: its first token, the mean of its valid ones, or of those after the first."""
    if pool == "first":
        return tokens.values[:, 0]
    # The class token in front is left out, of the mask, too.
    if pool == "patches":
        after_first = None if tokens.mask is None else tokens.mask[:, 1:]
        return pooled(Tokens(tokens.values[:, 1:], after_first), "mean")
    # Without padding the plain mean is cheaper, and exact.
    if tokens.mask is None:
        return tokens.values.mean(dim=1)
    # (b, n) -> (b, n, 1): padding counts as 0 in the sum. A row of padding alone gives 0, not NaN.
    valid = tokens.mask.unsqueeze(-1).to(tokens.values.dtype)
    return (tokens.values * valid).sum(dim=1) / valid.sum(dim=1).clamp(min=1)


class ClassHead(nn.Module):
    """Logits of classes from tokens: ``out(relu(dense(pooled)))``, ALBEF's and mPLUG's entailment head.

    ``pool='first'`` takes the first token ([CLS]), ``'mean'`` the mean of the valid ones, ``'patches'`` the
    mean of all after the class token. ``depth=1`` is the layer ``out`` alone: the released matching head
    ``itm_head``. ``norm='layer'`` normalizes the pooled vector (BEiT's ``fc_norm``, arXiv 2106.08254).
    """

    inputs = {"tokens": "tokens B N width"}
    outputs = "logits B classes"

    def __init__(
        self,
        width: int,
        classes: int,
        pool: Literal["first", "mean", "patches"] = "first",
        depth: Literal[1, 2] = 2,
        dropout: float = 0.1,
        norm: Literal["layer", "none"] = "none",
    ) -> None:
        super().__init__()
        check_sizes(width=width, classes=classes)
        has_norm = norm == "layer"
        self.norm = nn.LayerNorm(width, eps=BEIT_EPS) if has_norm else nn.Identity()
        self.dense = nn.Linear(width, width) if depth == 2 else None
        self.out = nn.Linear(width, classes)
        self.pool = pool
        self.dropout = dropout
        init_weights(self)

    def forward(self, tokens: Tokens) -> Float[Tensor, "b classes"]:
        """Score every class."""
        x = self.norm(pooled(tokens, self.pool))
        x = F.dropout(x, self.dropout, self.training)
        if self.dense is not None:
            # ReLU, as in the released head, where BERT's pooler has tanh.
            x = F.relu(self.dense(x))
        return self.out(x)


class ValueHead(nn.Module):
    """A number for each row: ``out(relu(dense(pooled)))``, such as how similar two sentences are.

    ``pool='first'`` takes the first token ([CLS]), ``'mean'`` the mean of the valid ones. ``depth=1`` is the
    layer ``out`` alone.
    """

    inputs = {"tokens": "tokens B N width"}
    outputs = "scores B"

    def __init__(
        self,
        width: int,
        pool: Literal["first", "mean"] = "first",
        depth: Literal[1, 2] = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        # A number is the score of a single class.
        self.layers = ClassHead(width, 1, pool, depth, dropout)

    def forward(self, tokens: Tokens) -> Float[Tensor, " b"]:
        """Return one number of each row."""
        return self.layers(tokens).squeeze(-1)


class FeatureHead(nn.Module):
    """A vector of length 1 for each row: ``normalize(linear(pooled))``, to be compared by inner products.

    Released layers ``vision_proj`` and ``text_proj``; VLMo's ``itc_text_proj`` has no ``bias``.
    """

    inputs = {"tokens": "tokens B N width_in"}
    outputs = "vector B width"

    def __init__(
        self,
        width_in: int,
        width: int,
        pool: Literal["first", "mean"] = "first",
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_sizes(width_in=width_in, width=width)
        self.linear = nn.Linear(width_in, width, bias=bias)
        self.pool = pool
        init_weights(self)

    def forward(self, tokens: Tokens) -> Float[Tensor, "b width"]:
        """Project and normalise, the latter in float32."""
        # Half precision has three digits: norms and the similarities computed from them need more.
        x = self.linear(pooled(tokens, self.pool))
        return F.normalize(x.float(), dim=-1).to(x.dtype)
