"""All files and captions of a split, and what is written down of those that asked and were found."""

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
SHOWN = 10  # results of a query that are written down, best first
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
        """The captions of each file [files, most], the last one repeated where there are fewer."""
        most = torch.arange(int(self.counts.max()))
        first = self.counts.cumsum(0) - self.counts
        return first[:, None] + torch.minimum(most[None], self.counts[:, None] - 1)


def gather_gallery(records: list[Row]) -> Gallery:
    """Return the gallery of the records of all ranks."""
    mine = [(_name(record), list(record["references"])) for record in records]
    parts = distributed.all_gather_object(mine)
    everyone = [one for part in parts for one in part]
    if not everyone:
        raise UserError("a split must hold at least one file with captions to measure retrieval")
    counts = [len(texts) for _, texts in everyone]
    before = sum(map(len, parts[: distributed.rank()]))
    first = sum(counts[:before])
    return Gallery(
        names=[name for name, _ in everyone],
        texts=[text for _, texts in everyone for text in texts],
        counts=torch.tensor(counts),
        files=range(before, before + len(mine)),
        captions=range(first, first + sum(len(texts) for _, texts in mine)),
    )


def _name(record: Row) -> str:
    return str(record["video_id"] if "video_id" in record else record["image"])


def prediction_rows(
    records: list[Row],
    gallery: Gallery,
    found: Mapping[str, tuple[TopK, Tensor]],
    scores: Mapping[str, Tensor],
    shown: int,
) -> list[Row]:
    """Return the rows of this rank's files, each followed by those of its captions; ranks count from 1, None
    is not found at all (a similarity that is not a number).

    ``scores`` of a side, where there are any, order what was found by similarity anew. A row tells the first
    ``shown`` that were found.
    """
    told = {name: _told(name, gallery, *found[name], scores.get(name), shown) for name in found}
    rows = []
    for record in records:
        about = {key: value for key, value in record.items() if key != "references"}
        rows.append({**about, "query": "vision", **next(told["vision"])})
        for text in record["references"]:
            rows.append({**about, "query": "text", "caption": text, **next(told["text"])})
    return rows


def _told(
    side: str, gallery: Gallery, top: TopK, preceding: Tensor, scores: Tensor | None, shown: int
) -> Iterator[Row]:
    """What is said of each query of a side: the rank of its best own item, and the first that were found."""
    mine, labels = (gallery.files, gallery.texts) if side == "vision" else (gallery.captions, gallery.names)
    numbers, owner = torch.arange(mine.start, mine.stop)[:, None], gallery.owner
    for start in range(0, len(mine), QUERIES):
        some = slice(start, start + QUERIES)
        items, plain = top.items[some], preceding[some]
        if side == "vision":
            positives = owner[items] == numbers[some]
        else:
            positives = items == owner[numbers[some]]
        columns = {"similarity": top.values[some], "found": items}
        if scores is None:
            order = torch.arange(items.shape[1]).expand_as(items)
            rows: list[Row] = [{"rank": one} for one in _ranks(plain, len(labels))]
        else:
            order = scores[some].argsort(dim=1, descending=True, stable=True)
            after = places(positives[:, : scores.shape[1]], scores[some], plain)
            rows = [
                {"rank": place, "similarity_rank": one}
                for place, one in zip(_ranks(after, len(labels)), _ranks(plain, len(labels)), strict=True)
            ]
            columns = {"score": scores[some], **columns}
        for name, values in columns.items() if shown else ():
            for row, chosen in zip(rows, values.gather(1, order[:, :shown]).tolist(), strict=True):
                row[name] = [labels[item] for item in chosen] if name == "found" else chosen
        yield from rows


def _ranks(places: Tensor, items: int) -> list[int | None]:
    """Places from 0 as ranks from 1; None behind the last item, where a similarity is not a number."""
    return [place + 1 if place < items else None for place in places.tolist()]
