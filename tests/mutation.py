"""Random mistakes in a spec: keys and values dropped, renamed, swapped, retyped, or nearly right."""

from __future__ import annotations

import random
from typing import Any

VALUES: list[Any] = [
    *(
        None,
        True,
        0,
        -1,
        3,
        1.5,
        10**17,
        "",
        "x",
        "loss",
        "ema",
        "@decoder",
        "frames B 3 T H W",
        "text Q L",
    ),
    *(
        "words(question)",
        "f(",
        "take(memory, question_index)",
        "ema(loss)",
        [],
        ["a", 3],
        {},
        {"use": "fusion"},
        [[]],
    ),
    *(
        "lm_loss(logits, target=answer, alpha=ema(logits))",
        "concat()",
        "'",
        "\t",
        "é\u2028",
        "a: b",
        "*",
    ),
    *(
        "text",
        "vision",
        "all",
        "vision.*",
        "decoder.embedding.word.weight",
        "checkpoint:nothing",
        "clip:ViT-B-16",
    ),
]
NAMES = ("use", "loss", "vision", "depth", "")
LETTERS = ("", "(", ")", "@", ".", ",", "=", " ", "Q")


def mutate(tree: dict[str, Any], chance: random.Random) -> None:
    """Make one mistake in a tree of plain values, in place; what comes out may happen to be right."""
    path = chance.choice(_places(tree))
    parent: Any = tree
    for key in path[:-1]:
        parent = parent[key]
    key = path[-1]
    action, value = (
        chance.choice(["drop", "rename", "swap", "retype", "spoil"]),
        parent[key],
    )
    if action == "drop":
        del parent[key]
    elif action == "rename" and isinstance(parent, dict):
        parent[chance.choice([f"{key}x", str(key)[:-1], *NAMES])] = parent.pop(key)
    elif action == "swap":
        other = chance.choice(
            list(parent) if isinstance(parent, dict) else range(len(parent))
        )
        parent[key], parent[other] = parent[other], parent[key]
    elif action == "spoil" and isinstance(value, str) and value:
        at = chance.randrange(len(value))
        parent[key] = value[:at] + chance.choice(LETTERS) + value[at + 1 :]
    elif (
        action == "spoil"
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    ):
        parent[key] = chance.choice([value + 1, value - 1, value * 2, -value])
    else:
        parent[key] = chance.choice(VALUES)


def _places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all keys and list positions."""
    items = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    found = []
    for key, value in items:
        found += [(*path, key), *_places(value, (*path, key))]
    return found
