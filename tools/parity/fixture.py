"""A recorded fixture: the numbers of its configuration and its tensors."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from registry import UserError


@dataclass(frozen=True)
class Fixture:
    """One fixture: a folder, or several in one folder with a prefix before their files, or one JSON file.

    ``config`` and ``meta`` are empty where there is no such file.
    """

    path: Path
    prefix: str
    config: dict[str, Any]
    meta: dict[str, Any]

    @property
    def name(self) -> str:
        """The folder and the prefix, for messages."""
        return f"{self.path}/{self.prefix}" if self.prefix else str(self.path)

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return the tensors of ``NAME.safetensors``; UserError if they cannot be read."""
        with reading(self.path):
            return load_file(self.path / f"{self.prefix}{name}.safetensors")

    def outputs(self) -> dict[str, Tensor]:
        """Return the recorded outputs, none if the fixture is a JSON file."""
        return {} if self.path.is_file() else self.tensors("outputs")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """While open, raise UserError for what cannot be read of ``path``."""
    try:
        yield
    # A file that is not JSON or has another structure, one that is not safetensors or is truncated.
    except (
        OSError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        SafetensorError,
    ) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(
            f"{path}: not a fixture that can be compared: {reason}"
        ) from None


def find_fixtures(path: Path) -> list[Fixture]:
    """Return the fixtures of a folder, by ``*config.json`` and ``*meta.json``, or of a JSON file.

    UserError if there is none.
    """
    with reading(path):
        if path.is_file():
            return [
                Fixture(
                    path, "", dict(json.loads(path.read_text(encoding="utf-8"))), {}
                )
            ]
        prefixes = set()
        for kind in ("config", "meta"):
            prefixes |= {
                file.name.removesuffix(f"{kind}.json")
                for file in path.glob(f"*{kind}.json")
            }
        if not prefixes:
            raise FileNotFoundError("no config.json and no meta.json")
        return [
            Fixture(path, prefix, *_numbers(path, prefix))
            for prefix in sorted(prefixes)
        ]


def _numbers(path: Path, prefix: str) -> tuple[dict[str, Any], dict[str, Any]]:
    numbers = []
    for kind in ("config", "meta"):
        file = path / f"{prefix}{kind}.json"
        numbers.append(
            dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
        )
    return numbers[0], numbers[1]
