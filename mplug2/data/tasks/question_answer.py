"""Questions about videos and images: the reader of MSRVTT-QA, MSVD-QA, TGIF-QA, VQA v2 and the shapes
world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from mplug2.data.batch import Sample
from mplug2.data.rows import Question, read_questions, read_rows, shown
from mplug2.data.tasks.limits import at_least
from mplug2.data.tasks.reader import MediaReader
from mplug2.data.text import clean_question
from registry.errors import UserError


class QuestionAnswer(MediaReader[Question]):
    """Videos or images with their questions: one sample is one of them and up to ``questions_per_clip``
    questions.

    For the annotation file see `read_questions`. Questions are ``cleaned`` (lower case, no punctuation) and
    cut to 30 words in training and 50 in evaluation, unless ``question_words`` says otherwise, as released
    for videos; or taken ``as written``, with their punctuation, as released for VQA v2. Of either the first
    ``question_tokens`` count, which a split may set for itself (``train: {question_tokens: 25}`` cuts in
    training alone). ``answer_list`` names the answers to choose from, the input ``candidates``: a JSON list,
    a text a line, or an annotation file, whose answers they are. All else is as for every reader
    (`MediaReader`).
    """

    outputs = {
        "video": "frames V 3 T H W",
        "image": "image V 3 H W",
        "clip": "index Q",
        "picture": "index Q",
        "question": "text Q L",
        "answer": "text A La",
        "owner": "index A",
        "vote": "weight A",
        "candidates": "text C Lc",
    }
    asks = "question"
    submission = "answers"  # the form of result files for evaluation servers

    def __init__(
        self,
        questions_per_clip: int = 1,
        question_words: int | None = None,
        question_tokens: int = 50,
        question_text: Literal["cleaned", "as written"] = "cleaned",
        answer_tokens: int | None = None,
        answer_list: str | None = None,
        **settings: Any,
    ) -> None:
        at_least(
            1,
            settings,
            questions_per_clip=questions_per_clip,
            question_words=question_words,
            question_tokens=question_tokens,
            answer_tokens=answer_tokens,
        )
        self.together = questions_per_clip
        self.question_tokens, self.answer_tokens = question_tokens, answer_tokens
        self.cleaned = question_text == "cleaned"
        super().__init__(**settings)
        self.words = question_words or (30 if self.training else 50)
        answers = _answers(answer_list) if answer_list else []
        if not answers and "candidates" in (settings.get("inputs") or ()):
            raise UserError("input 'candidates' needs the answers to choose from: set data.answer_list")
        self.candidates = self.tokenizer([f"{answer}[SEP]" for answer in answers], answer_tokens)

    def annotations(self, path: Path) -> list[Question]:
        """Return the questions of the annotation file."""
        return read_questions(path, "needed" if self.training else "absent too")

    def item(self, number: int, media: tuple[str, ...], text: str) -> Question:
        """Return a question without answers."""
        return Question(number, media, text, (), ())

    def _asked(self, text: str) -> str:
        return clean_question(text, self.words) if self.cleaned else text

    def streams(
        self, told: Sequence[tuple[int, Question]], samples: Sequence[Sample]
    ) -> dict[str, Callable[[], Any]]:
        """Return makers of the questions Q, and of their answers A with owner and vote."""
        votes = [
            (owner, answer, weight)
            for owner, (_, question) in enumerate(told)
            for answer, weight in zip(question.answers, question.weights, strict=True)
        ]
        return {
            "question": lambda: self.tokenizer(
                [self._asked(question.text) for _, question in told], self.question_tokens
            ),
            "answer": lambda: self.tokenizer(
                [f"{answer}[SEP]" for _, answer, _ in votes], self.answer_tokens
            ),
            "owner": lambda: torch.tensor([owner for owner, _, _ in votes]),
            "vote": lambda: torch.tensor([weight for _, _, weight in votes], dtype=torch.float32),
            "candidates": lambda: self.candidates,
        }


def _answers(path: str) -> list[str]:
    form = "an answer list must be a JSON list of texts, one JSON text a line, or an annotation file"
    if not Path(path).is_file():
        raise UserError(f"the answer list {path} must exist (data.answer_list), but does not")
    rows = list(read_rows(Path(path), form))
    if rows and isinstance(rows[0][1], dict):
        asked = read_questions(Path(path))
        return list(dict.fromkeys(answer for question in asked for answer in question.answers))
    for where, answer in rows:
        if not isinstance(answer, str):
            raise UserError(f"{where}: {form}, but holds {shown(answer)}")
    return [answer for _, answer in rows]
