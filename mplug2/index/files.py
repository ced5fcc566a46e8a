"""An index on disk: a folder that holds vectors, what they are of, and the spec that they were made with.

    index.json                  names, sizes, times, what is broken, where media and checkpoint lie
    features-NAME.safetensors   one vector of length 1 per file, float32 [files width]
    spec.yaml                   the resolved spec

Paths are relative: of files to the media folder, of that and of the checkpoint to the index.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mplug2.data.writing import whole
from mplug2.train.tensors import Entry, write_safetensors
from mplug2.train.weights import weights_file
from registry import Spec, UserError, write_spec

FORMAT = 1
CONTENTS, SPEC = "index.json", "spec.yaml"
_SAMPLES, _SAMPLE = 64, 1 << 18  # places of a checkpoint that are looked at, and bytes at each


@dataclass(frozen=True)
class File:
    """A file as it was when it was embedded: name, bytes, time of change; ``broken`` says why it has no
    vector."""

    name: str
    size: int
    changed: int  # nanoseconds
    broken: str | None = None

    @classmethod
    def of(cls, folder: Path, name: str) -> File:
        """Return a file as it is now."""
        state = (folder / name).stat()
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
    features: Float[Tensor, "files width"] = field(default_factory=lambda: torch.empty(0, 0))

    @property
    def whole(self) -> list[File]:
        """The files that have a vector."""
        return [file for file in self.files if file.broken is None]


def spec_print(spec: Spec) -> str:
    """Return the fingerprint of what a spec computes: inputs, modules, flow, goals."""
    resolved = spec.resolved()
    parts = {name: resolved[name] for name in ("inputs", "modules", "flow", "goals")}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def weights_print(checkpoint: Path) -> str:
    """Return the fingerprint of a checkpoint: its size, and samples of it evenly spread, the first included.

    Two states of one training differ in nearly every weight, so that samples tell them apart.
    """
    file = weights_file(checkpoint)
    size = file.stat().st_size
    found = hashlib.sha256(str(size).encode())
    with file.open("rb") as opened:
        for number in range(_SAMPLES):
            opened.seek(number * size // _SAMPLES)
            found.update(opened.read(_SAMPLE))
    return found.hexdigest()[:16]


def write(index: Path, contents: Contents, spec: Spec) -> None:
    """Write an index, so that it is there as it was or as it is now, and nothing in between."""
    name = f"features-{os.urandom(4).hex()}.safetensors"
    entry = Entry("features", contents.features.dtype, tuple(contents.features.shape))
    write_safetensors(index / name, [entry], [contents.features])
    (index / SPEC).write_text(write_spec(spec), encoding="utf-8")
    row = {"format": FORMAT, "features": name}
    row |= {key: value for key, value in vars(contents).items() if key not in ("files", "features")}
    row["files"] = [
        {key: value for key, value in asdict(file).items() if value is not None} for file in contents.files
    ]
    with whole(index / CONTENTS) as opened:
        json.dump(row, opened, indent=1)
    for old in index.glob("features-*.safetensors"):
        if old.name != name:
            old.unlink()


def read(index: Path) -> Contents:
    """Read an index; UserError where there is none, or where it is damaged."""
    file = index / CONTENTS
    if not file.is_file():
        raise UserError(
            f"{index} must be an index (a folder with {CONTENTS}), but is none; make one: mplug2 index build"
        )
    try:
        row: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if row.pop("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        name = row.pop("features")
        if Path(name).name != name:
            raise ValueError(f"'{name}' is no name of a file beside it")
        files = [File(**one) for one in row.pop("files")]
        contents = Contents(**row, files=files, features=load_file(index / name)["features"])
        if contents.features.shape[0] != len(contents.whole):
            raise ValueError(f"{len(contents.features)} vectors are there for {len(contents.whole)} files")
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(
            f"the index {index} is damaged ({type(error).__name__}: {error}); delete it and build it again"
        ) from None
    return contents


def relative(path: Path, index: Path) -> str:
    """Return a path as it is written into an index."""
    return os.path.relpath(path.resolve(), index.resolve())
