"""Python code for an ejected network: names that are free, and how modules and weights are reached."""

from __future__ import annotations

import json
import keyword
from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn

LONGEST = 110
# names that the written code uses itself
TAKEN = {
    *(
        "self",
        "batch",
        "dtype",
        "averaged",
        "torch",
        "nn",
        "annotations",
        "is_selected",
        "Any",
        "EMA",
        "tie_transposed",
    ),
    *("any", "getattr", "next", "super", "__debug__"),
}
METHODS = (
    "ema",
    "update_ema",
    "full_precision",
    "frozen_modules",
    "position",
)  # and one for each goal


def call_lines(begin: str, arguments: list[str]) -> list[str]:
    """Return `begin(arguments)` in one line, or with one argument a line where that is too long."""
    line = f"{begin}({', '.join(arguments)})"
    # A method indents the line by 8, and `.mean()` may follow.
    if len(line) <= LONGEST - 16:
        return [line]
    return [f"{begin}(", *(f"    {one}," for one in arguments), ")"]


def indented(lines: Iterable[str], depth: int) -> Iterator[str]:
    """Yield lines ``depth`` levels to the right."""
    return (f"{'    ' * depth}{line}" if line else "" for line in lines)


def free_name(name: str, taken: Iterable[str]) -> str:
    """Return a name like `name` that nothing else has."""
    used = {*taken, *TAKEN}
    while name in used or keyword.iskeyword(name):
        name += "_"
    return name


def module_code(name: str) -> str:
    """Return how a module is reached; `nn.Module` has taken names such as `train` for itself."""
    taken = hasattr(nn.Module(), name) or keyword.iskeyword(name) or name in METHODS
    # Python renames what begins with two underscores, and goals are methods of the class.
    plain = not taken and not name.startswith(("__", "goal_"))
    return f"self.{name}" if plain else f'self._modules["{name}"]'


def weight_code(path: str) -> str:
    """Return how a weight is reached: layers.0 is `layers[0]`."""
    first, *parts = path.split(".")
    code = module_code(first)
    for part in parts:
        code += f"[{part}]" if part.isdigit() else f".{part}"
    return code


def outer_paths(paths: Iterable[str]) -> list[str]:
    """Return the paths that lie within none of the others."""
    outer: list[str] = []
    for path in sorted(set(paths), key=lambda path: path.count(".")):
        if not any(path.startswith(f"{other}.") for other in outer):
            outer.append(path)
    return outer


def attribute_code(path: str) -> tuple[str, str]:
    """Return how the module of a weight is reached, and the weight's attribute there."""
    module, _, attribute = path.rpartition(".")
    return weight_code(module), attribute


def literal(value: Any) -> str:
    """Return a value of a spec as Python, with double quotes."""
    if isinstance(value, str):
        # Half characters, which no file can hold, become escapes.
        text = value.encode(errors="backslashreplace").decode()
        return json.dumps(text, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    return repr(value)


def class_name(stem: str) -> str:
    """Return the name of a class for a spec's file name."""
    separated = ""
    for character in stem.replace("_", " "):
        separated += character if f"_{character}".isidentifier() else " "
    # Only the first letter of a word changes: VideoQA keeps its capitals.
    name = "".join(word[:1].upper() + word[1:] for word in separated.split())
    return name if name[:1].isalpha() and name.isidentifier() else f"Net{name}"
