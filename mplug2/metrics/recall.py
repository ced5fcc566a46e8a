"""Recall of retrieval, both ways."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from mplug2.metrics.metric import ResultTable, Row, TrainRecords

DEPTHS = (1, 5, 10)
# Text retrieval: an image or video asks for its captions; image (or video) retrieval: a caption asks for it.
DIRECTIONS = {"tr": "vision", "ir": "text"}
QUERIES = (
    ("tr", "image or video", "its captions"),
    ("ir", "caption", "its image or video"),
)


class Recall:
    """R@1, R@5 and R@10 both ways, from 0 to 1: fraction of queries with a positive among the first 1, 5, 10
    results.

    ``tr``: an image or video asks, its best placed caption counts; ``ir``: a caption asks. ``recall`` is the
    mean of all six. A tie counts against the query, and a file that could not be decoded is never found.
    Unlike other metrics it measures three goals: it needs all of a split embedded before anything is found.
    """

    inputs = {
        "embed_vision": "vector V width",
        "embed_text": "vector T width",
        "rerank?": "logits P classes",
    }
    outputs = {
        "recall": "scalar",
        "tr_r1": "scalar",
        "tr_r5": "scalar",
        "tr_r10": "scalar",
        "ir_r1": "scalar",
        "ir_r5": "scalar",
        "ir_r10": "scalar",
        "sim_recall?": "scalar",
        "sim_tr_r1?": "scalar",
        "sim_tr_r5?": "scalar",
        "sim_tr_r10?": "scalar",
        "sim_ir_r1?": "scalar",
        "sim_ir_r5?": "scalar",
        "sim_ir_r10?": "scalar",
    }

    def compute(self, rows: Sequence[Row]) -> dict[str, float]:
        """Return ``{"recall": ..., "tr_r1": ..., "ir_r10": ...}``, and ``sim_...`` if pairs were re-ranked.

        Each row has ``query`` (``vision`` or ``text``) and ``rank`` (from 1, or None), and after re-ranking
        ``similarity_rank``, the rank by similarity alone.
        """
        values = _values(rows, "rank")
        if any("similarity_rank" in row for row in rows):
            for name, value in _values(rows, "similarity_rank").items():
                values[f"sim_{name}"] = value
        return values

    def tables(
        self,
        values: Mapping[str, float],
        rows: Sequence[Row],
        train_records: TrainRecords,
    ) -> list[ResultTable]:
        """Return R@1, R@5 and R@10 of both directions; also by similarity alone if pairs were re-ranked."""
        reranked = "sim_tr_r1" in values
        orders = {"": "similarity"}
        if reranked:
            orders = {"": "re-ranking", "sim_": "similarity"}
        depths = [f"R@{depth}" for depth in DEPTHS]
        lines = []
        for direction, query, found in QUERIES:
            for prefix, order in orders.items():
                recalls = [values[f"{prefix}{direction}_r{depth}"] for depth in DEPTHS]
                lines.append((query, found, order, *recalls))
        return [
            ResultTable(
                title="recall",
                columns=("a query", "finds", "ordered by", *depths),
                formats=("", "", "", *[".1%"] * len(depths)),
                rows=tuple(lines),
                values=tuple(name for name in values if name != "recall"),
            )
        ]


def _values(rows: Iterable[Row], key: str) -> dict[str, float]:
    ranks: dict[str, list[float]] = {query: [] for query in DIRECTIONS.values()}
    for row in rows:
        # An undecodable file is not found at any depth.
        is_missed = row.get("bad") or row[key] is None
        ranks[row["query"]].append(math.inf if is_missed else row[key])
    values = {}
    for direction, query in DIRECTIONS.items():
        for depth in DEPTHS:
            values[f"{direction}_r{depth}"] = _share(ranks[query], depth)
    return {"recall": sum(values.values()) / len(values), **values}


def _share(ranks: list[float], depth: int) -> float:
    return sum(rank <= depth for rank in ranks) / len(ranks) if ranks else math.nan
