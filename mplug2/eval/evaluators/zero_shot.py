"""Zero-shot classes: images or videos against prompts of class names, in the space of the contrast.

    goals: {embed_vision: {v: vision_features}, embed_text: {t: text_features}}
    eval:  {evaluator: zero_shot, templates: ['a photo of a {}.'], metrics: [top_k]}

The task of the evaluation, such as `media_class`, supplies the files and the names of the classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from mplug2.data.vocabularies import load_tokenizer
from mplug2.eval.evaluators.classification import Classification
from mplug2.eval.retrieval.embedders import GOALS, Call, modality_embedders
from mplug2.eval.retrieval.texts import CaptionReader
from mplug2.metrics.metric import Metric, Row
from registry import SpecError, UserError
from registry.evaluations import EvaluationSpec
from registry.goal_source import goal_tokenizer

if TYPE_CHECKING:
    from mplug2.network import Network

PROMPTS = 256  # in a batch
HOLE = "{}"


class ZeroShot:
    """Rows with the class whose prompts are most similar to a file, and its probability.

    ``templates``: texts with ``{}`` in place of the name of a class. The vector of a class is the mean of the
    unit vectors of its prompts, normalised again (CLIP's ensemble, arXiv 2103.00020, section 3.1.4). Logits
    are ``scale`` times the cosine. Views of one file are averaged as in `Classification`.
    """

    goals = ("embed_vision",)
    supplies = {"label": "logits B classes"}
    outputs: ClassVar[dict[str, str]] = {}  # All values are those of metrics.
    unwritten = Classification.unwritten

    def __init__(
        self,
        *,
        templates: list[str],
        scale: float = 100.0,
        net: Network,
        metrics: Sequence[Metric],
        settings: EvaluationSpec,
        call: Call | None = None,
    ) -> None:
        _check_templates(templates, net, settings)
        self.net, self.call, self.templates, self.scale = (
            net,
            net if call is None else call,
            templates,
            scale,
        )
        self.classification = Classification(metrics=metrics, settings=settings)
        self.embedders = modality_embedders(net, 0)
        tokenizer = load_tokenizer(net.spec, goal_tokenizer(net.spec, GOALS["text"]))
        self.reader = CaptionReader(net.spec, GOALS["text"], tokenizer)
        self.class_vectors: dict[tuple[str, ...], Tensor] = {}

    @property
    def one_row_per_record(self) -> bool:
        """False once records are views of files."""
        return self.classification.one_row_per_record

    def update(self, outputs: Mapping[str, Any], records: Sequence[Row]) -> None:
        """Compare the vectors of files with those of the classes of their records."""
        classes = tuple(records[0].get("classes", ())) if records else ()
        if not classes:
            raise UserError(
                "zero-shot classes need records with 'classes'. Use a task such as media_class"
            )
        if classes not in self.class_vectors:
            self.class_vectors[classes] = self._class_vectors(classes)
        vectors = F.normalize(outputs[self.embedders["vision"].vector].float(), dim=-1)
        logits = self.scale * vectors @ self.class_vectors[classes].T
        self.classification.update(
            {self.classification.output or "label": logits}, records
        )

    def compute(self) -> tuple[dict[str, float], list[Row]]:
        """Return the rows of this rank; the metrics compute the values."""
        return self.classification.compute()

    @torch.no_grad()
    def _class_vectors(self, classes: Sequence[str]) -> Float[Tensor, "classes width"]:
        """Return the unit vector of each class: the ensemble of its prompts."""
        prompts = [
            template.replace(HOLE, name)
            for name in classes
            for template in self.templates
        ]
        embedder = self.embedders["text"]
        (text_input,) = embedder.inputs
        parts = []
        for start in range(0, len(prompts), PROMPTS):
            batch = {text_input: self.reader(prompts[start : start + PROMPTS])}
            outputs = self.call(self.net.move(batch), goal=embedder.goal)
            parts.append(F.normalize(outputs[embedder.vector].float(), dim=-1))
        by_class = torch.cat(parts).unflatten(0, (len(classes), len(self.templates)))
        return F.normalize(by_class.mean(dim=1), dim=-1)


def _check_templates(
    templates: list[str], net: Network, settings: EvaluationSpec
) -> None:
    """Raise SpecError unless there are templates, each with one hole."""
    path = (
        ("eval", settings.name, "templates") if settings.name else ("eval", "templates")
    )
    for number, template in enumerate(templates):
        if template.count(HOLE) != 1:
            location = net.spec.place(*path, number)
            raise SpecError.at(
                location,
                f"a template must have {HOLE} once, for the name of a class (got {template!r})",
            )
    if not templates:
        raise SpecError.at(
            net.spec.place(*path),
            "there must be a template, such as 'a photo of a {}.'",
        )
