"""The two modalities of retrieval, images (or videos) and captions, as the goals of a spec embed them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mplug2.eval.retrieval.token_cache import Rows, TokenCache
from mplug2.runtime import distributed
from registry.errors import UserError

if TYPE_CHECKING:
    from mplug2.network import Network

Call = Callable[..., Any]
GOALS = {"vision": "embed_vision", "text": "embed_text"}
RERANK = "rerank"


@dataclass
class ModalityEmbedder:
    """The vectors of all images (or videos), or of all captions, and if needed their token streams."""

    goal: str
    vector: str  # the goal's output that is compared
    streams: dict[str, str]  # what `rerank` starts from: output -> stream
    inputs: tuple[str, ...]
    vectors: Rows = field(default_factory=Rows)
    cache: TokenCache = field(default_factory=TokenCache)

    def add(self, outputs: Mapping[str, Any], keep: list[bool]) -> None:
        """Take in the rows of a batch for which ``keep`` holds."""
        vectors = outputs[self.vector]
        if len(vectors) != len(keep):
            raise ValueError(
                f"goal '{self.goal}' must give {len(keep)} rows, but gives {len(vectors)}"
            )
        normalized = F.normalize(vectors.float(), dim=-1)
        self.vectors.add(normalized[torch.tensor(keep, device=vectors.device)])
        if self.streams:
            streams = {name: outputs[output] for output, name in self.streams.items()}
            self.cache.add(streams, keep)

    def gather_all(self) -> Tensor:
        """Return the vectors of all ranks, in rank order, on the CPU, and drop them here."""
        local_rows, self.vectors = self.vectors.values(), Rows()
        parts = [
            part for part in distributed.all_gather_object(local_rows) if len(part)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def modality_embedders(net: Network, depth: int) -> dict[str, ModalityEmbedder]:
    """Return the embedder of each modality as the goals of a spec define it; `UserError` if they do not.

    With a ``depth`` the embedders also keep the streams that the goal `rerank` starts from.
    """
    goals = {name: net.spec.goals.get(goal, {}) for name, goal in GOALS.items()}
    precomputed: dict[
        str, tuple[str, str]
    ] = {}  # Stream -> the modality and the output that give it.
    for name, outputs in goals.items():
        for output, ref in outputs.items():
            if ref.field is None and not ref.ema:
                precomputed[ref.stream] = name, output
    needed: tuple[str, ...] = ()
    if depth:
        plan = net.plan(RERANK, frozenset(precomputed))
        if plan.inputs:
            raise UserError(
                f"{net.spec.place('goals', RERANK)}: goal '{RERANK}' must start from what the goals "
                f"{' and '.join(GOALS.values())} give ({', '.join(precomputed) or 'nothing'}), but also "
                f"reads the input {', '.join(plan.inputs)}: add the streams between them to those goals"
            )
        needed = plan.given
    embedders = {}
    for name, goal in GOALS.items():
        vectors = [
            output
            for output, ref in goals[name].items()
            if net.types[ref.name].kind == "vector"
        ]
        if len(vectors) != 1:
            raise UserError(
                f"{net.spec.place('goals', goal)}: goal '{goal}' must give one vector to compare, but gives "
                f"{', '.join(vectors) or 'none'}"
            )
        streams = {}
        for stream in needed:
            modality, output = precomputed[stream]
            if modality == name:
                streams[output] = stream
        embedders[name] = ModalityEmbedder(
            goal, vectors[0], streams, net.plan(goal).inputs
        )
    return embedders
