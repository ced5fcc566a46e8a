"""Predictions and references in files: our own, those of COCO, and plain mappings.

Predictions are ``{id: caption}``, COCO results (``[{"image_id": 1, "caption": ...}]``) or the JSON lines that
`mplug2 eval --out` writes. References are ``{id: [captions]}``, COCO annotations (``{"annotations": [...]}``)
or our annotation files. Ids are compared as texts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from registry.errors import UserError

# Keys that name the item of a row: the first one there wins.
_IDS = ("image_id", "video_id", "image", "id")
_PREDICTIONS = ("prediction", "caption")
_REFERENCES = ("golden_captions", "captions", "caption", "references")
_SAID = '{"video7": "a dog runs"}'
_GIVEN = '{"video7": ["a dog runs", "a dog is running"]}'


def read_predictions(path: str | Path) -> dict[str, str]:
    """One caption an id, possibly empty; UserError where the file holds something else."""
    data = _read(path, _SAID)
    rows = _rows(data, _PREDICTIONS, path)
    if rows is not None:
        captions: dict[str, Any] = {}
        for key, caption in rows:
            if key in captions:
                raise UserError(
                    f"{path}: each id must be there once, but '{key}' is there twice"
                )
            captions[key] = caption
        data = captions
    if not isinstance(data, dict):
        raise _other_form(path, _SAID, data)
    for key, caption in data.items():
        if not isinstance(caption, str):
            raise UserError(
                f"{path}: the caption of id '{key}' must be a string, but is {_shown(caption)}"
            )
    return data


def read_references(path: str | Path) -> dict[str, list[str]]:
    """At least one reference an id; UserError where the file holds something else."""
    data = _read(path, _GIVEN)
    annotations = data.get("annotations") if isinstance(data, dict) else None
    rows = _rows(
        annotations if isinstance(annotations, list) else data, _REFERENCES, path
    )
    if rows is not None:
        collected: dict[str, Any] = {}
        for key, captions in rows:
            collected.setdefault(key, []).extend(
                captions if isinstance(captions, list) else [captions]
            )
        data = collected
    if not isinstance(data, dict):
        raise _other_form(path, _GIVEN, data)
    if not data:
        raise UserError(
            f"{path}: there must be references of at least one id, but the object is empty"
        )
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
    predictions: dict[str, str],
    references: dict[str, list[str]],
    names: tuple[str | Path, str | Path],
) -> None:
    """UserError unless both files have the same ids: what is left out must not raise the scores."""
    for those, others, here, there in (
        (references, predictions, names[1], names[0]),
        (predictions, references, names[0], names[1]),
    ):
        missing = [f"'{key}'" for key in those if key not in others]
        if missing:
            more = ", ..." if len(missing) > 3 else ""
            raise UserError(
                f"{there}: every id of {here} must be there, but {len(missing)} of {len(those)} are not: "
                f"{', '.join(missing[:3])}{more}"
            )


def _rows(
    data: Any, values: tuple[str, ...], path: str | Path
) -> Iterator[tuple[str, Any]] | None:
    """Return the id and the value of each row of a list; None for another form.

    A file of one JSON line is a list of one row.
    """
    if isinstance(data, dict):
        is_row = _key(data, values) is not None and _key(data, _IDS) is not None
        if is_row:
            data = [data]
    if not isinstance(data, list) or not data:
        return None
    numbered = enumerate(data, 1)
    return (_row(row, values, f"{path}: entry {number}") for number, row in numbered)


def _row(row: Any, values: tuple[str, ...], where: str) -> tuple[str, Any]:
    content = row if isinstance(row, dict) else {}
    key, name = _key(content, _IDS), _key(content, values)
    if key is None or name is None:
        raise UserError(
            f"{where}: must have an id ({', '.join(_IDS)}) and a caption ({', '.join(values)}), but is "
            f"{_shown(row)}"
        )
    return str(row[key]), row[name]


def _key(row: dict[str, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in row), None)


def _read(path: str | Path, example: str) -> Any:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        return _parsed(text, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except RecursionError:
        raise UserError(
            f"{path}: must be a JSON object such as {example}, but is nested too deeply"
        ) from None
    except ValueError as error:
        # Neither UTF-8 nor JSON.
        raise UserError(
            f"{path}: must be a JSON object such as {example}, but cannot be read: {error}"
        ) from None


def _parsed(text: str, path: str | Path) -> Any:
    """Return the value of a JSON text, or the list of the values of its lines."""

    # Python keeps the last value of a repeated key, and a caption would be lost without a message.
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        for key, value in pairs:
            if key in entries:
                raise UserError(
                    f"{path}: each id must be there once, but '{key}' is there twice"
                )
            entries[key] = value
        return entries

    first, _, rest = text.strip().partition("\n")
    if rest:
        try:
            json.loads(first)
        except ValueError:
            # The first line is a part of one value.
            rest = ""
    if not rest:
        return json.loads(text, object_pairs_hook=once)
    lines = [line for line in text.split("\n") if line.strip()]
    return [json.loads(line, object_pairs_hook=once) for line in lines]


def _other_form(path: str | Path, example: str, data: Any) -> UserError:
    return UserError(
        f"{path}: must be a JSON object such as {example}, but is {_shown(data)}"
    )


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
