"""Predictions and references as JSON files: {id: caption} and {id: [captions]}."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from registry.errors import UserError


def read_predictions(path: str | Path) -> dict[str, str]:
    """One caption an id, possibly empty; UserError where the file holds something else."""
    data = _read(path, '{"video7": "a dog runs"}')
    for key, caption in data.items():
        if not isinstance(caption, str):
            raise UserError(f"{path}: the caption of id '{key}' must be a string, but is {_shown(caption)}")
    return data


def read_references(path: str | Path) -> dict[str, list[str]]:
    """At least one reference an id; UserError where the file holds something else."""
    data = _read(path, '{"video7": ["a dog runs", "a dog is running"]}')
    if not data:
        raise UserError(f"{path}: there must be references of at least one id, but the object is empty")
    for key, captions in data.items():
        if not isinstance(captions, list) or not captions:
            raise UserError(
                f"{path}: the references of id '{key}' must be a list of captions, but are {_shown(captions)}"
            )
        for caption in captions:
            if not isinstance(caption, str) or not caption.strip():
                raise UserError(
                    f"{path}: a reference of id '{key}' must be a caption, but is {_shown(caption)}"
                )
    return data


def check_same_ids(
    predictions: dict[str, str], references: dict[str, list[str]], names: tuple[str | Path, str | Path]
) -> None:
    """UserError unless both files have the same ids: what is left out must not raise the scores."""
    for those, others, here, there in (
        (references, predictions, names[1], names[0]),
        (predictions, references, names[0], names[1]),
    ):
        missing = [key for key in those if key not in others]
        if missing:
            raise UserError(
                f"{there}: every id of {here} must be there, but {len(missing)} of {len(those)} are not: "
                + ", ".join(f"'{key}'" for key in missing[:3])
                + (", ..." if len(missing) > 3 else "")
            )


def _read(path: str | Path, example: str) -> dict[str, Any]:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        data = json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except RecursionError:
        raise UserError(
            f"{path}: must be a JSON object such as {example}, but is nested too deeply"
        ) from None
    except ValueError as error:  # Neither UTF-8 nor JSON.
        raise UserError(
            f"{path}: must be a JSON object such as {example}, but cannot be read: {error}"
        ) from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: must be a JSON object such as {example}, but is {_shown(data)}")
    return data


def _once(pairs: list[tuple[str, Any]], path: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise UserError(f"{path}: each id must be there once, but '{key}' is there twice")
        found[key] = value
    return found


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
