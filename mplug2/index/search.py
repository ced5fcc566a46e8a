"""Search an index by a text, or by a file like those that it holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mplug2.eval.retrieval.embedders import GOALS
from mplug2.eval.retrieval.similarity import nearest
from mplug2.index.embed import Embedder
from mplug2.index.files import (
    SPEC,
    TOKENIZER,
    Contents,
    read,
    spec_fingerprint,
    weights_fingerprint,
)
from mplug2.predict.asking import check_text
from mplug2.predict.network import load
from mplug2.predict.predict_loader import Files, look
from mplug2.predict.result import Look
from registry import UserError, read_spec
from registry.goal_source import tokenizer_key


@dataclass(frozen=True)
class SearchHit:
    """A file that was found: its name below the media folder, where it is, and its cosine to the query."""

    name: str
    path: Path
    score: float

    def row(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"file": str(self.path), "score": self.score}


def open_index(index: str | Path, checkpoint: str | Path | None = None) -> Index:
    """Return an index ready to be searched; ``checkpoint``: where its weights lie, if they were moved.

    UserError where there is no index, or where spec or weights are not those that it was made with.
    """
    index = Path(index)
    contents = read(index)
    weights = (
        Path(checkpoint) if checkpoint is not None else index / contents.checkpoint
    )
    if not weights.exists():
        raise UserError(
            f"the checkpoint {weights} of the index {index} must exist: name it, --checkpoint PATH"
        )
    kept = index / TOKENIZER
    overrides = []
    if kept.is_dir():
        key = tokenizer_key(read_spec(index / SPEC), GOALS["text"])
        # The copy in the index: the original vocabulary may have moved.
        overrides.append(f"{key}={json.dumps(str(kept))}")
    net, tokenizer, _ = load(index / SPEC, weights, overrides, goal=GOALS["text"])
    # Vectors of two networks cannot be compared, and nothing in them shows it.
    for text, made_with, value in (
        ("another spec", contents.spec, spec_fingerprint(net.spec)),
        ("other weights", contents.weights, weights_fingerprint(weights)),
    ):
        if value != made_with:
            raise UserError(
                f"the index {index} was made with {text} (fingerprint {made_with}) "
                f"than this ({value}): build it again, or name the checkpoint that it was made with"
            )
    embedder = Embedder(net, tokenizer)
    if contents.kind != embedder.kind:
        raise UserError(
            f"the index {index} is damaged: it is an index of {contents.kind}s, but its network reads "
            f"{embedder.kind}s; delete it and build it again"
        )
    return Index(index, contents, embedder)


class Index:
    """Vectors of a folder's files, and the network that made them."""

    def __init__(self, path: Path, contents: Contents, embedder: Embedder) -> None:
        self.path, self.contents, self.embedder = path, contents, embedder
        self.files, self.kind = contents.whole, embedder.kind

    def __len__(self) -> int:
        return len(self.files)

    def text(self, query: str, top: int = 10) -> list[SearchHit]:
        """Return the ``top`` files whose vectors are nearest to a text's."""
        check_text(query, "a query")
        return self._nearest(self.embedder.texts([query]), top)

    def file(self, query: str | Path, top: int = 10) -> list[SearchHit]:
        """Return the ``top`` files most like another file; UserError where that cannot be read."""
        ((_, vector),) = next(iter(self.embedder.files([Path(query)])))
        if isinstance(vector, str):
            raise UserError(vector)
        return self._nearest(vector[None], top)

    def look(self, found: SearchHit, pictures: int) -> Look:
        """Return up to ``pictures`` images of a file; raise VideoError or ImageError."""
        net = self.embedder.net
        files = Files(Path(), self.embedder.view, net.types[self.embedder.view])
        files.read(str(found.path), np.random.default_rng(0))
        return look(files.decoded[0], files.sizes[0], pictures)

    def _nearest(self, query: Tensor, top: int) -> list[SearchHit]:
        if top < 1:
            raise UserError(f"top must be at least 1, but is {top}")
        if not query.isfinite().all():
            raise UserError(
                "the network's vector of the query has NaN or infinite values; the checkpoint may be damaged"
            )
        if not self.files:
            return []
        if query.shape[1] != self.contents.features.shape[1]:
            raise UserError(
                f"the index {self.path} is damaged: its vectors are of another width; build it again"
            )
        near = nearest(query, self.contents.features, top)
        folder = self.path / self.contents.media
        hits = []
        # The first row: there is one query.
        found = zip(near.items[0].tolist(), near.values[0].tolist(), strict=True)
        for number, score in found:
            name = self.files[number].name
            hits.append(SearchHit(name, (folder / name).resolve(), score))
        return hits
