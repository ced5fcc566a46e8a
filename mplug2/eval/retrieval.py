"""Evaluation of retrieval: embed everything once, compare all, re-rank the nearest pairs.

    goals: {embed_vision: {v: v, visual: visual}, embed_text: {t: t, asked: asked}, rerank: {score: score}}
    eval:  {metrics: [recall], rerank: 256, rerank_score: match}

The one vector of each embedding goal is compared by its cosine; `rerank` starts from the token streams.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mplug2.eval.gallery import SHOWN, Gallery, Row, gather_gallery, prediction_rows
from mplug2.eval.rerank import Pairs, Tick, score_pairs
from mplug2.eval.sides import Call, sides
from mplug2.eval.similarity import Nearest, search
from mplug2.train import ranks

if TYPE_CHECKING:
    from mplug2.network import Network

PAIRS = 64  # in a batch of re-ranking, unless the spec says how many
Found = Mapping[str, tuple[Nearest, Tensor]]  # per side: what each query found, and the place of its own


def retrieve(
    net: Network,
    call: Call,
    batches: Iterator[tuple[Any, bool]],
    length: int,
    *,
    together: bool = False,
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
        of_captions = [
            one for one, record in zip(wanted, batch.records, strict=True) for _ in record["references"]
        ]
        both["vision"].embed(call, batch.inputs, device, wanted)
        both["text"].embed(call, batch.inputs, device, of_captions)
        records += [record for record, one in zip(batch.records, wanted, strict=True) if one]
        tick(done, length, "embedded")
    gallery = gather_gallery(records)
    features = {name: side.everyones().to(device) for name, side in both.items()}
    found = {
        "vision": _search(features["vision"], features["text"], gallery.files, gallery.own, depth),
        "text": _search(
            features["text"], features["vision"], gallery.captions, gallery.owner[:, None], depth
        ),
    }
    scores: dict[str, Tensor] = {}
    if depth:
        pairs = _pairs(gallery, found, depth)
        measured = score_pairs(
            call,
            pairs,
            both["vision"].store,
            both["text"].store.everyones(),
            size=settings["rerank_batch"] or PAIRS,
            dtype=net.dtype,
            device=device,
            together=together,
            tick=tick,
        )
        scores = _scores(gallery, found, pairs, measured, depth)
        if settings["rerank_score"] == "match_plus_similarity":
            scores = {name: one + found[name][0].values[:, :depth] for name, one in scores.items()}
    return prediction_rows(records, gallery, found, scores, shown)


def _search(queries: Tensor, items: Tensor, mine: range, own: Tensor, depth: int) -> tuple[Nearest, Tensor]:
    rows = slice(mine.start, mine.stop)
    nearest, before = search(queries[rows], items, own[rows].to(queries.device), max(depth, SHOWN))
    return Nearest(nearest.items.cpu(), nearest.values.cpu()), before.cpu()


def _pairs(gallery: Gallery, found: Found, depth: int) -> Pairs:
    """The pairs with an image of this rank: of its images' own searches, and of all captions' searches."""
    asked = found["vision"][0].items[:, :depth]
    mine = torch.arange(len(gallery.files))[:, None].expand_as(asked)
    images, captions = _asking(gallery, found, depth)
    return Pairs.of(
        torch.cat([mine.flatten(), images]), torch.cat([asked.flatten(), captions]), len(gallery.texts)
    )


def _asking(gallery: Gallery, found: Found, depth: int) -> tuple[Tensor, Tensor]:
    """The captions of all ranks that found one of this rank's images, beside its number on this rank."""
    whole = torch.cat(ranks.gather(found["text"][0].items[:, :depth]))
    here = (whole >= gallery.files.start) & (whole < gallery.files.stop)
    captions, column = here.nonzero(as_tuple=True)
    return whole[captions, column] - gallery.files.start, captions


def _scores(
    gallery: Gallery,
    found: Found,
    pairs: Pairs,
    measured: Tensor,
    depth: int,
) -> dict[str, Tensor]:
    """The scores of what was found [queries depth]: an image's own are here, a caption's on all ranks."""
    asked = found["vision"][0].items[:, :depth]
    mine = torch.arange(len(gallery.files))[:, None].expand_as(asked)
    images, captions = _asking(gallery, found, depth)
    # every rank tells the scores of its images by (caption, image); each takes those of its own captions
    said = ranks.gather((captions, images + gallery.files.start, measured[pairs.find(images, captions)]))
    count = len(gallery.names)
    keys = torch.cat([caption * count + image for caption, image, _ in said])
    order = keys.argsort()
    values = torch.cat([value for _, _, value in said])[order]
    searched = found["text"][0].items[:, :depth]
    wanted = torch.arange(gallery.captions.start, gallery.captions.stop)[:, None] * count + searched
    return {
        "vision": measured[pairs.find(mine, asked)],
        "text": values[torch.searchsorted(keys[order], wanted)],
    }
