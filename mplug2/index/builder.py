"""Build an index of a folder, or bring one up to date: only new and changed files are read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

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
from registry import UserError, read_spec

if TYPE_CHECKING:
    from torch import Tensor

Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class Built:
    """What a build did: files in the index, read now, gone since the last time, and those that cannot be
    read."""

    files: int
    embedded: int
    gone: int
    broken: dict[str, str]


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
    net, tokenizer, weights = load(spec, checkpoint, overrides or (), goal=GOALS["text"])
    embedder = Embedder(net, tokenizer)
    known = read(out) if (out / CONTENTS).is_file() else None
    contents = Contents(
        kind=embedder.kind,
        media="",
        spec=spec_fingerprint(net.spec),
        weights=weights_fingerprint(weights),
        checkpoint="",
    )
    if known is not None:
        _refuse_another(known, contents, out)
    found = [Path(one).relative_to(media) for (one,) in entries([media], [], embedder.kind, 1)]
    files = [File.of(media, name.as_posix()) for name in found]
    vectors = _vectors(known)
    broken = {file.key: file for file in known.files if file.broken} if known is not None else {}
    todo = [file for file in files if file.key not in vectors and file.key not in broken]
    gone = len({file.key for file in known.files} - {file.key for file in files}) if known is not None else 0
    contents.media, contents.checkpoint = relative(media, out), relative(weights, out)

    def save() -> None:
        contents.files = [
            broken.get(one.key, one) for one in files if one.key in vectors or one.key in broken
        ]
        rows = [vectors[one.key] for one in contents.whole]
        contents.features = torch.stack(rows) if rows else torch.empty(0, 0)
        write(out, contents, net.spec)

    done, saved = 0, time.monotonic()
    try:
        for batch in embedder.files([media / file.name for file in todo]) if todo else ():
            for number, one in batch:
                file = todo[number]
                if isinstance(one, str):
                    broken[file.key] = replace(file, broken=one)
                else:
                    vectors[file.key] = one
            done += len(batch)
            on_progress(done, len(todo))
            if time.monotonic() - saved > every:
                save()
                saved = time.monotonic()
    finally:
        save()
    bad = {file.name: file.broken for file in contents.files if file.broken is not None}
    return Built(len(contents.whole), len(todo) - sum(broken.get(f.key) is not None for f in todo), gone, bad)


def _vectors(known: Contents | None) -> dict[tuple[str, int, int], Tensor]:
    if known is None:
        return {}
    return {file.key: row for file, row in zip(known.whole, known.features, strict=True)}


def _refuse_another(known: Contents, contents: Contents, out: Path) -> None:
    others = {"spec": "another spec", "weights": "other weights"}
    what = [said for name, said in others.items() if getattr(known, name) != getattr(contents, name)]
    if what:
        raise UserError(
            f"the index {out} was made with {' and '.join(what)}: its vectors cannot be compared with new "
            f"ones. Choose another folder, or delete it"
        )
