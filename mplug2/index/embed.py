"""Vectors of files and of texts, by the goals `embed_vision` and `embed_text` of a spec."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from mplug2.data.media.folder import UNREADABLE
from mplug2.data.media.transforms import CLIP_MEAN, CLIP_STD
from mplug2.data.text import Tokenizer
from mplug2.eval.retrieval.embedders import GOALS, modality_embedders
from mplug2.eval.retrieval.texts import CaptionReader
from mplug2.predict.asking import check_length
from mplug2.predict.predict_loader import Files
from registry import UserError
from registry.goal_source import goal_arguments

if TYPE_CHECKING:
    from mplug2.network import Network
    from registry import Spec

NO_NUMBERS = "the network's vector of it has numbers that are not finite"
Side = Literal["vision", "text"]


def check_searchable(spec: Spec) -> None:
    """Raise UserError unless a spec has a goal for the vectors of files, and one for those of texts."""
    missing = [goal for goal in GOALS.values() if goal not in spec.goals]
    if missing:
        raise UserError(
            f"{spec.path}: to search, a spec must have the goals {' and '.join(GOALS.values())}, "
            f"each with one vector, but has no {' and no '.join(missing)}"
        )


class Embedder:
    """A network that brings files and texts into one space; UserError where its goals do not do that."""

    def __init__(self, net: Network, tokenizer: Tokenizer | None) -> None:
        check_searchable(net.spec)
        if tokenizer is None:
            raise UserError(
                f"{net.spec.path}: data.tokenizer must name a vocabulary to search with"
            )
        self.net, self.tokenizer, self.sides = (
            net,
            tokenizer,
            modality_embedders(net, 0),
        )
        self.reader = CaptionReader(net.spec, self.sides["text"].goal, tokenizer)
        self.view = self._only("vision", ("frames", "image"))
        self.caption = self._only("text", ("text",))
        self.kind: Literal["video", "image"] = "image"
        if net.types[self.view].kind == "frames":
            self.kind = "video"

    def files(self, paths: Sequence[Path]) -> Iterator[list[tuple[int, Tensor | str]]]:
        """Yield, batch by batch, the number of each path with its vector, or why it cannot be read."""
        data, settings = self.net.spec.data, self.net.spec
        source = _Pixels(paths, self._media())
        batch = settings.eval["batch_size"] or settings.train["batch_size"]
        num_batches = -(-len(paths) // batch)
        # A single file, such as a query, is not worth the start of a process.
        workers = min(data["workers"], num_batches) if len(paths) > 1 else 0
        loader: DataLoader[Any] = DataLoader(
            source,
            batch_size=batch,
            num_workers=workers,
            collate_fn=list,
            # A loader must not draw from the caller's random numbers.
            generator=torch.Generator(),
        )
        for read in loader:
            results: list[tuple[int, Tensor | str]] = []
            numbers: list[int] = []
            pixels: list[Tensor] = []
            for number, value in read:
                if isinstance(value, str):
                    results.append((number, value))
                else:
                    numbers.append(number)
                    pixels.append(value)
            if pixels:
                vectors = self._vectors("vision", {self.view: torch.stack(pixels)})
                for number, vector in zip(numbers, vectors, strict=True):
                    is_finite = bool(vector.isfinite().all())
                    results.append((number, vector if is_finite else NO_NUMBERS))
            yield results

    def texts(self, texts: Sequence[str]) -> Float[Tensor, "texts width"]:
        """Return a vector for each text, read as the spec's reader reads captions."""
        ids = self.reader(texts)
        check_length(self.net.spec, self.caption, ids)
        return self._vectors("text", {self.caption: ids})

    def _media(self) -> Files:
        arguments = goal_arguments(self.net.spec, self.sides["vision"].goal)
        return Files(
            Path(),
            self.view,
            self.net.types[self.view],
            decoder=arguments.get("decoder") or "av",
            mean=arguments.get("image_mean", CLIP_MEAN),
            std=arguments.get("image_std", CLIP_STD),
        )

    @torch.no_grad()
    def _vectors(
        self, side: Side, batch: dict[str, Any]
    ) -> Float[Tensor, "rows width"]:
        outputs = self.net(self.net.move(batch), goal=self.sides[side].goal)
        vectors = outputs[self.sides[side].vector].float()
        # Of length 1, so that a product of two vectors is their cosine.
        return F.normalize(vectors, dim=-1).cpu()

    def _only(self, side: Side, kinds: tuple[str, ...]) -> str:
        embedder = self.sides[side]
        names = [name for name in embedder.inputs if self.net.types[name].kind in kinds]
        if len(names) != 1 or len(embedder.inputs) != 1:
            raise UserError(
                f"{self.net.spec.path}: goal '{embedder.goal}' must read one input of kind "
                f"{' or '.join(kinds)}, but reads {', '.join(embedder.inputs) or 'none'}"
            )
        return names[0]


class _Pixels(Dataset[Any]):
    """Files as the network sees them: (number, pixels), or (number, why not)."""

    def __init__(self, paths: Sequence[Path], media: Files) -> None:
        self.paths, self.media = paths, media

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[int, Tensor | str]:
        # What was decoded is kept for looks, which an index does not need.
        self.media.decoded.clear()
        rng = np.random.default_rng(0)
        try:
            return number, self.media.read(str(self.paths[number]), rng)
        except UNREADABLE as error:
            return number, str(error)
