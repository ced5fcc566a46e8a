"""Ask a trained network about files, in Python: ``mplug2.pipeline(spec)("clip.mp4")``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from mplug2.data.batch import SampleRequest
from mplug2.data.media.image import ImageError
from mplug2.data.media.pixel_file import MediaValue, PixelFile
from mplug2.data.media.video_file import VideoError
from mplug2.data.sources.source import decoder_of
from mplug2.data.text import Tokenizer
from mplug2.data.unknown_words import count_requested_words
from mplug2.network import Network
from mplug2.predict.answers import answered, guesses
from mplug2.predict.asking import check_length, check_text
from mplug2.predict.files import Entry
from mplug2.predict.media_values import MediaOrList, MediaValues, is_lazy
from mplug2.predict.network import load, tokenizer_of
from mplug2.predict.predict_loader import (
    Asked,
    Chunk,
    chunks,
    query_input,
    question_source,
)
from mplug2.predict.result import Prediction, Result
from registry import KINDS, UserError
from registry.errors import require

if TYPE_CHECKING:
    from mplug2.data.sources.items import ItemSource

File = str | os.PathLike[str]


def pipeline(
    spec: File | Network,
    checkpoint: File | None = None,
    overrides: Sequence[str] = (),
    *,
    top: int = 5,
    device: torch.device | str | None = None,
) -> Pipeline:
    """Return a callable that answers, captions or classifies files, with the network of ``spec``.

    Without ``checkpoint`` the best one of the spec's run folder is taken (runs/NAME/best). ``top``: how many
    guesses a result has at most. ``spec`` may be a composed `Network` with its present weights: its searches
    return as many texts as its spec specifies. Raises
    UserError where spec, checkpoint or vocabulary do not fit.
    """
    if type(top) is not int or top < 1:
        raise UserError(f"top must be an integer of at least 1, but is {top!r}")
    require(checkpoint, (str, os.PathLike, type(None)), "checkpoint")
    if isinstance(spec, Network):
        if checkpoint is not None or overrides or device is not None:
            raise UserError(
                "a network has its weights, its settings and its device: leave checkpoint, overrides and "
                "device out, or give the path of its spec"
            )
        return Pipeline(spec, tokenizer_of(spec), None, top)
    require(spec, (str, os.PathLike), "spec")
    net, tokenizer, weights = load(
        Path(spec),
        None if checkpoint is None else Path(checkpoint),
        overrides,
        best=top,
        device=device,
    )
    return Pipeline(net, tokenizer, weights, top)


class Pipeline:
    """A network with trained weights, ready for prediction: call it with files.

    ``kind`` is what it reads ("video", "image", or "text" alone), ``views`` how many files at once (2 for
    pairs, 0 for text), ``asks`` the input that a question goes to (None: it reads media alone), ``says`` the
    kind of its output: sequences (generated texts), logits (classes) or boxes.
    """

    def __init__(
        self,
        net: Network,
        tokenizer: Tokenizer | None,
        checkpoint: Path | None,
        top: int = 5,
    ) -> None:
        self.net, self.tokenizer = net, tokenizer
        self.checkpoint, self.top = checkpoint, top
        self.goal: str = net.spec.eval["goal"]
        self.output, self.says = answered(net, self.goal)
        source = question_source(net, self.goal, tokenizer, ())
        self._decode = decoder_of(source)
        self.views = len(source.views)
        self.kind: Literal["video", "image", "text"] = "text"
        if source.views:
            self.kind = "video" if source.media.kind == "frames" else "image"
        self.asks = query_input(net, self.goal, source.task)
        if not self.views and self.asks is None:
            raise UserError(
                f"{net.spec.path}: to predict, goal '{self.goal}' must read media or a text that the task "
                f"supplies, but reads {', '.join(net.plan(self.goal).inputs) or 'nothing'}"
            )

    def __repr__(self) -> str:
        media = {"video": "a video", "image": "an image"}.get(self.kind)
        reads = (
            media if self.views == 1 else f"two {self.kind}s" if self.views else None
        )
        asked = f"a {self.asks}" if self.asks else None
        parts = [part for part in (reads, asked) if part]
        declared = KINDS[self.says].answer
        answer = self.says if declared is None else declared.noun
        where = f"{self.checkpoint or 'weights in memory'} on {self.net.device}"
        return f"<mplug2 pipeline {self.net.spec.name}: {' and '.join(parts)} to {answer}; {where}>"

    def __call__(
        self,
        media: MediaOrList | None = None,
        *,
        question: str | Sequence[str] | None = None,
        image: MediaOrList | None = None,
    ) -> Result | list[Result] | Iterator[Result]:
        """Ask about an image or a video, or about each of a list of them.

        Each is a path, bytes, a file object, an image of Pillow, a numpy array or a torch tensor
        (`PixelFile` describes their axes). One (a pair for networks that compare) and one ``question`` give
        one result, several questions a list of them. A list gives the list of its results, computed in
        batches; an iterator gives them one after another, as they are ready. ``image`` is another word for
        ``media`` where images are read. A single file that cannot be read raises VideoError or ImageError; in
        a list its result has the ``error``. UserError for what the network cannot be asked. A network of text
        alone takes ``question`` and no file.
        """
        if self.kind == "text":
            if media is not None or image is not None or question is None:
                raise UserError(
                    f"{self.net.spec.name} reads text alone: call it with question=TEXT"
                )
            texts = [question] if isinstance(question, str) else list(question)
            answers: list[Result] = []
            for results in self.stream([], texts):
                answers += results
            return answers[0] if isinstance(question, str) else answers
        is_other_kind = image is not None and self.kind != "image"
        # Exactly one of the two words for the files.
        if (media is None) == (image is None) or is_other_kind:
            name = "image=FILE" if self.kind == "image" else "FILE"
            raise UserError(
                f"{self.net.spec.name} reads {self.kind}s: call it with a file, pipe({name}), or a list"
            )
        value = media if image is None else image
        values = MediaValues(self.kind)
        names = values.names(value)
        alone = isinstance(names, str)
        # For a network that compares, two names are one pair and not a list of two files.
        if self.views == 2 and not alone:
            alone = all(isinstance(name, str) for name in names)
        entries = []
        for name in [names] if alone else names:
            entries.append((name,) if isinstance(name, str) else tuple(name))
        is_list = isinstance(question, Iterable) and not isinstance(question, str)
        several = question is None or is_list
        # A value that is not a text is refused below.
        questions: list[Any] = list(question or ()) if several else [question]
        stream = self.stream(entries, questions, in_memory=values.files)
        if not alone:
            flat = (result for results in stream for result in results)
            return flat if is_lazy(value) else list(flat)
        (results,) = stream
        if results[0].error is not None:
            raise (VideoError if self.kind == "video" else ImageError)(results[0].error)
        return results[0] if question is None or isinstance(question, str) else results

    def stream(
        self,
        entries: Sequence[Entry],
        questions: Sequence[str] = (),
        *,
        pictures: int = 0,
        in_memory: Mapping[str, MediaValue] | None = None,
    ) -> Iterator[list[Result]]:
        """Yield the results of each entry (its files), one for each question, in order.

        Files are read in the background. A file that cannot be read yields one result with the ``error``.
        With ``pictures`` results hold up to so many images of each file. ``in_memory`` has the media
        in memory, by the name in their entry. UserError at once for what the network cannot be asked.
        """
        self._judge(entries, questions)
        asked: Sequence[str | None] = questions or (None,)
        # Each text is an entry without files.
        if self.kind == "text":
            entries = [()] * len(questions)
        source = question_source(self.net, self.goal, self.tokenizer, asked)
        in_memory = in_memory or {}
        data = Asked(self.net, source, entries, asked, pictures, in_memory)
        notes = self._unknown_words(source, questions)
        settings = self.net.spec
        batch = settings.eval["batch_size"] or settings.train["batch_size"]
        workers = settings.data["workers"] if len(entries) > 1 and self.views else 0
        # Pixels need no decoding, and a tensor on a GPU cannot be read in another process.
        if any(isinstance(value, PixelFile) for value in in_memory.values()):
            workers = 0
        return (
            results
            for chunk in chunks(data, batch, workers)
            for results in self._results(chunk, notes)
        )

    def _judge(self, entries: Sequence[Entry], questions: Sequence[str]) -> None:
        name = self.net.spec.name
        if self.kind == "text" and (entries or not questions):
            raise UserError(
                f"{name} reads text alone: give it texts (--text TEXT) and no files"
            )
        wrong = next((entry for entry in entries if len(entry) != self.views), None)
        if wrong is not None:
            given = ", ".join(wrong) or "none"
            raise UserError(
                f"{name} takes {self.views} {self.kind}(s) at once, but is given {given}"
            )
        if self.asks is None and questions:
            raise UserError(f"{name} reads {self.kind}s alone: leave the question out")
        if self.asks is not None and not questions:
            raise UserError(
                f"{name} needs a text for each {self.kind} (input '{self.asks}'): use "
                "--question TEXT, or question=TEXT in Python"
            )
        for question in questions:
            check_text(question, "a question")

    def _unknown_words(
        self, source: ItemSource, questions: Sequence[str]
    ) -> dict[str, str]:
        """Return a note on each question with words that are not in the network's vocabulary."""
        notes = {}
        for number, question in enumerate(questions):
            request = SampleRequest(("",) * self.views, (number,))
            counts = count_requested_words(source, [request])
            # An answer to a text with [UNK] in it may be about another question.
            if counts.unknown:
                notes[question] = (
                    f"the network does not know {counts} of the {self.asks}: it reads [UNK]"
                )
        return notes

    @torch.inference_mode()
    def _results(self, chunk: Chunk, notes: Mapping[str, str]) -> list[list[Result]]:
        """Return the results of each entry of a chunk; ``notes`` are those on questions."""
        rows = []
        for read in chunk.entries:
            # What cannot be read has no row among the inputs.
            if read.error is None:
                rows += [read] * len(read.questions)
        answers: Iterator[tuple[Prediction, ...]] = iter(())
        if rows:
            if self.asks is not None:
                check_length(self.net.spec, self.asks, chunk.inputs[self.asks])
            outputs = self._run(chunk.inputs)
            value, records = outputs[self.output], chunk.records
            answers = iter(
                guesses(self.says, value, records, rows, self._decode, self.top)
            )
        key = f"{self.kind}s" if self.views > 1 else self.kind
        results = []
        for read in chunk.entries:
            if read.error is not None:
                results.append([Result(read.entry, key, (), error=read.error)])
                continue
            entry_results = []
            for question in read.questions:
                note = notes.get(question or "")
                missed = (*read.notes, note) if note else read.notes
                best = next(answers)
                entry_results.append(
                    Result(read.entry, key, best, question, None, read.looks, missed)
                )
            results.append(entry_results)
        return results

    def _run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the outputs of the goal, without dropout; a network in training stays so."""
        training = self.net.training
        self.net.eval()
        try:
            outputs: dict[str, Any] = self.net(self.net.move(inputs), goal=self.goal)
        finally:
            self.net.train(training)
        return outputs
