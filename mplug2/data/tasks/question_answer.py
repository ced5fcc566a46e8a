"""Questions about videos and images: MSRVTT-QA, MSVD-QA, TGIF-QA, VQA v2 and the shapes world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from mplug2.data.arguments import ArgumentError, at_least
from mplug2.data.batch import Sample
from mplug2.data.rows import Question, read_questions, read_rows, shown
from mplug2.data.tasks.media_task import BatchItem, MediaTask
from mplug2.data.text_cleaning import clean_question, mirrored_words
from registry.errors import UserError

VOTE = 0.3  # what one annotator adds to the score of an answer (VQA v2)


class QuestionAnswerTask(MediaTask[Question]):
    """Videos or images with their questions: one sample is one of them and up to ``questions_per_clip``
    questions.

    For the annotation file see `read_questions`. Questions are ``cleaned`` (lower case, no punctuation) and
    cut to 30 words in training and 50 in evaluation, or to ``question_words``, as released for videos; or
    taken ``as written``, with their punctuation, as released for VQA v2. Of either the first
    ``question_tokens`` count, which a split may set for itself (``train: {question_tokens: 25}`` cuts in
    training alone). Answers are cut to ``answer_tokens``; without it they are not cut, and a run whose
    longest answer has more tokens than the network has positions does not start. ``answer_list`` names the
    answers to choose from, the input ``candidates``: a JSON list, a text a line, or an annotation file,
    whose answers they are. ``answer_scores`` has a score from 0 to 1 for each of them: the ``fraction`` of
    the annotators who gave it, or by ``votes``, as VQA v2 is measured: 0.3 for each of them, at most 1.
    """

    outputs = {
        "video": "frames V 3 T H W",
        "image": "image V 3 H W",
        "video_index": "index Q -> V",
        "image_index": "index Q -> V",
        "regions": "regions V R F",
        "question": "text Q L",
        "answer": "text A La",
        "question_index": "index A -> Q",
        "answer_weight": "weight A",
        "candidates": "text C Lc",
        "answer_scores": "scores Q C",
    }
    query_input = "question"
    token_limits = {"question": "question_tokens", "answer": "answer_tokens"}
    file_arguments = ("answer_list", "regions")
    submission = "answers"  # the form of result files for evaluation servers

    def __init__(
        self,
        questions_per_clip: int = 1,
        question_words: int | None = None,
        question_tokens: int = 50,
        question_text: Literal["cleaned", "as written"] = "cleaned",
        answer_tokens: int | None = None,
        answer_list: str | None = None,
        answer_score: Literal["fraction", "votes"] = "fraction",
        **settings: Any,
    ) -> None:
        at_least(
            1,
            questions_per_clip=questions_per_clip,
            question_words=question_words,
            question_tokens=question_tokens,
            answer_tokens=answer_tokens,
        )
        self.items_per_sample = questions_per_clip
        self.question_tokens, self.answer_tokens = question_tokens, answer_tokens
        self.cleaned = question_text == "cleaned"
        super().__init__(**settings)
        self.question_words = question_words or (30 if self.training else 50)
        answers = _answers(answer_list) if answer_list else []
        if not answers and "candidates" in (settings.get("inputs") or ()):
            raise ArgumentError(
                "answer_list",
                "input 'candidates' needs the answers to choose from: set data.answer_list",
            )
        self.answer_numbers = {answer: number for number, answer in enumerate(answers)}
        if not answers and "answer_scores" in (settings.get("inputs") or ()):
            raise ArgumentError(
                "answer_list",
                "input 'answer_scores' needs the answers that have a class: set data.answer_list",
            )
        self.answer_score = answer_score
        self.candidates = self.tokenizer(
            [f"{answer}[SEP]" for answer in answers], answer_tokens
        )

    def read(self, path: Path) -> list[Question]:
        """Return the questions of the annotation file."""
        return read_questions(path, "needed" if self.training else "absent too")

    def question(self, text: str) -> Question:
        """Return a question without answers."""
        return Question(0, (), text, (), ())

    def mirror(self, item: Question) -> Question:
        """Return a question and its answers with left and right swapped."""
        answers = tuple(mirrored_words(answer) for answer in item.answers)
        return replace(item, text=mirrored_words(item.text), answers=answers)

    def _question_text(self, question: Question) -> str:
        if not self.cleaned:
            return question.text
        return clean_question(question.text, self.question_words)

    def num_tokens(self, item: Question) -> int:
        """Return the tokens of a question, as it is cut."""
        return len(
            self.tokenizer.encode(self._question_text(item), self.question_tokens)
        )

    def uncut_texts(self, items: Sequence[Question]) -> dict[str, list[str]]:
        """Return all answers ready to be encoded; none if ``answer_tokens`` cuts them."""
        if self.answer_tokens is not None:
            return {}
        # Each answer once: data sets repeat a few thousand of them.
        answers: dict[str, None] = {}
        for item in items:
            answers.update(dict.fromkeys(item.answers))
        return {"answer": [f"{answer}[SEP]" for answer in answers]}

    def input_builders(
        self, batch_items: Sequence[BatchItem[Question]]
    ) -> dict[str, Callable[[], Any]]:
        """Return builders of the questions Q, and of their answers A with `question_index` and
        `answer_weight`."""
        questions = [entry.item for entry in batch_items]
        owners: list[int] = []
        answers: list[str] = []
        weights: list[float] = []
        # Questions have different numbers of answers: `question_index` gives each answer its question.
        for owner, question in enumerate(questions):
            owners += [owner] * len(question.answers)
            answers += [f"{answer}[SEP]" for answer in question.answers]
            weights += question.weights
        texts = [self._question_text(question) for question in questions]
        return {
            "question": lambda: self.tokenizer(texts, self.question_tokens),
            "answer": lambda: self.tokenizer(answers, self.answer_tokens),
            "question_index": lambda: torch.tensor(owners, dtype=torch.long),
            "answer_weight": lambda: torch.tensor(weights, dtype=torch.float32),
            "candidates": lambda: self.candidates,
            "answer_scores": lambda: self._scores(questions),
        }

    def _scores(self, questions: Sequence[Question]) -> torch.Tensor:
        """Return the score of each answer of the list for each question; other answers are left out."""
        scores = torch.zeros(len(questions), len(self.answer_numbers))
        for row, question in enumerate(questions):
            total = sum(question.counts)
            for answer, count in zip(question.answers, question.counts, strict=True):
                column = self.answer_numbers.get(answer)
                # Rare answers have no class: the network cannot give them.
                if column is None:
                    continue
                score = VOTE * count
                if self.answer_score == "fraction":
                    score = count / total
                scores[row, column] = min(1.0, score)
        return scores

    def extra_record(self, item: Question, sample: Sample | None) -> dict[str, Any]:
        """Return the answers of the list, the names of the classes that a network may choose from."""
        if "answer_scores" not in self.requested_inputs or not self.answer_numbers:
            return {}
        return {"classes": list(self.answer_numbers)}


def _answers(path: str) -> list[str]:
    form = "an answer list must be a JSON list of texts, one JSON text a line, or an annotation file"
    if not Path(path).is_file():
        raise ArgumentError(
            "answer_list", f"the answer list {path} must exist, but does not"
        )
    rows = list(read_rows(Path(path), form))
    if rows and isinstance(rows[0][1], dict):
        answers: dict[str, None] = {}
        for question in read_questions(Path(path)):
            answers.update(dict.fromkeys(question.answers))
        return list(answers)
    for where, answer in rows:
        if not isinstance(answer, str):
            raise UserError(f"{where}: {form}, but holds {shown(answer)}")
        if not answer.strip():
            raise UserError(
                f"{where}: an answer to choose from must have words, but is empty. Remove it"
            )
    return [answer for _, answer in rows]
