"""Conditions between numbers that a declaration states: `"min_length <= max_length"`.

A condition is one comparison, or a chain of them, over integers, options (or constructor arguments), and
arguments of a module that a call hands over by `@`: `"max_length <= decoder.positions"`. Operators are
`+ - * // %` and the six comparisons. Conditions are read without importing the code that declares them.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Values = Mapping[str, Any]  # by names, and by `port.argument`

ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
COMPARISONS: dict[type[ast.cmpop], tuple[Callable[[Any, Any], bool], str]] = {
    ast.LtE: (operator.le, "at most"),
    ast.GtE: (operator.ge, "at least"),
    ast.Lt: (operator.lt, "less than"),
    ast.Gt: (operator.gt, "more than"),
    ast.Eq: (operator.eq, "equal to"),
    ast.NotEq: (operator.ne, "different from"),
}


class _Unknown(Exception):
    """A name of the condition has no number: it is not set, or its value is found out later."""


@dataclass(frozen=True)
class Condition:
    """One comparison of a declaration."""

    text: str
    left: ast.expr
    comparison: ast.cmpop
    right: ast.expr

    @property
    def names(self) -> list[str]:
        """The names that it compares, in the order of the text."""
        names = [*_names(self.left), *_names(self.right)]
        return list(dict.fromkeys(names))

    def at_most(self, bound: str) -> str:
        """Return the name that the condition holds at or below a bound, itself a name; '' if it does not."""
        is_bound = (
            isinstance(self.comparison, ast.LtE) and ast.unparse(self.right) == bound
        )
        return self.left.id if is_bound and isinstance(self.left, ast.Name) else ""

    def holds(self, values: Values) -> bool:
        """Return whether the condition holds; True if a name has no number."""
        compare, _ = COMPARISONS[type(self.comparison)]
        try:
            return compare(_number(self.left, values), _number(self.right, values))
        except _Unknown:
            return True
        # `beams % groups` with groups=0, which another condition refuses.
        except ZeroDivisionError:
            return True

    def in_words(self) -> str:
        """Return the condition as `NAME must be at most NAME`, or as it is written if it computes."""
        # "a % b must be equal to 0" would be hard to read: what computes is shown as it is written.
        if isinstance(self.left, ast.Name | ast.Attribute):
            _, words = COMPARISONS[type(self.comparison)]
            return f"{ast.unparse(self.left)} must be {words} {ast.unparse(self.right)}"
        return f"`{ast.unparse(self.left)} {self.sign} {ast.unparse(self.right)}` must hold"

    @property
    def sign(self) -> str:
        """The operator of the comparison as it is written."""
        # From `a <= b` the operator alone: `ast` writes no operator without its sides.
        compared = ast.Compare(ast.Name("a"), [self.comparison], [ast.Name("b")])
        return ast.unparse(compared)[2:-2]


def read_conditions(texts: Iterable[str]) -> tuple[Condition, ...]:
    """Return the comparisons of conditions; `0 <= a <= b` gives two. Raise ValueError otherwise."""
    conditions: list[Condition] = []
    for text in texts:
        conditions += _read(text)
    return tuple(conditions)


def _read(text: str) -> list[Condition]:
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"condition {text!r} cannot be read ({error.msg})") from None
    if not isinstance(tree, ast.Compare):
        raise ValueError(
            f"condition {text!r} must compare numbers, such as 'min_length <= max_length'"
        )
    terms = [tree.left, *tree.comparators]
    conditions = []
    for left, comparison, right in zip(terms, tree.ops, terms[1:], strict=False):
        if type(comparison) not in COMPARISONS:
            raise ValueError(
                f"condition {text!r} must use one of <=, >=, <, >, == and !="
            )
        # They raise for a term that is not arithmetic, here and not when a spec is checked.
        _names(left)
        _names(right)
        # `1 <= beams` reads as `beams >= 1` in messages.
        if isinstance(left, ast.Constant):
            left, comparison, right = right, _turned(comparison), left
        conditions.append(Condition(text, left, comparison, right))
    return conditions


def _turned(comparison: ast.cmpop) -> ast.cmpop:
    """Return the comparison that holds for exchanged sides."""
    turned: dict[type[ast.cmpop], type[ast.cmpop]] = {
        ast.LtE: ast.GtE,
        ast.GtE: ast.LtE,
        ast.Lt: ast.Gt,
        ast.Gt: ast.Lt,
    }
    return turned.get(type(comparison), type(comparison))()


def _names(term: ast.expr) -> list[str]:
    """Return the names of a term; raise ValueError for anything else than names, integers and arithmetic."""
    if isinstance(term, ast.Constant) and isinstance(term.value, int | float):
        return []
    if isinstance(term, ast.Name):
        return [term.id]
    if isinstance(term, ast.Attribute) and isinstance(term.value, ast.Name):
        return [f"{term.value.id}.{term.attr}"]
    if isinstance(term, ast.BinOp) and type(term.op) in ARITHMETIC:
        return [*_names(term.left), *_names(term.right)]
    raise ValueError(
        f"condition must consist of names, numbers and + - * // %, but has {ast.unparse(term)!r}"
    )


def _number(term: ast.expr, values: Values) -> float:
    if isinstance(term, ast.Constant):
        assert isinstance(term.value, int | float)
        return term.value
    if isinstance(term, ast.BinOp):
        compute = ARITHMETIC[type(term.op)]
        result: float = compute(_number(term.left, values), _number(term.right, values))
        return result
    value = values.get(_names(term)[0])
    # Not set, or a value that the check of types reports.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Unknown
    return value
