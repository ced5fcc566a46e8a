"""Recall of retrieval, both ways."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

DEPTHS = (1, 5, 10)
# text retrieval: an image or video asks for its captions; image (or video) retrieval: a caption asks for it
DIRECTIONS = {"tr": "vision", "ir": "text"}


class Recall:
    """R@1, R@5 and R@10 both ways, from 0 to 1: the share of queries with one of their own among the first
    1, 5, 10 found.

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

    def mark(self, row: dict[str, Any]) -> dict[str, Any]:
        """Nothing: a row has its rank already."""
        return {}

    def compute(self, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """``{"recall": ..., "tr_r1": ..., "ir_r10": ...}``; after re-ranking also ``sim_...``: by similarity
        alone.

        Each row has ``query`` (``vision`` or ``text``), ``rank`` and perhaps ``similarity_rank``, from 1, or
        None.
        """
        values = _values(rows, "rank")
        if any("similarity_rank" in row for row in rows):
            plain = _values(rows, "similarity_rank")
            values |= {f"sim_{name}": value for name, value in plain.items()}
        return values


def _values(rows: Iterable[dict[str, Any]], key: str) -> dict[str, float]:
    ranks: dict[str, list[float]] = {query: [] for query in DIRECTIONS.values()}
    for row in rows:
        ranks[row["query"]].append(math.inf if row.get("bad") or row[key] is None else row[key])
    values = {
        f"{direction}_r{depth}": _share(ranks[query], depth)
        for direction, query in DIRECTIONS.items()
        for depth in DEPTHS
    }
    return {"recall": sum(values.values()) / len(values), **values}


def _share(ranks: list[float], depth: int) -> float:
    return sum(rank <= depth for rank in ranks) / len(ranks) if ranks else math.nan
