"""Plain mappings, lists and scalars to the YAML text that `parse.parse` reads back to the same."""

from __future__ import annotations

import json
import re
from typing import Any

from registry.yaml.tree import scalar

# what needs no quotes: no character of these means anything to YAML within a word
SAFE = re.compile(r"[A-Za-z_/][\w./=()-]*( [\w./=()-]+)*", re.ASCII)
ODD = re.compile(
    r"[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


def write_tree(value: dict[str, Any]) -> str:
    """Return block mappings, with lists and what is in them in one line each."""
    return "".join(_block(value, 0))


def _block(value: dict[str, Any], depth: int) -> list[str]:
    lines: list[str] = []
    for key, item in value.items():
        begin = f"{'  ' * depth}{_scalar(key)}:"
        # An empty mapping has no block: `{}`.
        if isinstance(item, dict) and item:
            lines += [f"{begin}\n", *_block(item, depth + 1)]
        else:
            lines.append(f"{begin} {_inline(item)}\n")
    return lines


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        entries = [f"{_scalar(key)}: {_inline(item)}" for key, item in value.items()]
        return "{" + ", ".join(entries) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    # Not `true` or `1e5`, which would be read back as another value.
    if SAFE.fullmatch(value) and isinstance(scalar(value), str):
        return value
    # A JSON string is a double-quoted scalar of YAML, but for characters that YAML refuses.
    quoted = json.dumps(value, ensure_ascii=False)
    return ODD.sub(lambda match: f"\\u{ord(match.group()):04x}", quoted)
