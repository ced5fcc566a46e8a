"""Build an index of a folder, or bring one up to date: only new and changed files are read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from mplug2.eval.retrieval.embedders import GOALS
from mplug2.index.embed import Embedder, check_searchable
from mplug2.index.files import (
    CONTENTS,
    Contents,
    File,
    check_path,
    read,
    relative,
    spec_fingerprint,
    weights_fingerprint,
    write,
)
from mplug2.predict.files import entries
from mplug2.predict.network import load
from registry import Spec, UserError, read_spec

if TYPE_CHECKING:
    from torch import Tensor

Tick = Callable[[int, int], None]
FileKey = tuple[str, int, int]


@dataclass(frozen=True)
class Built:
    """What a build did: files in the index, read now, gone since the last time, and those that cannot be
    read; ``skipped`` has a line about the files of the folder that are of another kind."""

    files: int
    embedded: int
    gone: int
    broken: dict[str, str]
    skipped: tuple[str, ...] = ()


def build(
    spec: str | Path,
    checkpoint: str | Path | None,
    media: str | Path,
    out: str | Path,
    overrides: list[str] | None = None,
    *,
    on_progress: Tick = lambda done, total: None,
    every: float = 60,
) -> Built:
    """Embed all images or videos below ``media`` into the index ``out``; files that it holds are not read
    again.

    Without ``checkpoint`` the best one of the spec's run folder is taken. What is done is kept ``every`` so
    many seconds, and when the build is interrupted. UserError where ``out`` was made by another network.
    """
    media, out = Path(media), Path(out)
    if not os.path.isdir(media):
        raise UserError(f"the media folder {media} must be a folder that exists")
    check_path(out)
    check_searchable(read_spec(spec, overrides or ()))
    net, tokenizer, weights = load(
        spec, checkpoint, overrides or (), goal=GOALS["text"]
    )
    embedder = Embedder(net, tokenizer)
    previous = read(out) if (out / CONTENTS).is_file() else None
    contents = Contents(
        kind=embedder.kind,
        media=relative(media, out),
        spec=spec_fingerprint(net.spec),
        weights=weights_fingerprint(weights),
        checkpoint=relative(weights, out),
    )
    if previous is not None:
        _refuse_another(previous, contents, out)
    skipped: list[str] = []
    files = _files_of(media, embedder.kind, skipped)
    growing = _GrowingIndex(files, previous, contents, out, net.spec)
    # Also when it is interrupted: what is embedded already need not be read again.
    try:
        growing.embed(embedder, media, on_progress, every)
    finally:
        growing.save()
    unreadable = {}
    for file in contents.files:
        if file.broken is not None:
            unreadable[file.name] = file.broken
    num_gone = 0
    if previous is not None:
        # By key: a file that has changed is gone in its old form.
        current = {file.key for file in files}
        num_gone = len({file.key for file in previous.files} - current)
    num_files = len(contents.whole)
    return Built(num_files, growing.num_embedded, num_gone, unreadable, tuple(skipped))


class _GrowingIndex:
    """An index while it is built: what it holds already, and what is still to be read."""

    def __init__(
        self,
        files: list[File],
        previous: Contents | None,
        contents: Contents,
        out: Path,
        spec: Spec,
    ) -> None:
        self.files, self.contents, self.out, self.spec = files, contents, out, spec
        self.vectors = _vectors(previous)
        self.broken: dict[FileKey, File] = {}
        # What could not be read is not tried again until it changes.
        if previous is not None:
            self.broken = {file.key: file for file in previous.files if file.broken}
        self.todo = [file for file in files if not self.holds(file)]

    def holds(self, file: File) -> bool:
        """Return whether a file was read, with or without success."""
        return file.key in self.vectors or file.key in self.broken

    @property
    def num_embedded(self) -> int:
        """The files that were read now, without those that could not be decoded."""
        return sum(self.broken.get(file.key) is None for file in self.todo)

    def embed(
        self, embedder: Embedder, media: Path, on_progress: Tick, every: float
    ) -> None:
        """Read the files that are missing, and save every so many seconds."""
        if not self.todo:
            return
        num_done, saved = 0, time.monotonic()
        for batch in embedder.files([media / file.name for file in self.todo]):
            for number, result in batch:
                file = self.todo[number]
                if isinstance(result, str):
                    self.broken[file.key] = replace(file, broken=result)
                else:
                    self.vectors[file.key] = result
            num_done += len(batch)
            on_progress(num_done, len(self.todo))
            if time.monotonic() - saved > every:
                self.save()
                saved = time.monotonic()

    def save(self) -> None:
        """Write what is known so far."""
        read_files = [file for file in self.files if self.holds(file)]
        self.contents.files = [self.broken.get(file.key, file) for file in read_files]
        rows = [self.vectors[file.key] for file in self.contents.whole]
        self.contents.features = torch.stack(rows) if rows else torch.empty(0, 0)
        write(self.out, self.contents, self.spec)


def _files_of(
    media: Path, kind: Literal["video", "image"], skipped: list[str]
) -> list[File]:
    """Return the images or videos below a folder; ``skipped`` gets a line about the others."""
    files = []
    for (path,) in entries([media], [], kind, 1, skipped.append):
        name = Path(path).relative_to(media).as_posix()
        files.append(File.of(media, name))
    return files


def _vectors(previous: Contents | None) -> dict[FileKey, Tensor]:
    vectors: dict[FileKey, Tensor] = {}
    if previous is not None:
        # One row of (files, width) for each file that was read.
        for file, row in zip(previous.whole, previous.features, strict=True):
            vectors[file.key] = row
    return vectors


def _refuse_another(previous: Contents, contents: Contents, out: Path) -> None:
    differences = []
    for name, text in (("spec", "another spec"), ("weights", "other weights")):
        if getattr(previous, name) != getattr(contents, name):
            differences.append(text)
    if differences:
        raise UserError(
            f"the index {out} was made with {' and '.join(differences)}: its vectors cannot be compared "
            f"with new ones. Choose another folder, or delete it"
        )
