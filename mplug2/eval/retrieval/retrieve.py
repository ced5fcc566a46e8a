"""Evaluation of retrieval: embed everything once, compare all, re-rank the nearest pairs.

    goals: {embed_vision: {v: v, visual: visual}, embed_text: {t: t, asked: asked}, rerank: {score: score}}
    eval:  {metrics: [recall], rerank: 256, rerank_score: match}

The one vector of each embedding goal is compared by its cosine; `rerank` starts from the token streams.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mplug2.eval.retrieval.embedders import Call, Side, sides
from mplug2.eval.retrieval.gallery import SHOWN, Gallery, Row, gather_gallery, prediction_rows
from mplug2.eval.retrieval.rerank import Scorer, Tick, rerank
from mplug2.eval.retrieval.similarity import Nearest, search

if TYPE_CHECKING:
    from mplug2.network import Network

PAIRS = 64  # in a batch of re-ranking, unless the spec says how many


def retrieve(
    net: Network,
    call: Call,
    batches: Iterator[tuple[Any, bool]],
    length: int,
    *,
    shown: int = SHOWN,
    tick: Tick = lambda done, total, what: None,
) -> list[Row]:
    """Return this rank's rows: of each of its files and captions the rank of its own, and what was found.

    All ranks must call it. ``call`` is the network or the engine around it; ``batches`` come with whether
    they count. ``length`` is the number of batches. With ``eval.rerank: k`` the k nearest of each query are
    re-ranked. A row tells the first ``shown`` (at most 10) that were found.
    """
    settings, device = net.spec.eval, net.device
    depth = settings["rerank"] or 0
    both = sides(net, depth)
    records: list[Row] = []
    for done, (batch, counts) in enumerate(batches, 1):
        wanted = [counts and not record.get("padding") for record in batch.records]
        texts = [one for one, record in zip(wanted, batch.records, strict=True) for _ in record["references"]]
        both["vision"].embed(call, batch.inputs, device, wanted)
        both["text"].embed(call, batch.inputs, device, texts)
        records += [record for record, one in zip(batch.records, wanted, strict=True) if one]
        tick(done, length, "embedded")
    gallery = gather_gallery(records)
    found = _compare(both, gallery, max(depth, SHOWN), device)
    scores: dict[str, Tensor] = {}
    if depth:
        scorer = Scorer(
            call,
            both["vision"].store,
            both["text"].store.everyones(),
            size=settings["rerank_batch"] or PAIRS,
            dtype=net.dtype,
            device=device,
        )
        by_files, by_captions = (found[name][0].items[:, :depth] for name in ("vision", "text"))
        of_files, of_captions = rerank(gallery, by_files, by_captions, scorer, tick)
        scores = {"vision": of_files, "text": of_captions}
        if settings["rerank_score"] == "match_plus_similarity":
            for name, one in scores.items():
                one += found[name][0].values[:, :depth]
    return prediction_rows(records, gallery, found, scores, shown)


def _compare(
    both: dict[str, Side], gallery: Gallery, k: int, device: torch.device
) -> dict[str, tuple[Nearest, Tensor]]:
    """Per side: what each query found, and the place of its own. The vectors are dropped after."""
    vision, text = (both[name].everyones().to(device) for name in ("vision", "text"))
    return {
        "vision": _search(vision, text, gallery.files, gallery.own, k),
        "text": _search(text, vision, gallery.captions, gallery.owner[:, None], k),
    }


def _search(queries: Tensor, items: Tensor, mine: range, own: Tensor, k: int) -> tuple[Nearest, Tensor]:
    rows = slice(mine.start, mine.stop)
    nearest, before = search(queries[rows], items, own[rows].to(queries.device), k)
    return Nearest(nearest.items.cpu(), nearest.values.cpu()), before.cpu()
