"""What the tables of VLMo and BEiT share: blocks that two modules hold, and which module is which."""

from __future__ import annotations

from typing import Any

from mplug2.weights.families.pieces import LEAF
from mplug2.weights.keymap import Facts, Role, Row, Values
from registry import Spec

# Released names of the experts, by ours.
EXPERTS = {"text": "_text", "image": "_imag", "fused": "_vl"}


def _is_first(spec: Spec, module: str) -> bool:
    return not spec.modules[module].arguments.get("first", 0)


def _is_last(spec: Spec, module: str) -> bool:
    return not _is_first(spec, module)


def _stacks(facts: Facts) -> tuple[str, str]:
    """Return the modules of the first and of the last blocks; no name where one module has them all."""
    names = [name for name in facts.spec.modules if facts.use(name) == "multiway"]
    first = next(name for name in names if _is_first(facts.spec, name))
    return first, next((name for name in names if _is_last(facts.spec, name)), "")


def numbers(facts: Facts, module: str) -> Values:
    """Return the depth of a module, the blocks before it, its experts, and how tables are cut.

    ``columns``: of the first module's part of a table; ``tail``: rows of texts; ``blocks``: of both modules.
    """
    stack: Any = facts.net.get_submodule(module)
    first, last = _stacks(facts)
    first_stack: Any = facts.net.get_submodule(first)
    last_depth = facts.argument(last, "depth", 0) if last else 0
    text_bias = None if first_stack.bias is None else first_stack.bias.text
    return {
        "depth": len(stack.blocks),
        "first": facts.argument(module, "first", 0),
        "experts": stack.experts,
        "has_norm": stack.norm is not None,
        "alone": not last,
        "blocks": len(first_stack.blocks) + last_depth,
        "columns": len(first_stack.blocks) * first_stack.heads,
        "tail": 0 if text_bias is None else len(text_bias),
    }


def stack_roles() -> dict[str, Role]:
    """Return the roles of the modules that hold the first and the last blocks."""
    return {
        "lower": Role(
            "multiway with the first blocks", {"multiway": ""}, _is_first, numbers
        ),
        "upper": Role(
            "multiway with the last blocks", {"multiway": ""}, _is_last, numbers
        ),
    }


def has_norm(values: Values) -> bool:
    """Return whether a module ends with the final norm."""
    return bool(values["has_norm"])


def is_alone(values: Values) -> bool:
    """Return whether one module has all blocks."""
    return bool(values["alone"])


def is_pair(values: Values) -> bool:
    """Return whether two modules share the blocks."""
    return not values["alone"]


def _is_inside(values: Values) -> bool:
    return bool(0 <= values["layer"] - values["first"] < values["depth"])


def block_rows(released: str, experts: dict[str, str]) -> tuple[Row, ...]:
    """Return the rows of all blocks; ``experts``: the ending of the released names, by ours."""
    pairs = [
        ("gamma_{scale:1|2}", "scale{scale}.gamma"),
        (f"norm1.{LEAF}", "norm1.{leaf}"),
        ("attn.{leaf:q_bias|v_bias|qkv\\.weight}", "attn.{leaf}"),
        (f"attn.proj.{LEAF}", "attn.proj.{leaf}"),
    ]
    for name, ending in experts.items():
        pairs.append((f"norm2{ending}.{LEAF}", f"norm2.{name}.{{leaf}}"))
        theirs = f"mlp{ending}.{{layer_name:fc1|fc2}}.{LEAF}"
        pairs.append((theirs, f"mlp.{name}.{{layer_name}}.{{leaf}}"))
    # Either module may have a block: `_is_inside` decides by its number.
    rows = []
    for role in ("lower", "upper"):
        for theirs, ours in pairs:
            block = f"{released}blocks.{{layer}}.{theirs}"
            rows.append(
                Row(block, f"blocks.{{layer-first}}.{ours}", role, where=_is_inside)
            )
    return tuple(rows)


def norm_rows(released: str) -> tuple[Row, ...]:
    """Return the rows of the final norm, which the module of the last blocks has."""
    pattern = f"{released}norm.{LEAF}"
    return tuple(
        Row(pattern, "norm.{leaf}", role, where=has_norm) for role in ("upper", "lower")
    )
