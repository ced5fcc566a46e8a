"""Classes by nearest neighbors: how good features are, without training anything on them.

    goals: {features: {features: vision_encoded}}
    eval:  {evaluator: knn, metrics: [top_k]}

Any task with classes supplies the files; those of the training split are the neighbors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from modules.heads import pooled
from modules.streams import Tokens
from mplug2.eval.evaluation import padded_batches
from mplug2.eval.evaluator import OnProgress, no_progress
from mplug2.eval.evaluators.classification import Classification
from mplug2.metrics.metric import Metric, Row
from mplug2.runtime import distributed
from registry import UserError
from registry.evaluations import EvaluationSpec

if TYPE_CHECKING:
    from mplug2.network import Network

QUERIES = 256  # compared with all neighbors at once
GOAL = "features"
TRAIN = "train"


class NearestNeighbors:
    """Rows with the class that the nearest files of the training split vote for, and its part of the votes.

    Each of the ``neighbors`` with the highest cosine votes with ``exp(cosine / temperature)`` for its class
    (arXiv 1805.01978, section 3.4; DINO, arXiv 2104.14294, takes 20 neighbors and 0.07). The only output of
    the goal ``features`` is a vector, or tokens that are pooled: the ``first``, or their ``mean``. Files of
    the training split are read as in evaluation, without augmentation. Views of one file are averaged as in
    `Classification`; of a training file each view is a neighbor.
    """

    goals = ("features",)
    supplies = {"label": "logits B classes"}
    outputs: ClassVar[dict[str, str]] = {}  # All values are those of metrics.
    unwritten = Classification.unwritten

    def __init__(
        self,
        *,
        neighbors: int = 20,
        temperature: float = 0.07,
        pool: Literal["first", "mean"] = "mean",
        net: Network,
        metrics: Sequence[Metric],
        settings: EvaluationSpec,
        call: Any = None,
        loader: Any = None,
        on_progress: OnProgress = no_progress,
    ) -> None:
        if neighbors < 1 or temperature <= 0:
            raise UserError(
                f"{settings.label}: neighbors must be at least 1 and temperature above 0 "
                f"(got {neighbors} and {temperature})"
            )
        self.neighbors, self.temperature, self.pool = neighbors, temperature, pool
        self.net, self.call = net, net if call is None else call
        self.settings, self.on_progress = settings, on_progress
        # A rehearsal reads a few batches: so many of the training split, too.
        self.max_batches = getattr(loader, "max_batches", None)
        self.classification = Classification(metrics=metrics, settings=settings)
        self.queries: list[Float[Tensor, "b width"]] = []
        self.records: list[Row] = []

    @property
    def one_row_per_record(self) -> bool:
        """False once records are views of files."""
        return self.classification.one_row_per_record

    def update(self, outputs: Mapping[str, Any], records: Sequence[Row]) -> None:
        """Keep the vectors of files until the training split is read."""
        self.queries.append(self._vectors(outputs))
        self.records += records

    def compute(self) -> tuple[dict[str, float], list[Row]]:
        """Read the training split on all ranks, and return the rows of this rank's files."""
        vectors, names = self._training_split()
        classes = self._classes()
        numbers = {name: number for number, name in enumerate(classes)}
        labels = torch.tensor([numbers.get(name, -1) for name in names])
        if self.queries:
            votes = neighbor_votes(
                torch.cat(self.queries),
                vectors[labels >= 0],
                labels[labels >= 0],
                len(classes),
                self.neighbors,
                self.temperature,
            )
            # The softmax of logarithms gives the votes themselves; no vote is a probability of 0.
            name = self.classification.output or "label"
            self.classification.update({name: votes.log()}, self.records)
        return self.classification.compute()

    def _classes(self) -> Sequence[str]:
        """Return the names of the classes, of the records of this rank."""
        for record in self.records:
            if record.get("classes"):
                return list(record["classes"])
        if not self.records:
            return []
        raise UserError(
            f"{self.settings.label}: evaluator 'knn' needs records with 'classes'. "
            "Use a task such as media_class"
        )

    def _training_split(self) -> tuple[Float[Tensor, "n width"], list[str]]:
        """Return the vectors of the training files of all ranks, and the class of each."""
        from mplug2.data.build import build_eval_loader

        loader = build_eval_loader(
            self.net.spec,
            self.net.types,
            self.settings.source,
            TRAIN,
            rank=distributed.rank(),
            world=distributed.world_size(),
            batch_size=self.settings.arguments.get("batch_size"),
            goals=(GOAL,),
        )
        vectors, names = [], []
        # Sharded layers are called equally often on every rank: a rank without batches repeats one.
        batches = padded_batches(loader, distributed.world_size() > 1)
        for done, batch in enumerate(islice(batches, self.max_batches), 1):
            outputs = self.call(self.net.move(batch.inputs), goal=GOAL)
            kept, labels = _labelled(batch.records)
            vectors.append(self._vectors(outputs)[kept])
            names += labels
            self.on_progress(done, len(loader), "training batches")
        parts = distributed.all_gather_object((torch.cat(vectors), names))
        all_names = [name for _, labels in parts for name in labels]
        return torch.cat([part for part, _ in parts]), all_names

    def _vectors(self, outputs: Mapping[str, Any]) -> Float[Tensor, "b width"]:
        """Return the unit vectors of a batch, in memory of the processor."""
        if len(outputs) != 1:
            raise UserError(
                f"goal '{GOAL}' must have one output for evaluator 'knn' (got {', '.join(outputs)})"
            )
        (value,) = outputs.values()
        vector = pooled(value, self.pool) if isinstance(value, Tokens) else value
        if not isinstance(vector, Tensor) or vector.ndim != 2:
            raise UserError(
                f"goal '{GOAL}' must be a vector or tokens for evaluator 'knn' (got {type(value).__name__})"
            )
        return F.normalize(vector.float(), dim=-1).cpu()


def neighbor_votes(
    queries: Float[Tensor, "b width"],
    vectors: Float[Tensor, "n width"],
    labels: Int[Tensor, " n"],
    num_classes: int,
    neighbors: int,
    temperature: float,
) -> Float[Tensor, "b classes"]:
    """Return the part of the votes that each class gets from the nearest of ``vectors``; rows sum to 1.

    All vectors have length 1. UserError if there are no vectors.
    """
    if not len(vectors):
        raise UserError(
            "evaluator 'knn' needs files with a class in the split 'train' (got none). Set data.train"
        )
    votes = []
    for chunk in queries.split(QUERIES):
        cosines = chunk @ vectors.T
        nearest, indices = cosines.topk(min(neighbors, len(vectors)), dim=-1)
        # Relative to the nearest one: the exponential of 1 / 0.01 would overflow.
        weights = ((nearest - nearest[:, :1]) / temperature).exp()
        counted = weights.new_zeros(len(chunk), num_classes)
        counted.scatter_add_(1, labels[indices], weights)
        votes.append(counted / counted.sum(dim=-1, keepdim=True))
    return torch.cat(votes)


def _labelled(records: Sequence[Row]) -> tuple[list[int], list[str]]:
    """Return the rows that have one class, without repetitions, and the classes."""
    kept, names = [], []
    for number, record in enumerate(records):
        is_counted = not record.get("padding") and not record.get("bad")
        if is_counted and len(record.get("answers", ())) == 1:
            kept.append(number)
            names.append(record["answers"][0])
    return kept, names
