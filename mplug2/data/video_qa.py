"""Questions about videos: the reader of MSRVTT-QA, MSVD-QA, TGIF-QA and the shapes world."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from mplug2.data.annotations import Question, read_questions
from mplug2.data.batch import Batch, Broken, Group, Sample
from mplug2.data.frames import frame_indices
from mplug2.data.text import Tokenizer, clean_question
from mplug2.data.transforms import eval_transform, train_transform
from mplug2.data.video import VideoError, read_frames
from registry.errors import UserError

if TYPE_CHECKING:
    from registry import Spec, StreamType


class VideoQA(Dataset[Sample | Broken]):
    """Videos with their questions: one sample is one video and up to ``questions_per_clip`` of its questions.

    ``path`` is an annotation file (see `read_questions`), ``media`` the folder of VIDEO_ID.mp4 or .avi (.gif
    where the name begins with "tumblr"). Frames and size come from the solved type of input ``video``.
    Training draws random frames, keeps 30 words of a question and mirrors or crops as ``augment`` says;
    evaluation takes middle frames and 50 words. ``quarantine`` is a list that `mplug2 data check` wrote: its
    files are left out with their questions. ``cache``: megabytes per process in which whole decoded files are
    kept (tiny clips: decoding costs more than training).
    """

    outputs = {
        "video": "frames V 3 T H W",
        "question": "text Q L",
        "clip": "index Q",
        "answer": "text A La",
        "owner": "index A",
        "vote": "weight A",
    }

    def __init__(
        self,
        path: str,
        media: str,
        types: dict[str, StreamType],
        tokenizer: Tokenizer,
        split: str = "train",
        training: bool = False,
        spec: Spec | None = None,
        inputs: Collection[str] | None = None,
        questions_per_clip: int = 1,
        question_words: int | None = None,
        question_tokens: int = 50,
        answer_tokens: int | None = None,
        augment: Literal["none", "crop", "full"] = "none",
        decoder: Literal["av", "decord"] = "av",
        threads: int = 1,
        cache: int = 0,
        quarantine: str | None = None,
    ) -> None:
        if questions_per_clip < 1:
            raise UserError(f"questions_per_clip must be at least 1, but is {questions_per_clip}")
        self.media, self.tokenizer, self.training = Path(media), tokenizer, training
        self.wanted = frozenset(self.outputs if inputs is None else inputs)
        self.frames, self.size = _frames_and_size(types)
        self.per_clip = questions_per_clip
        self.words = question_words or (30 if training else 50)
        self.question_tokens, self.answer_tokens = question_tokens, answer_tokens
        self.augment, self.decoder, self.threads = augment, decoder, threads
        self._cache: dict[str, np.ndarray] = {}
        self._room = cache << 20
        if not Path(path).is_file():
            raise UserError(_missing("annotation file", path, spec, split, "path"))
        if not self.media.is_dir():
            raise UserError(_missing("media folder", media, spec, split, "media"))
        self.questions = self.annotations(Path(path))
        skipped = _quarantined(Path(quarantine)) if quarantine else set()
        self.by_video: dict[str, list[int]] = {}
        for number, question in enumerate(self.questions):
            if question.video not in skipped:
                self.by_video.setdefault(question.video, []).append(number)
        if not self.by_video:
            raise UserError(f"{path} must hold at least one question that can be asked, but holds none")
        self._groups = self.groups(0, 0)

    def annotations(self, path: Path) -> list[Question]:
        """Return what is asked about the videos; readers of other annotations replace this."""
        return read_questions(path)

    def set_epoch(self, epoch: int, seed: int = 0) -> None:
        """Regroup the questions for plain indexing; the loader asks for `groups` itself."""
        self._groups = self.groups(epoch, seed)

    def groups(self, epoch: int, seed: int) -> list[Group]:
        """Return the samples of an epoch, every question in exactly one: shuffled in training, else in file
        order."""
        groups: list[Group] = []
        rng = np.random.default_rng([seed, epoch])
        for video, numbers in self.by_video.items():
            order = rng.permutation(numbers).tolist() if self.training else numbers
            for start in range(0, len(order), self.per_clip):
                groups.append(Group(video, tuple(order[start : start + self.per_clip]), (seed, epoch)))
        return [groups[i] for i in rng.permutation(len(groups))] if self.training else groups

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, key: int | Group) -> Sample | Broken:
        group = self._groups[key] if isinstance(key, int) else key
        file = self.file(group.video)
        # the sample alone decides: not the worker that reads it, nor how many there are
        rng = np.random.default_rng([*group.seed, group.questions[0]])
        try:
            frames = self._read(file, rng)
        except VideoError as error:
            return Broken(group, str(file), str(error))
        if self.training:
            return Sample(group, train_transform(frames, self.size, self.augment, rng))
        return Sample(group, eval_transform(frames, self.size))

    def black(self, broken: Broken) -> Sample:
        """Return a stand-in for a file that cannot be decoded, so that evaluation has a row for each of its
        questions."""
        return Sample(broken.group, torch.zeros(3, self.frames, self.size, self.size), broken.reason)

    def file(self, video: str) -> Path:
        """Return where the file of a video is; the .mp4 name if there is none."""
        suffixes = (".gif", ".mp4", ".avi") if video.startswith("tumblr") else (".mp4", ".avi")
        paths = [self.media / f"{video}{suffix}" for suffix in suffixes]
        return next((path for path in paths if path.is_file()), paths[0])

    def files(self) -> list[Path]:
        """Return the file of every video that has questions, in the order of the annotations."""
        return [self.file(video) for video in self.by_video]

    def _read(self, file: Path, rng: np.random.Generator) -> np.ndarray:
        """The chosen frames [T H W 3]; from memory where the whole file was kept."""
        seed = rng.integers(2**63)

        def choose(total: int) -> list[int]:
            sampling: Literal["random", "middle"] = "random" if self.training else "middle"
            return frame_indices(total, self.frames, sampling, np.random.default_rng(seed))

        if (kept := self._cache.get(file.name)) is not None:
            return kept[choose(len(kept))]
        if self._room <= 0:
            return read_frames(file, choose, decoder=self.decoder, threads=self.threads).frames
        # at most 64 frames: what is longer is not kept, and must not be held whole even once
        clip = read_frames(
            file, lambda total: range(total) if total <= 64 else choose(total), threads=self.threads
        )
        if len(clip.frames) != clip.total:
            return clip.frames
        self._room -= clip.frames.nbytes
        if self._room >= 0:
            self._cache[file.name] = clip.frames
        return clip.frames[choose(clip.total)]

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Return the batch of some samples: videos V, their questions Q and answers A, with the indices
        between them."""
        asked = [
            (clip, self.questions[n]) for clip, sample in enumerate(samples) for n in sample.group.questions
        ]
        votes = [
            (owner, answer, weight)
            for owner, (_, question) in enumerate(asked)
            for answer, weight in zip(question.answers, question.weights, strict=True)
        ]
        clip = torch.tensor([clip for clip, _ in asked])
        video = torch.stack([sample.frames for sample in samples])
        if "clip" not in self.wanted:
            video = video[clip]  # a network without index of clips: one video a question
        makers = {
            "video": lambda: video,
            "question": lambda: self.tokenizer(
                [clean_question(question.text, self.words) for _, question in asked], self.question_tokens
            ),
            "clip": lambda: clip,
            "answer": lambda: self.tokenizer(
                [f"{answer}[SEP]" for _, answer, _ in votes], self.answer_tokens
            ),
            "owner": lambda: torch.tensor([owner for owner, _, _ in votes]),
            "vote": lambda: torch.tensor([weight for _, _, weight in votes], dtype=torch.float32),
        }
        records = []
        for index, question in asked:
            marks: dict[str, Any] = {"bad": samples[index].bad} if samples[index].bad else {}
            if samples[index].group.padding:
                marks["padding"] = True
            records.append(question.record(**marks))
        return Batch({name: make() for name, make in makers.items() if name in self.wanted}, records)


def _frames_and_size(types: dict[str, StreamType]) -> tuple[int, int]:
    _, _, frames, height, width = types["video"].axes
    if not (isinstance(frames, int) and isinstance(height, int) and height == width):
        raise UserError(
            f"input 'video' must have a known number of frames and a square size, but is '{types['video']}'; "
            "a vision module sets them"
        )
    return frames, height


def _missing(what: str, path: str, spec: Spec | None, split: str, key: str) -> str:
    where = ""
    if spec is not None:
        own = key in (spec.data.get(split) or {})
        where = f"{spec.place('data', split, key) if own else spec.place('data', key)}: "
    return f"{where}the {what} of the {split} split must exist, but {path} does not (data.{split}.{key})"


def _quarantined(path: Path) -> set[str]:
    try:
        return {json.loads(line)["video_id"] for line in path.read_text().splitlines() if line.strip()}
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"the quarantine list {path} cannot be read; write it anew with `mplug2 data check`"
        ) from None
