"""An index on disk: a folder that holds vectors, what they are of, and the spec that they were made with.

    index.json                  names, sizes, times, what is broken, where media and checkpoint lie
    features-NAME.safetensors   one vector of length 1 per file, float32 [files width]
    spec.yaml                   the resolved spec
    tokenizer/                  the vocabulary, where the spec names a file or folder

Paths are relative: of files to the media folder, of that and of the checkpoint to the index.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mplug2.eval.retrieval.embedders import GOALS
from mplug2.runtime.atomic_write import atomic_write
from mplug2.runtime.safetensors_writer import Entry, write_safetensors
from mplug2.weights.store import weights_file
from registry import Spec, UserError, write_spec
from registry.goal_source import goal_arguments, goal_tokenizer

FORMAT = 1
CONTENTS, SPEC, TOKENIZER = "index.json", "spec.yaml", "tokenizer"
_OWN = (CONTENTS, SPEC, TOKENIZER, "features-*.safetensors", "*.tmp")
_DAMAGE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
    SafetensorError,
)
# Positions of a checkpoint that are read, and bytes at each.
_SAMPLES, _SAMPLE = 64, 1 << 18


@dataclass(frozen=True)
class File:
    """A file as it was when it was embedded: name, bytes, time of change; ``broken`` is the reason why it
    has no vector."""

    name: str
    size: int
    changed: int  # nanoseconds
    broken: str | None = None

    @classmethod
    def of(cls, folder: Path, name: str) -> File:
        """Return the current state of a file; a broken link has no size."""
        try:
            state = (folder / name).stat()
        except OSError:
            return cls(name, 0, 0)
        return cls(name, state.st_size, state.st_mtime_ns)

    @property
    def key(self) -> tuple[str, int, int]:
        """What changes when the file does."""
        return self.name, self.size, self.changed


@dataclass
class Contents:
    """All that an index holds: ``features`` has a row for each file that is not broken, in their order."""

    kind: str  # "video" or "image"
    media: str
    spec: str  # fingerprints
    weights: str
    checkpoint: str
    files: list[File] = field(default_factory=list)
    features: Float[Tensor, "files width"] = field(
        default_factory=lambda: torch.empty(0, 0)
    )

    @property
    def whole(self) -> list[File]:
        """The files that have a vector."""
        return [file for file in self.files if file.broken is None]


def spec_fingerprint(spec: Spec) -> str:
    """Return the fingerprint of what a spec computes: inputs, modules, flow, goals, and how pixels are
    normalized if that is set."""
    resolved = spec.resolved()
    parts = {name: resolved[name] for name in ("inputs", "modules", "flow", "goals")}
    arguments = goal_arguments(spec, GOALS["vision"])
    for name in ("image_mean", "image_std"):
        if name in arguments:
            parts[name] = arguments[name]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def weights_fingerprint(checkpoint: Path) -> str:
    """Return the fingerprint of a checkpoint: its size, and samples of it evenly spread, the first included.

    Two states of one training differ in nearly every weight, so samples distinguish them.
    """
    file = weights_file(checkpoint)
    size = file.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with file.open("rb") as opened:
        for number in range(_SAMPLES):
            opened.seek(number * size // _SAMPLES)
            digest.update(opened.read(_SAMPLE))
    return digest.hexdigest()[:16]


def check_path(index: Path) -> None:
    """UserError where no index can be written to ``index``: a new folder, an empty one, or an index."""
    if os.path.lexists(index) and not os.path.isdir(index):
        raise UserError(f"the index {index} must be a folder, but is a file")
    try:
        names = [path.name for path in index.iterdir()] if index.exists() else []
        # Whether a file can be written is only certain after one was: rights do not show a full disk.
        folders = (index, *index.absolute().parents)
        existing = next(folder for folder in folders if folder.exists())
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise UserError(
            f"the index {index} cannot be written ({error.strerror})"
        ) from None
    for name in names:
        if not any(fnmatch(name, pattern) for pattern in _OWN):
            raise UserError(
                f"{index} must be a new folder or an index, but holds other files; choose another"
            )


def write(index: Path, contents: Contents, spec: Spec) -> None:
    """Write an index atomically: a reader sees the old one or the new one."""
    name = f"features-{os.urandom(4).hex()}.safetensors"
    try:
        _write(index, contents, spec, name)
    except (OSError, UserError) as error:
        with contextlib.suppress(OSError):
            (index / name).unlink(missing_ok=True)
        why = error.strerror if isinstance(error, OSError) else error
        raise UserError(
            f"the index {index} cannot be written ({why}); what was there before stays"
        ) from None
    for old in index.glob("features-*.safetensors"):
        if old.name != name:
            old.unlink(missing_ok=True)


def _write(index: Path, contents: Contents, spec: Spec, name: str) -> None:
    index.mkdir(parents=True, exist_ok=True)
    entry = Entry("features", contents.features.dtype, tuple(contents.features.shape))
    write_safetensors(index / name, [entry], [contents.features])
    with atomic_write(index / SPEC) as opened:
        opened.write(write_spec(spec))
    _copy_tokenizer(index, spec)
    row: dict[str, Any] = {"format": FORMAT, "features": name}
    for key, value in vars(contents).items():
        if key not in ("files", "features"):
            row[key] = value
    file_rows: list[dict[str, Any]] = []
    for file in contents.files:
        file_rows.append(
            {key: value for key, value in asdict(file).items() if value is not None}
        )
    row["files"] = file_rows
    # Last: it names the file of the features, so that a reader sees all of the new index or none.
    with atomic_write(index / CONTENTS) as opened:
        json.dump(row, opened, indent=1)


def _copy_tokenizer(index: Path, spec: Spec) -> None:
    """Copy the files of the tokenizer of the captions; a name on the Hugging Face Hub has no local files."""
    source = Path(goal_tokenizer(spec, GOALS["text"]) or "")
    is_folder = source.is_dir()
    files: tuple[Path, ...] = (source,)
    if is_folder:
        files = (source / "vocab.txt", source / "tokenizer_config.json")
    for file in files:
        if file.is_file():
            (index / TOKENIZER).mkdir(exist_ok=True)
            copy = index / TOKENIZER / (file.name if is_folder else "vocab.txt")
            shutil.copyfile(file, copy.with_suffix(".tmp"))
            copy.with_suffix(".tmp").replace(copy)


def read(index: Path) -> Contents:
    """Read an index; UserError where there is none, or where it is damaged."""
    file = index / CONTENTS
    if not os.path.isfile(file):
        raise UserError(
            f"{index} must be an index (a folder with {CONTENTS}). Make one with `mplug2 index build`"
        )
    try:
        row: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if row.pop("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        name = row.pop("features")
        if not fnmatch(str(name), "features-*.safetensors") or Path(name).name != name:
            raise ValueError(f"'{name}' is not the name of a file in the same folder")
        files = [_file(file_row) for file_row in row.pop("files")]
        for key, value in row.items():
            if not isinstance(value, str):
                raise ValueError(f"'{key}' is not a text")
        features = load_file(index / name)["features"]
        contents = Contents(**row, files=files, features=features)
        _judge_vectors(contents)
    except _DAMAGE as error:
        raise UserError(
            f"the index {index} is damaged ({type(error).__name__}: {error}); delete it and build it again"
        ) from None
    return contents


def _file(row: dict[str, Any]) -> File:
    """A file of `index.json`; raise ValueError if it is not one, or is outside the media folder."""
    file = File(**row)
    name, numbers = file.name, (file.size, file.changed)
    if not isinstance(name, str) or not isinstance(file.broken, str | None):
        raise ValueError("a name or reason is not a text")
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int):
            raise ValueError(f"the size or time of '{name}' is not an integer")
    # An index may come from anywhere: its names must not lead out of the media folder.
    if not name or "\0" in name or name.startswith("/") or ".." in name.split("/"):
        raise ValueError(f"'{name}' does not lie in the media folder")
    return file


def _judge_vectors(contents: Contents) -> None:
    vectors, count = contents.features, len(contents.whole)
    is_matrix = vectors.ndim == 2 and vectors.dtype == torch.float32
    if not is_matrix or not vectors.isfinite().all():
        raise ValueError(
            f"vectors must be finite float32 [files width], not {vectors.dtype} {[*vectors.shape]}"
        )
    if len(vectors) != count:
        raise ValueError(f"{len(vectors)} vectors are there for {count} files")


def relative(path: Path, index: Path) -> str:
    """Return the form of a path in an index."""
    return os.path.relpath(path.resolve(), index.resolve())
