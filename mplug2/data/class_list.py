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
    # A form counts only if every line has it: a name may begin with a number by chance.
    synsets = _matches(_SYNSET, lines)
    if synsets:
        return synsets
    numbered = _matches(_NUMBERED, lines)
    if numbered:
        by_number = {int(number): name for number, name in numbered}
        if sorted(by_number) != list(range(1, len(lines) + 1)):
            raise UserError(
                f"{path}: the numbers of classes must be 1 to {len(lines)}, each once"
            )
        # The lines may be in any order: the numbers are those of the outputs.
        names = [by_number[number] for number in sorted(by_number)]
        return list(zip(names, names, strict=True))
    return list(zip(lines, lines, strict=True))


def _matches(pattern: re.Pattern[str], lines: list[str]) -> list[tuple[str, str]]:
    """Return the two groups of a pattern for each line; nothing unless all lines match."""
    groups = []
    for line in lines:
        match = pattern.fullmatch(line)
        if match is None:
            return []
        groups.append((match[1], match[2]))
    return groups


def _json_classes(path: Path, text: str) -> list[tuple[str, str]]:
    try:
        value: Any = parse_json(text)
    except JsonError as error:
        raise UserError(
            f"{path}: a list of classes must be JSON, but {error}"
        ) from None
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return list(zip(value, value, strict=True))
    if isinstance(value, dict):
        # SSv2 writes the numbers as texts: compared by length first, "10" comes after "9".
        numbers = {name: str(number) for name, number in value.items()}
        order = sorted(numbers, key=lambda name: (len(numbers[name]), numbers[name]))
        in_order = [numbers[name] for name in order]
        if in_order == [str(index) for index in range(len(order))]:
            return list(zip(order, order, strict=True))
    raise UserError(
        f"{path}: classes in JSON must be a list of names, or a mapping from names to the numbers from 0 "
        f"(got {shown(value)})"
    )
