"""Evaluation of retrieval: embed everything once, compare all, re-rank the nearest pairs.

    goals: {embed_vision: {v: v, visual: visual}, embed_text: {t: t, asked: asked}, rerank: {score: score}}
    eval:  {metrics: [recall], rerank: 256, rerank_score: match}

The one vector of each embedding goal is compared by its cosine; `rerank` starts from the token streams.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

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
        chosen = Wanted.of(gallery, found, depth)
        pairs = chosen.pairs(len(gallery.texts))
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
        scores = chosen.scores(gallery, pairs, measured)
        if settings["rerank_score"] == "match_plus_similarity":
            scores = {name: one + found[name][0].values[:, :depth] for name, one in scores.items()}
    return prediction_rows(records, gallery, found, scores, shown)


def _search(queries: Tensor, items: Tensor, mine: range, own: Tensor, depth: int) -> tuple[Nearest, Tensor]:
    rows = slice(mine.start, mine.stop)
    nearest, before = search(queries[rows], items, own[rows].to(queries.device), max(depth, SHOWN))
    return Nearest(nearest.items.cpu(), nearest.values.cpu()), before.cpu()


class Wanted(NamedTuple):
    """The pairs with an image of this rank: numbers of its images on this rank, and of captions.

    First those that its images found [files k], then those of all captions that found one of its images;
    ``columns``: at which place of their search.
    """

    found: Tensor
    images: Tensor
    captions: Tensor
    columns: Tensor
    k: int  # images that each caption found

    @classmethod
    def of(cls, gallery: Gallery, found: Found, depth: int) -> Wanted:
        """Return them; all ranks must call it."""
        whole = torch.cat(ranks.gather(found["text"][0].items[:, :depth].contiguous()))
        here = (whole >= gallery.files.start) & (whole < gallery.files.stop)
        captions, columns = here.nonzero(as_tuple=True)
        images = whole[captions, columns] - gallery.files.start
        return cls(found["vision"][0].items[:, :depth], images, captions, columns, whole.shape[1])

    @property
    def files(self) -> Tensor:
        """The image of each of ``found``."""
        return torch.arange(len(self.found))[:, None].expand_as(self.found)

    def pairs(self, captions: int) -> Pairs:
        """Return all of them, each once; ``captions`` is the number of all captions."""
        images = torch.cat([self.files.flatten(), self.images])
        return Pairs.of(images, torch.cat([self.found.flatten(), self.captions]), captions)

    def scores(self, gallery: Gallery, pairs: Pairs, measured: Tensor) -> dict[str, Tensor]:
        """Return the scores of what was found [queries k]; all ranks must call it.

        An image's own are here; a caption's are with the images that it found, on all ranks.
        """
        told = torch.zeros(len(gallery.texts), self.k)
        told[self.captions, self.columns] = measured[pairs.find(self.images, self.captions)]
        everyones = torch.stack(ranks.gather(told)).sum(dim=0) if ranks.world() > 1 else told
        return {
            "vision": measured[pairs.find(self.files, self.found)],
            "text": everyones[gallery.captions.start : gallery.captions.stop],
        }
