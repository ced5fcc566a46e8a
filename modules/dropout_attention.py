"""Attention whose dropout keeps a seed in place of probabilities, for CPUs, where torch has no fused kernel."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

ROWS = 256  # queries at a time: a block of scores then stays in the processor's cache
LEAST_SCORES = 2**18  # of a head; below it the loop over heads costs more than it saves
LEVELS = 2**16  # 16 random bits decide on one probability


class _Blocks:
    """Draws which probabilities of the next block are kept; equal seeds draw equal blocks in equal order."""

    def __init__(self, seed: int, keys: int, dropout: float, like: Tensor) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.keys = keys
        self.dropped_levels = round(dropout * LEVELS)
        # Four decisions are drawn at once, as one number of 64 bits.
        self.bits = torch.empty((ROWS * keys + 3) // 4, dtype=torch.int64)
        self.kept = like.new_empty(ROWS, keys)
        self.scale = LEVELS / (LEVELS - self.dropped_levels)

    def draw(self, rows: int) -> Float[Tensor, "rows keys"]:
        """Return 1 where a probability is kept and 0 elsewhere, until the next call."""
        count = rows * self.keys
        bits = self.bits[: (count + 3) // 4]
        bits.random_(-(2**63), None, generator=self.generator)
        levels = bits.view(torch.int16)[:count].view(rows, self.keys)
        # Signed numbers of 16 bits start at -LEVELS / 2.
        least = self.dropped_levels - LEVELS // 2
        return torch.ge(levels, least, out=self.kept[:rows])


def _masked_scores(
    q: Float[Tensor, "rows head_width"],
    k: Float[Tensor, "m head_width"],
    allowed: Bool[Tensor, "rows m"] | None,
    out: Float[Tensor, "rows m"],
) -> Float[Tensor, "rows m"]:
    torch.mm(q, k.T, out=out)
    if allowed is not None:
        out.masked_fill_(~allowed, -torch.inf)
    return out


def _compute_type(q: Tensor) -> torch.dtype:
    # Products of half precision are slower on most CPUs, and their sums would lose digits.
    return torch.float64 if q.dtype == torch.float64 else torch.float32


def _run_head(
    head: tuple[Tensor, Tensor, Tensor],
    mask: Tensor | None,
    blocks: _Blocks,
    scores: Tensor,
    out: Tensor,
    lse: Tensor,
) -> None:
    """Fill ``out`` and ``lse`` (log-sum-exp of the scores) of one head of one sample."""
    q, k, v = head
    for start in range(0, len(q), ROWS):
        rows = slice(start, min(start + ROWS, len(q)))
        allowed = None if mask is None else mask[rows]
        block = scores[: rows.stop - start]
        weights = _masked_scores(q[rows], k, allowed, block)
        # A row that may see no key has -inf everywhere; finite limits let it become zeros, not NaN.
        top = weights.amax(-1, keepdim=True).clamp_(min=torch.finfo(q.dtype).min)
        total = weights.sub_(top).exp_().sum(-1, keepdim=True)
        total.clamp_(min=torch.finfo(q.dtype).tiny)
        lse[rows] = (top + total.log()).squeeze(-1)
        weights.mul_(blocks.draw(len(weights)))
        out[rows] = (weights @ v).mul_(blocks.scale / total)


def _run_head_backward(
    head: tuple[Tensor, Tensor, Tensor],
    mask: Tensor | None,
    blocks: _Blocks,
    buffers: tuple[Tensor, Tensor],
    rows_of: tuple[Tensor, Tensor, Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of one head; ``rows_of`` is log-sum-exp, gradient, and gradient times output."""
    q, k, v = head
    lse, gradient, delta = rows_of
    dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
    for start in range(0, len(q), ROWS):
        rows = slice(start, min(start + ROWS, len(q)))
        size = rows.stop - start
        allowed = None if mask is None else mask[rows]
        weights = _masked_scores(q[rows], k, allowed, buffers[0][:size])
        weights.sub_(lse[rows, None]).exp_()
        kept = blocks.draw(size)
        scaled = gradient[rows] * blocks.scale
        # d scores = weights * (kept * d dropped - sum over keys of the same, which is `delta`)
        d_scores = torch.mm(scaled, v.T, out=buffers[1][:size])
        d_scores.mul_(kept).sub_(delta[rows, None]).mul_(weights)
        dv.addmm_(weights.mul_(kept).T, scaled)
        torch.mm(d_scores, k, out=dq[rows])
        dk.addmm_(d_scores.T, q[rows])
    return dq, dk, dv


def _heads_first(x: Tensor, width: int) -> Tensor:
    """An empty tensor like x in which the heads of a position are neighbours, as projections want it."""
    b, heads, n, _ = x.shape
    return x.new_empty(b, n, heads, width).transpose(1, 2)


