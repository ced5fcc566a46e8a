"""CIDEr-D as a reward: what self-critical training makes likelier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from modules.streams import Sequences
from mplug2.metrics.caption.cider import Frequencies
from mplug2.objectives.cider_workers import Workers, count
from registry import UserError


class CiderReward(nn.Module):
    """CIDEr-D (0 to 10) of each generated text against the references of its row, in worker processes.

    Document frequencies are those of all training references, counted once and saved with checkpoints
    (``extra_state``). Texts are cut at the first [SEP], which is not a word, and tokenized as the
    COCO caption tools do (arXiv 1612.00563, section 5). No weights, no gradient.
    """

    inputs = {"texts": "sequences B n", "references": "strings B"}
    outputs = "scores B n"

    def __init__(self, workers: int = 2) -> None:
        super().__init__()
        if workers < 0:
            raise ValueError(f"workers must be at least 0, but is {workers}")
        self.workers = workers
        self._decode: Callable[[Sequence[int]], str] | None = None
        self._source: Any = None
        self._scorer: Workers | None = None

    def attach_data(self, source: Any, decode: Callable[[Sequence[int]], str]) -> None:
        """Take the training data and what turns ids into text.

        ``source.task.references(source.items)`` must return all reference texts, a list for each file.
        """
        task = getattr(source, "task", source)
        if not callable(getattr(task, "references", None)):
            raise UserError(
                "cider_d must have training data with reference captions, as `data.task: caption` has, "
                f"but {type(task).__name__} has none"
            )
        self._source, self._decode = source, decode

    def extra_state(self) -> dict[str, Any] | None:
        """The document frequencies as plain data; None before they were needed."""
        return None if self._scorer is None else self._scorer.frequencies.to_json()

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Take the document frequencies that `extra_state` gave."""
        self._scorer = Workers(self.workers, Frequencies.from_json(state))

    def forward(self, texts: Sequences, references: Sequence[Sequence[str]]) -> Tensor:
        """Score the texts [B n]; ``references`` hold at least one text for each of the B rows."""
        if texts.ids.is_meta:
            return torch.empty(texts.ids.shape[:2], device="meta")
        if self._decode is None:
            raise UserError(
                "cider_d must be given the training references and the tokenizer before it scores: "
                "`mplug2 train` does it; elsewhere call net.attach_data(source, decode)"
            )
        if self._scorer is None:
            training_references = self._source.task.references(self._source.items)
            self._scorer = Workers(self.workers, count(training_references))
        said = [[self._decode(ids) for ids in row] for row in texts.ids.tolist()]
        scores = self._scorer.score(list(zip(said, references, strict=True)))
        return torch.tensor(scores, device=texts.ids.device)
