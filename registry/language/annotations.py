"""Does a value of a spec fit the annotation of the parameter that it sets?

Understood are int, float, str, bool, None, Literal, unions, list, tuple, dict and Sequence of such, in any
spelling of `typing`; any other annotation is taken as "anything", and left to the code behind it.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import Any

PLAIN: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "bool": (bool,),
}
LISTS = ("list", "List", "Sequence", "Iterable", "tuple", "Tuple", "set", "frozenset")
MAPPINGS = ("dict", "Dict", "Mapping")


def accepts(annotation: str, value: Any) -> bool:
    """Return whether a value read from YAML or from a flow line fits an annotation."""
    tree = _parse(annotation)
    # Without an annotation, or with one that cannot be parsed, every value fits.
    return tree is None or _fits(tree, value)


def as_annotated(annotation: str, value: Any) -> Any:
    """Return a value that fits an annotation, with integers as floats if it takes floats alone."""
    tree = _parse(annotation)
    return value if tree is None else _converted(tree, value)


def _converted(tree: ast.expr, value: Any) -> Any:
    parts = _parts(tree)
    if isinstance(value, int) and not isinstance(value, bool):
        # `int | float` keeps the integer; `float` gets 1.0 for 1.
        is_float_alone = any(_name(part) == "float" for part in parts)
        for part in parts:
            if _name(part) != "float" and _fits_one(part, value):
                is_float_alone = False
        return _as_float(value) if is_float_alone else value
    if not isinstance(value, list | tuple | dict):
        return value
    for part in parts:
        if isinstance(part, ast.Subscript) and _fits_one(part, value):
            return _converted_items(_name(part.value), _items(part.slice), value)
    return value


def _as_float(number: int) -> int | float:
    """Return a float, or the number itself if it is larger than any."""
    try:
        return float(number)
    except OverflowError:
        return number


def _converted_items(outer: str, items: list[ast.expr], value: Any) -> Any:
    """Return a collection with each of its values converted."""
    if outer in MAPPINGS:
        return {key: _converted(items[-1], entry) for key, entry in value.items()}
    if outer not in LISTS:
        return value
    # `tuple[int, float]` has an annotation for each entry, `list[float]` and `tuple[float, ...]` one for all.
    has_one_tree = outer not in ("tuple", "Tuple") or len(items) != len(value)
    trees = [items[0]] * len(value) if has_one_tree else items
    entries = []
    for tree, entry in zip(trees, value, strict=True):
        entries.append(_converted(tree, entry))
    return type(value)(entries)


@lru_cache(maxsize=1024)
def choices(annotation: str) -> tuple[Any, ...]:
    """Return the values that the `Literal[...]` parts of an annotation allow."""
    tree = _parse(annotation)
    if tree is None:
        return ()
    values: list[Any] = []
    for part in _parts(tree):
        if isinstance(part, ast.Subscript) and _name(part.value) == "Literal":
            values += _constants(part.slice)
    return tuple(values)


def _constants(tree: ast.expr) -> list[Any]:
    """Return the values within `Literal[...]`."""
    return [item.value for item in _items(tree) if isinstance(item, ast.Constant)]


@lru_cache(maxsize=1024)
def _parse(annotation: str) -> ast.expr | None:
    try:
        return ast.parse(annotation, mode="eval").body if annotation else None
    except SyntaxError:
        return None


def _parts(tree: ast.expr) -> list[ast.expr]:
    """Return the alternatives of a union."""
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.BitOr):
        return _parts(tree.left) + _parts(tree.right)
    if isinstance(tree, ast.Subscript) and _name(tree.value) == "Union":
        parts = []
        for item in _items(tree.slice):
            parts += _parts(item)
        return parts
    if isinstance(tree, ast.Subscript) and _name(tree.value) == "Optional":
        # `Optional[int]` is `int | None`.
        return [*_parts(tree.slice), ast.Constant(None)]
    return [tree]


def _name(tree: ast.expr) -> str:
    # `typing.List` and `List` are the same to the checks.
    if isinstance(tree, ast.Attribute):
        return tree.attr
    return tree.id if isinstance(tree, ast.Name) else ""


def _items(tree: ast.expr) -> list[ast.expr]:
    return tree.elts if isinstance(tree, ast.Tuple) else [tree]


def _fits(tree: ast.expr, value: Any) -> bool:
    return any(_fits_one(part, value) for part in _parts(tree))


def _fits_one(tree: ast.expr, value: Any) -> bool:
    if isinstance(tree, ast.Constant):
        if isinstance(tree.value, str):  # a forward reference in quotes
            return accepts(tree.value, value)
        return tree.value is None and value is None
    if isinstance(tree, ast.Subscript):
        outer, items = _name(tree.value), _items(tree.slice)
        if outer == "Literal":
            return _is_choice(value, _constants(tree.slice))
        if outer in LISTS:
            return isinstance(value, list | tuple) and _fits_items(outer, items, value)
        if outer in MAPPINGS:
            if not isinstance(value, dict):
                return False
            # Keys are texts in YAML: only the values are compared.
            return all(_fits(items[-1], element) for element in value.values())
        # Any other class, such as `Callable[...]`, is not known here.
        return True
    name = _name(tree)
    if name in PLAIN:
        # A truth value is an int in Python, but `depth: true` is a mistake.
        is_bool = isinstance(value, bool)
        return isinstance(value, PLAIN[name]) and (name == "bool" or not is_bool)
    if name in LISTS:
        return isinstance(value, list | tuple)
    return isinstance(value, dict) if name in MAPPINGS else True


def _is_choice(value: Any, allowed: list[Any]) -> bool:
    """Return whether a value is one of those allowed; True is not 1."""
    for choice in allowed:
        if choice == value and isinstance(choice, bool) == isinstance(value, bool):
            return True
    return False


def _fits_items(
    outer: str, items: list[ast.expr], value: list[Any] | tuple[Any, ...]
) -> bool:
    last = items[-1]
    any_length = (
        len(items) == 2 and isinstance(last, ast.Constant) and last.value is ...
    )
    # YAML has lists alone, so a list fits a tuple of its length.
    if outer in ("tuple", "Tuple") and not any_length:
        return len(items) == len(value) and all(map(_fits, items, value))
    return all(_fits(items[0], element) for element in value)


JSON_TYPES = {"int": "integer", "float": "number", "str": "string", "bool": "boolean"}


def json_schema(annotation: str) -> dict[str, Any]:
    """Return the JSON schema of the values that fit an annotation; an empty one accepts anything."""
    tree = _parse(annotation)
    if tree is None:
        return {}
    schemas = [_schema_of(part) for part in _parts(tree)]
    # One alternative that accepts anything makes the others meaningless.
    if {} in schemas:
        return {}
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _schema_of(tree: ast.expr) -> dict[str, Any]:
    """Return the JSON schema of one alternative of an annotation."""
    if isinstance(tree, ast.Constant):
        if isinstance(tree.value, str):  # a forward reference in quotes
            return json_schema(tree.value)
        return {"type": "null"} if tree.value is None else {}
    if isinstance(tree, ast.Subscript):
        return _schema_of_collection(_name(tree.value), _items(tree.slice))
    name = _name(tree)
    if name in JSON_TYPES:
        return {"type": JSON_TYPES[name]}
    if name in LISTS:
        return {"type": "array"}
    return {"type": "object"} if name in MAPPINGS else {}


def _schema_of_collection(outer: str, items: list[ast.expr]) -> dict[str, Any]:
    """Return the JSON schema of `Literal[...]`, a list, a tuple or a mapping with its items."""
    if outer == "Literal":
        allowed = [item.value for item in items if isinstance(item, ast.Constant)]
        return {"enum": allowed}
    texts = [ast.unparse(item) for item in items]
    if outer in MAPPINGS:
        return {"type": "object", "additionalProperties": json_schema(texts[-1])}
    if outer not in LISTS:
        return {}
    # `tuple[int, ...]` has any length, `tuple[int, int]` two entries.
    is_fixed = outer in ("tuple", "Tuple") and texts[1:] != ["..."]
    if not is_fixed:
        return {"type": "array", "items": json_schema(texts[0])}
    prefix = [json_schema(text) for text in texts]
    return {
        "type": "array",
        "prefixItems": prefix,
        "items": False,
        "minItems": len(prefix),
    }