class _DropoutAttention(torch.autograd.Function):
    """Keeps q, k, v, the output, a log-sum-exp for each query, and a seed."""

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None,
        dropout: float,
        seed: int,
    ) -> Tensor:
        kind = _compute_type(q)
        out = _heads_first(q, v.shape[-1])
        lse = q.new_empty(q.shape[:-1], dtype=kind)
        scores = q.new_empty(min(ROWS, q.shape[2]), k.shape[2], dtype=kind)
        blocks = _Blocks(seed, k.shape[2], dropout, scores)
        with torch.autocast(q.device.type, enabled=False):
            for i in range(q.shape[0]):
                for h in range(q.shape[1]):
                    head = _head(q, k, v, (i, h), kind)
                    allowed = None if mask is None else mask[i, h]
                    _run_head(head, allowed, blocks, scores, out[i, h], lse[i, h])
        ctx.save_for_backward(q, k, v, mask, out, lse)
        ctx.dropout, ctx.seed = dropout, seed
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # type: ignore[override]
        q, k, v, mask, out, lse = ctx.saved_tensors
        # Gradients of gradients need operations that autograd knows.
        if torch.is_grad_enabled():
            attended = _written_out(q, k, v, mask, ctx.dropout, ctx.seed)
            inputs = [x for x in (q, k, v) if x.requires_grad]
            gradients = torch.autograd.grad(
                attended, inputs, gradient, create_graph=True
            )
            of_inputs = iter(gradients)
            dq, dk, dv = (
                next(of_inputs) if x.requires_grad else None for x in (q, k, v)
            )
            return dq, dk, dv, None, None, None
        dq, dk, dv = (_heads_first(x, x.shape[-1]) for x in (q, k, v))
        scores = q.new_empty(min(ROWS, q.shape[2]), k.shape[2], dtype=lse.dtype)
        buffers = scores, torch.empty_like(scores)
        blocks = _Blocks(ctx.seed, k.shape[2], ctx.dropout, scores)
        with torch.autocast(q.device.type, enabled=False):
            for i in range(q.shape[0]):
                for h in range(q.shape[1]):
                    head = _head(q, k, v, (i, h), lse.dtype)
                    allowed = None if mask is None else mask[i, h]
                    g = gradient[i, h].to(lse.dtype).contiguous()
                    delta = (g * out[i, h]).sum(-1)
                    rows_of = lse[i, h], g, delta
                    of_head = _run_head_backward(
                        head, allowed, blocks, buffers, rows_of
                    )
                    # the scores' scale, which `_head` puts into q, is part of the gradient of q alone
                    dq[i, h] = of_head[0] * q.shape[-1] ** -0.5
                    dk[i, h], dv[i, h] = of_head[1], of_head[2]
        return dq, dk, dv, None, None, None


def _head(
    q: Tensor, k: Tensor, v: Tensor, index: tuple[int, int], kind: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries (times the scale of scores), keys and values of one head of one sample."""
    scaled = q[index].to(kind) * q.shape[-1] ** -0.5
    # The heads of a position are neighbours; products read a head in one piece faster.
    return (
        scaled.contiguous(),
        k[index].to(kind).contiguous(),
        v[index].to(kind).contiguous(),
    )


def _written_out(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float, seed: int
) -> Tensor:
    """The same with all probabilities in memory, by operations that can be differentiated twice."""
    scores = q @ k.mT * q.shape[-1] ** -0.5
    if mask is not None:
        # `masked_fill` after the softmax: zeros, not NaN, where a query may see no key
        scores = scores.masked_fill(~mask, torch.finfo(q.dtype).min)
    weights = scores.softmax(-1)
    if mask is not None:
        weights = weights.masked_fill(~mask, 0.0)
    blocks = _Blocks(seed, k.shape[2], dropout, scores.detach())
    kept = torch.empty_like(scores, requires_grad=False)
    for head in kept.flatten(0, 1):
        for rows in head.split(ROWS):
            rows.copy_(blocks.draw(len(rows)))
    return (weights * kept * blocks.scale) @ v


def _pays(q: Tensor, k: Tensor, mask: Tensor | None, dropout: float) -> bool:
    """True where the loop is faster than torch, and can do what is asked."""
    if q.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    if not 0.5 <= dropout * LEVELS <= LEVELS - 1 or not torch.is_grad_enabled():
        return False
    if mask is not None and mask.dtype != torch.bool:
        return False
    return q.shape[2] * k.shape[2] >= LEAST_SCORES


def dropout_attention(
    q: Float[Tensor, "b heads n head_width"],
    k: Float[Tensor, "b heads m head_width"],
    v: Float[Tensor, "b heads m value_width"],
    mask: Bool[Tensor, "*_ #n m"] | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "b heads n value_width"]:
    """``dropout(softmax(q k^T / sqrt(head_width))) v``, exact in its gradients, in memory linear in n and m.

    It keeps q, k, v, the output, one number for each query and a seed of torch's generator; the backward
    pass computes the probabilities again and draws the same ones to drop. The rate is rounded to a multiple
    of 2^-16, and so is the scale of what remains. A query that ``mask`` (True: allowed) lets see no key gets
    zeros. Works on a CPU; values are computed in float32 at least.
    """
    if torch.is_autocast_enabled(q.device.type):
        lower = torch.get_autocast_dtype(q.device.type)
        q, k, v = q.to(lower), k.to(lower), v.to(lower)
    if mask is not None:
        mask = mask.expand(*q.shape[:3], k.shape[2])
    # From torch's generator, so that a resumed run and a recomputed layer draw the same.
    seed = int(torch.randint(2**62, ()))
    attended: Tensor = _DropoutAttention.apply(q, k, v, mask, dropout, seed)
    return attended


def attention(
    q: Float[Tensor, "b heads n head_width"],
    k: Float[Tensor, "b heads m head_width"],
    v: Float[Tensor, "b heads m value_width"],
    mask: Bool[Tensor, "*_ #n m"] | Float[Tensor, "*_ #n m"] | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "b heads n value_width"]:
    """`dropout_attention` where that pays, else torch's ``scaled_dot_product_attention``.

    It pays on a CPU in training with dropout, from ``LEAST_SCORES`` scores a head. GPUs
    have fused kernels; without dropout so have CPUs; ``torch.compile`` and masks of numbers are torch's.
    """
    if _pays(q, k, mask, dropout):
        return dropout_attention(q, k, v, mask, dropout)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
