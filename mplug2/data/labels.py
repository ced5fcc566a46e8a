"""Sentences about videos with a label each: video entailment, and any other choice among few classes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from mplug2.data.annotations import Question, read_rows
from mplug2.data.batch import Batch, Sample
from mplug2.data.text import Tokenizer, clean_question
from mplug2.data.video_qa import VideoQA
from registry.errors import UserError

if TYPE_CHECKING:
    from registry import Spec, StreamType

_FORM = "a line must be a JSON object with 'video_id', 'sentence' and 'label'"


class VideoTextLabel(VideoQA):
    """Videos with labelled sentences: one sample is one video and up to ``sentences_per_clip`` of them.

    ``path`` holds JSON lines ``{"video_id": ..., "sentence": ..., "label": ..., "type"?}``; ``labels`` are
    the names of the classes, in the order of the network's outputs. All else is as for questions
    (`VideoQA`).
    """

    outputs = {
        "video": "frames V 3 T H W",
        "sentence": "text Q L",
        "clip": "index Q",
        "label": "labels Q",
    }

    def __init__(
        self,
        path: str,
        media: str,
        labels: list[str],
        types: dict[str, StreamType],
        tokenizer: Tokenizer,
        split: str = "train",
        training: bool = False,
        spec: Spec | None = None,
        inputs: Collection[str] | None = None,
        sentences_per_clip: int = 1,
        sentence_words: int | None = None,
        sentence_tokens: int = 50,
        augment: Literal["none", "crop", "full"] = "none",
        decoder: Literal["av", "decord"] = "av",
        threads: int = 1,
        cache: int = 0,
        quarantine: str | None = None,
    ) -> None:
        if len(set(labels)) != len(labels) or len(labels) < 2:
            raise UserError(f"labels must be two or more different names, but are {labels}")
        self.labels = {name: index for index, name in enumerate(labels)}
        if sentences_per_clip < 1:
            raise UserError(f"sentences_per_clip must be at least 1, but is {sentences_per_clip}")
        super().__init__(
            path,
            media,
            types,
            tokenizer,
            split,
            training,
            spec,
            inputs,
            questions_per_clip=sentences_per_clip,
            question_words=sentence_words,
            question_tokens=sentence_tokens,
            augment=augment,
            decoder=decoder,
            threads=threads,
            cache=cache,
            quarantine=quarantine,
        )

    def annotations(self, path: Path) -> list[Question]:
        """Return the sentences as questions, whose one answer is the label."""
        return [
            self._sentence(row, number, where) for number, (where, row) in enumerate(read_rows(path, _FORM))
        ]

    def _sentence(self, row: Any, number: int, where: str) -> Question:
        names = ("video_id", "sentence", "label")
        if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in names):
            raise UserError(f"{where}: {_FORM}, each of them a text")
        if row["label"] not in self.labels:
            known = ", ".join(self.labels)
            raise UserError(f"{where}: 'label' must be one of {known} (data.labels), but is {row['label']!r}")
        return Question(number, row["video_id"], row["sentence"], (row["label"],), (1.0,), row.get("type"))

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Return the batch of some samples: videos V and their sentences Q, with the index between them."""
        told = [
            (clip, self.questions[n]) for clip, sample in enumerate(samples) for n in sample.group.questions
        ]
        clip = torch.tensor([clip for clip, _ in told])
        video = torch.stack([sample.frames for sample in samples])
        if "clip" not in self.wanted:
            video = video[clip]  # a network without index of clips: one video a sentence
        made = {
            "video": video,
            "sentence": self.tokenizer(
                [clean_question(sentence.text, self.words) for _, sentence in told], self.question_tokens
            ),
            "clip": clip,
            "label": torch.tensor([self.labels[sentence.answers[0]] for _, sentence in told]),
        }
        records = []
        for index, sentence in told:
            marks: dict[str, Any] = {"bad": samples[index].bad} if samples[index].bad else {}
            if samples[index].group.padding:
                marks["padding"] = True
            records.append(sentence.record(classes=list(self.labels), **marks))
        return Batch({name: one for name, one in made.items() if name in self.wanted}, records)
