"""The two sides of retrieval, images (or videos) and captions, as the goals of a spec embed them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from modules.streams import to_device
from mplug2.eval.retrieval.token_cache import Rows, Store
from mplug2.runtime import distributed
from registry.errors import UserError

if TYPE_CHECKING:
    from mplug2.network import Network

Call = Callable[..., Any]
GOALS = {"vision": "embed_vision", "text": "embed_text"}


@dataclass
class Side:
    """The images (or videos), or the captions: their vectors, and where needed their token streams."""

    goal: str
    vector: str  # the goal's output that is compared
    streams: dict[str, str]  # what `rerank` starts from: output -> stream
    inputs: tuple[str, ...]
    vectors: Rows = field(default_factory=Rows)
    store: Store = field(default_factory=Store)

    def embed(self, call: Call, batch: Mapping[str, Any], device: torch.device, keep: list[bool]) -> None:
        """Embed a batch and take in the rows for which ``keep`` holds."""
        given = {name: to_device(batch[name], device) for name in self.inputs if name in batch}
        outputs = call(given, goal=self.goal)
        vectors = outputs[self.vector]
        if len(vectors) != len(keep):
            raise ValueError(f"goal '{self.goal}' must give {len(keep)} rows, but gives {len(vectors)}")
        self.vectors.add(F.normalize(vectors.float(), dim=-1)[torch.tensor(keep, device=device)])
        if self.streams:
            self.store.add({name: outputs[output] for output, name in self.streams.items()}, keep)

    def everyones(self) -> Tensor:
        """The vectors of all ranks, in rank order, on the CPU; they are kept here no longer."""
        mine, self.vectors = self.vectors.values(), Rows()
        parts = [one for one in distributed.all_gather_object(mine) if len(one)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def sides(net: Network, depth: int) -> dict[str, Side]:
    """Return both sides as the goals of a spec define them; UserError where they do not."""
    goals = {name: net.spec.goals.get(goal, {}) for name, goal in GOALS.items()}
    given = {
        ref.stream: (name, output)
        for name, outputs in goals.items()
        for output, ref in outputs.items()
        if ref.field is None and not ref.ema
    }
    needed: tuple[str, ...] = ()
    if depth:
        plan = net.plan("rerank", frozenset(given))
        if plan.inputs:
            raise UserError(
                f"{net.spec.place('goals', 'rerank')}: goal 'rerank' must start from what the goals "
                f"{' and '.join(GOALS.values())} give ({', '.join(given) or 'nothing'}), but also reads the "
                f"input {', '.join(plan.inputs)}: add the streams between them to those goals"
            )
        needed = plan.given
    found = {}
    for name, goal in GOALS.items():
        vectors = [one for one, ref in goals[name].items() if net.types[ref.name].kind == "vector"]
        if len(vectors) != 1:
            raise UserError(
                f"{net.spec.place('goals', goal)}: goal '{goal}' must give one vector to compare, but gives "
                f"{', '.join(vectors) or 'none'}"
            )
        streams = {given[one][1]: one for one in needed if given[one][0] == name}
        found[name] = Side(goal, vectors[0], streams, net.plan(goal).inputs)
    return found
