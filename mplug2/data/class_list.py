"""Lists of classes as data sets publish them: a name a line, synsets, numbered names, JSON."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mplug2.data.files import read_text
from mplug2.data.json_text import JsonError, parse_json
from mplug2.data.rows import shown
from registry.errors import UserError

_SYNSET = re.compile(r"(n\d{8})\s+(.+)")
_NUMBERED = re.compile(r"(\d+)\s+(\S+)")


def read_class_list(path: Path) -> dict[str, str]:
    """Return the classes of a file in the order of the network's outputs, as they are written in the data:
    the name of each.

    - JSON: a list of names, or a mapping from names to numbers 0, 1, ... (SSv2's ``labels.json``);
    - lines ``n01440764 tench, Tinca tinca`` (ImageNet's synsets): the data have the synset;
    - lines ``1 ApplyEyeMakeup`` with numbers from 1 (UCF101's ``classInd.txt``);
    - any other line is a name (Kinetics).

    Raises UserError for a file of another form, and for a name that occurs twice.
    """
    text = read_text(path)
    if path.suffix == ".json":
        pairs = _json_classes(path, text)
    else:
        lines = [line.strip() for line in text.split("\n")]
        pairs = _classes_of_lines(path, [line for line in lines if line])
    classes = dict(pairs)
    if len(classes) != len(pairs) or len(classes) < 2:
        raise UserError(
            f"{path}: a list of classes must have two or more different names "
            f"(got {len(pairs)}, of them {len(classes)} different). Remove repeated lines"
        )
    return classes


def _classes_of_lines(path: Path, lines: list[str]) -> list[tuple[str, str]]:
    synsets = [_SYNSET.fullmatch(line) for line in lines]
    if lines and all(synsets):
        return [(match[1], match[2]) for match in synsets if match]
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    if lines and all(numbered):
        by_number = {int(match[1]): match[2] for match in numbered if match}
        if sorted(by_number) != list(range(1, len(lines) + 1)):
            raise UserError(
                f"{path}: the numbers of classes must be 1 to {len(lines)}, each once"
            )
        return [(by_number[number], by_number[number]) for number in sorted(by_number)]
    return [(line, line) for line in lines]


def _json_classes(path: Path, text: str) -> list[tuple[str, str]]:
    try:
        value: Any = parse_json(text)
    except JsonError as error:
        raise UserError(f"{path}: a list of classes must be JSON, but {error}") from None
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return [(name, name) for name in value]
    if isinstance(value, dict):
        numbers = {name: str(number) for name, number in value.items()}
        order = sorted(numbers, key=lambda name: (len(numbers[name]), numbers[name]))
        if [numbers[name] for name in order] == [
            str(index) for index in range(len(order))
        ]:
            return [(name, name) for name in order]
    raise UserError(
        f"{path}: classes in JSON must be a list of names, or a mapping from names to the numbers from 0 "
        f"(got {shown(value)})"
    )
