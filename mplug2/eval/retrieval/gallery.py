"""All files and captions of a split, and the rows of its queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mplug2.eval.retrieval.similarity import TopK, places
from mplug2.runtime import distributed
from registry.errors import UserError

Row = dict[str, Any]
SHOWN = 10  # retrieved items in the row of a query, best first
QUERIES = 1024  # that are ranked at once


@dataclass(frozen=True)
class Gallery:
    """All files and captions of a split, in rank order; ``files`` and ``captions`` are those of this rank."""

    names: list[str]
    texts: list[str]
    counts: Tensor  # captions of each file
    files: range
    captions: range

    @property
    def owner(self) -> Tensor:
        """The file of each caption."""
        return torch.arange(len(self.names)).repeat_interleave(self.counts)

    @property
    def positives(self) -> Tensor:
        """The captions of each file [files, most]; the last one is repeated for files with fewer."""
        column = torch.arange(int(self.counts.max()))
        first_caption = self.counts.cumsum(0) - self.counts
        # (files, most): the number of a caption among those of its file
        within_file = torch.minimum(column[None], self.counts[:, None] - 1)
        return first_caption[:, None] + within_file


def gather_gallery(records: list[Row]) -> Gallery:
    """Return the gallery of the records of all ranks; `UserError` if there are none."""
    local_files = [(_name(record), list(record["references"])) for record in records]
    parts = distributed.all_gather_object(local_files)
    # In rank order, so that the items of a rank have consecutive numbers.
    files: list[tuple[str, list[str]]] = []
    for part in parts:
        files += part
    if not files:
        raise UserError(
            "a split must hold at least one file with captions to measure retrieval"
        )
    counts = [len(captions) for _, captions in files]
    num_preceding = sum(len(part) for part in parts[: distributed.rank()])
    first_caption = sum(counts[:num_preceding])
    num_local_captions = sum(len(captions) for _, captions in local_files)
    texts: list[str] = []
    for _, captions in files:
        texts += captions
    return Gallery(
        names=[name for name, _ in files],
        texts=texts,
        counts=torch.tensor(counts),
        files=range(num_preceding, num_preceding + len(local_files)),
        captions=range(first_caption, first_caption + num_local_captions),
    )


def _name(record: Row) -> str:
    return str(record["video_id"] if "video_id" in record else record["image"])


def prediction_rows(
    records: list[Row],
    gallery: Gallery,
    top: Mapping[str, tuple[TopK, Tensor]],
    scores: Mapping[str, Tensor],
    shown: int,
) -> list[Row]:
    """Return the rows of this rank's files, each followed by those of its captions.

    Ranks count from 1; None means not retrieved at all (a similarity that is NaN). ``scores`` of a modality,
    if there are any, reorder what was retrieved by similarity. A row lists the first ``shown`` items.
    """
    results = {}
    for modality, (nearest, preceding) in top.items():
        reordered = scores.get(modality)
        results[modality] = _results(
            modality, gallery, nearest, preceding, reordered, shown
        )
    rows = []
    for record in records:
        about = dict(record)
        about.pop("references")
        # The queries of a modality come in the order of their records.
        rows.append({**about, "query": "vision", **next(results["vision"])})
        for caption in record["references"]:
            query = {"query": "text", "caption": caption}
            rows.append({**about, **query, **next(results["text"])})
    return rows


def _results(
    modality: str,
    gallery: Gallery,
    top: TopK,
    preceding: Tensor,
    scores: Tensor | None,
    shown: int,
) -> Iterator[Row]:
    """Yield for each query of a modality the rank of its best positive, and the first items retrieved."""
    if modality == "vision":
        queries, labels = gallery.files, gallery.texts
    else:
        queries, labels = gallery.captions, gallery.names
    numbers, owner = torch.arange(queries.start, queries.stop)[:, None], gallery.owner
    # In blocks: the tables of all queries together would not fit the memory.
    for start in range(0, len(queries), QUERIES):
        block = slice(start, start + QUERIES)
        items, similarity_preceding = top.items[block], preceding[block]
        if modality == "vision":
            is_positive = owner[items] == numbers[block]
        else:
            is_positive = items == owner[numbers[block]]
        columns = {"similarity": top.values[block], "found": items}
        similarity_ranks = _ranks(similarity_preceding, len(labels))
        if scores is None:
            order = torch.arange(items.shape[1]).expand_as(items)
            rows: list[Row] = [{"rank": rank} for rank in similarity_ranks]
        else:
            order = scores[block].argsort(dim=1, descending=True, stable=True)
            # Only the first items have scores: the others keep their place behind them.
            reranked = is_positive[:, : scores.shape[1]]
            reranked_preceding = places(reranked, scores[block], similarity_preceding)
            ranks = _ranks(reranked_preceding, len(labels))
            rows = []
            for rank, similarity_rank in zip(ranks, similarity_ranks, strict=True):
                rows.append({"rank": rank, "similarity_rank": similarity_rank})
            columns = {"score": scores[block], **columns}
        if shown:
            _add_columns(rows, columns, order[:, :shown], labels)
        yield from rows


def _add_columns(
    rows: list[Row], columns: Mapping[str, Tensor], order: Tensor, labels: list[str]
) -> None:
    """Add to each row what was retrieved, in the given order: names, scores, similarities."""
    for name, values in columns.items():
        for row, ordered in zip(rows, values.gather(1, order).tolist(), strict=True):
            row[name] = (
                [labels[item] for item in ordered] if name == "found" else ordered
            )


def _ranks(preceding: Tensor, num_items: int) -> list[int | None]:
    """Return ranks from 1; None behind the last item, as for a similarity that is NaN."""
    return [count + 1 if count < num_items else None for count in preceding.tolist()]
