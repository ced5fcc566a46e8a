"""Retrieval: embed everything once, compare all, re-rank the nearest pairs.

    goals: {embed_vision: {v: v, visual: visual}, embed_text: {t: t, asked: asked}, rerank: {score: score}}
    eval:  {metrics: [recall], rerank: 256, rerank_score: match}

The one vector of each embedding goal is compared by its cosine. `rerank` starts from the token streams.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from mplug2.eval.evaluator import OnProgress, no_progress
from mplug2.eval.retrieval.embedders import (
    GOALS,
    Call,
    ModalityEmbedder,
    modality_embedders,
)
from mplug2.eval.retrieval.gallery import (
    SHOWN,
    Gallery,
    gather_gallery,
    prediction_rows,
)
from mplug2.eval.retrieval.rerank import Scorer, rerank
from mplug2.eval.retrieval.similarity import TopK, search
from mplug2.metrics.metric import Row

if TYPE_CHECKING:
    from mplug2.network import Network

PAIRS = 64  # in a batch of re-ranking, unless the spec sets another number


class Retrieval:
    """Rows of images (or videos) and captions with the rank of their counterpart and the retrieved items.

    With ``rerank`` the nearest of each query are ordered by the goal `rerank`. ``rerank_score`` adds the
    similarity to its logit or not. A row lists what was retrieved (at most 10) if rows are ``detailed``.
    """

    inputs = {
        "embed_vision": "vector V width",
        "embed_text": "vector T width",
        "rerank?": "logits P classes",
    }
    goals = ("embed_vision", "embed_text")
    outputs: ClassVar[dict[str, str]] = {}  # All values are those of metrics.
    one_row_per_record = False  # A row for each image and for each caption.

    def __init__(
        self,
        *,
        net: Network,
        call: Call | None = None,
        rerank: int = 0,
        rerank_score: Literal["match", "match_plus_similarity"] = "match",
        rerank_batch: int = PAIRS,
        detailed: bool = False,
        on_progress: OnProgress = no_progress,
    ) -> None:
        self.net, self.call = net, net if call is None else call
        self.depth, self.score, self.pairs = rerank, rerank_score, rerank_batch
        self.shown = SHOWN if detailed else 0
        self.on_progress = on_progress
        self.embedders = modality_embedders(net, rerank)
        self.records: list[Row] = []

    def update(self, outputs: Any, records: Sequence[Row]) -> None:
        """Keep the vectors of one modality, and what re-ranking needs of it."""
        wanted = [not record.get("padding") for record in records]
        if outputs.goal == GOALS["vision"]:
            self.embedders["vision"].add(outputs, wanted)
            for record, is_wanted in zip(records, wanted, strict=True):
                if is_wanted:
                    self.records.append(record)
            return
        wanted_texts = []
        for record, is_wanted in zip(records, wanted, strict=True):
            wanted_texts += [is_wanted] * len(record["references"])
        self.embedders["text"].add(outputs, wanted_texts)

    def compute(self) -> tuple[dict[str, float], list[Row]]:
        """Return a row for each image and caption of this rank; all ranks must call it."""
        gallery = gather_gallery(self.records)
        top = _compare(self.embedders, gallery, max(self.depth, SHOWN), self.net.device)
        scores = self._rerank(gallery, top) if self.depth else {}
        rows = prediction_rows(self.records, gallery, top, scores, self.shown)
        expected = sum(1 + len(record["references"]) for record in self.records)
        if len(rows) != expected:
            raise ValueError(
                f"retrieval must give {expected} rows, but gives {len(rows)}"
            )
        return {}, rows

    def _rerank(
        self, gallery: Gallery, top: Mapping[str, tuple[TopK, Tensor]]
    ) -> dict[str, Tensor]:
        """Return the scores of what each query of both modalities retrieved."""
        scorer = Scorer(
            self.call,
            self.embedders["vision"].cache,
            self.embedders["text"].cache.gather_all(),
            size=self.pairs,
            dtype=self.net.dtype,
            device=self.net.device,
        )
        by_files, by_captions = (
            top[name][0].items[:, : self.depth] for name in ("vision", "text")
        )
        of_files, of_captions = rerank(
            gallery, by_files, by_captions, scorer, self.on_progress
        )
        scores = {"vision": of_files, "text": of_captions}
        if self.score == "match_plus_similarity":
            for name, values in scores.items():
                values += top[name][0].values[:, : self.depth]
        return scores


def _compare(
    embedders: dict[str, ModalityEmbedder],
    gallery: Gallery,
    k: int,
    device: torch.device,
) -> dict[str, tuple[TopK, Tensor]]:
    """Return for each modality what its queries retrieve, and how many others precede their positives.

    The vectors are dropped afterwards.
    """
    vision, text = (
        embedders[name].gather_all().to(device) for name in ("vision", "text")
    )
    return {
        "vision": _search(vision, text, gallery.files, gallery.positives, k),
        "text": _search(text, vision, gallery.captions, gallery.owner[:, None], k),
    }


def _search(
    queries: Tensor, items: Tensor, local_rows: range, positives: Tensor, k: int
) -> tuple[TopK, Tensor]:
    rows = slice(local_rows.start, local_rows.stop)
    top, preceding = search(queries[rows], items, positives[rows].to(queries.device), k)
    return TopK(top.items.cpu(), top.values.cpu()), preceding.cpu()
