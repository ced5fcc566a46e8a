"""One line of a flow: `evidence: take(memory, owner)`, a call of a module or operation that names a stream.

A line is Python in form, and read by `ast`: one call; its values are streams (`memory`, `both.vision`),
averaged streams (`ema(logits)`), modules (`@decoder`), and, by keyword only, literals (numbers, strings,
truth values, lists, ramps).
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from keyword import kwlist
from typing import Any, TypeGuard

from registry.errors import NOWHERE, Location, SpecError, require
from registry.language.ramp import NAME as RAMP
from registry.language.ramp import read_ramp
from registry.yaml.tree import Node

LONGEST = 4000
WORDS = {
    "true": True,
    "false": False,
    "null": None,
    "none": None,
    "True": True,
    "False": False,
    "None": None,
}
# strings are unchanged; outside them `@` becomes the operator that no line may use otherwise
MARKS = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[@~]""")
STRINGS = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\"""")
PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
# What Python cannot read as a name. True, False and None are values of a line.
KEYWORDS = frozenset(kwlist) - set(WORDS)
KEYWORD = re.compile(rf"\b({'|'.join(sorted(KEYWORDS))})\b")
EXAMPLE = "for example `memory: concat(both.vision, both.text)`"


@dataclass(frozen=True)
class Ref:
    """A stream that is used: its name, its field (`both.vision`), and whether averaged (`ema`).

    The name of a stream of a call has dots (`losses.both`); a field is always one word.
    """

    stream: str
    field: str | None = None
    ema: bool = False
    place: Location = dataclasses.field(default=NOWHERE, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The stream with its field, as it is written without `ema`."""
        return self.stream if self.field is None else f"{self.stream}.{self.field}"

    @property
    def local_name(self) -> str:
        """The name without the call that it is in, for what a user may paste into a definition."""
        site = self.place.call
        return self.name if site is None else self.name.removeprefix(f"{site.name}.")

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the name, which dots separate."""
        return tuple(self.name.split("."))

    def __str__(self) -> str:
        return f"ema({self.name})" if self.ema else self.name


def make_ref(words: Sequence[str], ema: bool = False, place: Location = NOWHERE) -> Ref:
    """Return the stream that some words name; the last of several is its field."""
    if len(words) == 1:
        return Ref(words[0], None, ema, place)
    return Ref(".".join(words[:-1]), words[-1], ema, place)


@dataclass(frozen=True)
class ModuleRef:
    """A module that is handed to an operation: `@decoder`."""

    name: str
    place: Location = dataclasses.field(default=NOWHERE, compare=False, repr=False)

    def __str__(self) -> str:
        return f"@{self.name}"


@dataclass(frozen=True)
class Literal:
    """A value that is written in the line itself."""

    value: Any
    place: Location = dataclasses.field(default=NOWHERE, compare=False, repr=False)

    def __str__(self) -> str:
        return repr(self.value)


Argument = Ref | ModuleRef | Literal


@dataclass(frozen=True)
class Equation:
    """`name: callee(positional, key=value)`: one named stream and the call that computes it."""

    name: str
    callee: str
    positional: tuple[Ref | ModuleRef, ...] = ()
    keywords: dict[str, Argument] = dataclasses.field(default_factory=dict)
    place: Location = dataclasses.field(default=NOWHERE, compare=False, repr=False)
    text: str = dataclasses.field(default="", compare=False, repr=False)
    keys: dict[str, Location] = dataclasses.field(
        default_factory=dict, compare=False, repr=False
    )

    def arguments(self) -> Iterator[Argument]:
        """Yield all arguments, the positional ones first."""
        yield from self.positional
        yield from self.keywords.values()

    def refs(self) -> Iterator[Ref]:
        """Yield the streams that the line uses."""
        return (argument for argument in self.arguments() if isinstance(argument, Ref))

    def modules(self) -> Iterator[ModuleRef]:
        """Yield the modules that the line hands on by `@`."""
        return (
            argument for argument in self.arguments() if isinstance(argument, ModuleRef)
        )

    def write(self) -> str:
        """Return the call as a line of text."""
        written = [str(argument) for argument in self.positional]
        for name, argument in self.keywords.items():
            written.append(f"{name}={argument}")
        return f"{self.callee}({', '.join(written)})"


def name_problem(name: str) -> str:
    """Return why a name cannot be used in flow lines, or an empty text."""
    if name in WORDS:
        return f"'{name}' is a value in flow lines, so it cannot be a name"
    if name in KEYWORDS:
        return f"'{name}' is a Python keyword, so no flow line can use it"
    return ""


def read_equation(name: str, node: Node) -> Equation:
    """Return the equation that a node of `flow` holds; raise `SpecError` at what does not belong there."""
    require(node, Node, "node")
    if not isinstance(node.value, str):
        raise SpecError.at(
            node.place, f"'{name}' must be one call, but is {_what(node)}", EXAMPLE
        )
    return _Reader(node).equation(name)


def read_ref(node: Node) -> Ref:
    """Return the stream that a node of `goals` names (`loss`, `both.vision`); raise `SpecError`."""
    text = node.value
    if isinstance(text, str) and re.fullmatch(r"ema\s*\(.*\)", text.strip(), re.DOTALL):
        message = (
            f"an output must be a stream of the flow, but `{text}` is an averaged one"
        )
        hint = "ema(...) is for the arguments of flow lines: return the stream of a line that reads it"
        raise SpecError.at(node.place, message, hint)
    if not isinstance(text, str) or not PATH.fullmatch(text):
        raise SpecError.at(
            node.place,
            f"an output must be a stream, but is {_what(node)}",
            "`loss: loss`",
        )
    return make_ref(text.split("."), False, node.place)


def _what(node: Node) -> str:
    kind = {dict: "a mapping", list: "a list", type(None): "empty"}.get(type(node.value))
    return kind or repr(node.value)


def _is_ramp(tree: ast.expr) -> TypeGuard[ast.Call]:
    return (
        isinstance(tree, ast.Call)
        and isinstance(tree.func, ast.Name)
        and tree.func.id == RAMP
    )


class _Reader:
    """Reads one line; every complaint is placed at its own token in the file."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.text = node.value

    def equation(self, name: str) -> Equation:
        call = self.parse()
        if not isinstance(call, ast.Call):
            raise self.wrong(call, f"'{name}' must be one call", EXAMPLE)
        if not isinstance(call.func, ast.Name):
            raise self.wrong(
                call.func,
                "what is called must be the name of a module or an operation",
                EXAMPLE,
            )
        keywords: dict[str, Argument] = {}
        keys: dict[str, Location] = {}
        for keyword in call.keywords:
            if keyword.arg is None:
                raise self.wrong(
                    keyword.value, "a line has no `**`: write each keyword out"
                )
            if keyword.arg in keywords:
                raise self.wrong(keyword, f"'{keyword.arg}' is given twice")
            keywords[keyword.arg] = self.argument(keyword.value)
            keys[keyword.arg] = self.place(keyword)
        positional = tuple(self.positional(argument) for argument in call.args)
        return Equation(
            name, call.func.id, positional, keywords, self.place(call), self.text, keys
        )

    def parse(self) -> ast.expr:
        if len(self.text) > LONGEST:
            raise self.wrong(
                0,
                f"a line must have at most {LONGEST} characters, but has {len(self.text)}",
            )

        def replace(mark: re.Match[str]) -> str:
            if mark.group() == "~":
                raise self.wrong(mark.start(), "'~' means nothing here")
            return "~" if mark.group() == "@" else mark.group()

        self.marked = MARKS.sub(replace, self.text)
        # a line may be folded: joined, its offsets are those of the text
        line = re.sub(r"\s", " ", self.marked)
        indent = len(line) - len(line.lstrip())
        try:
            tree = ast.parse("(" + line[indent:] + "\n)", mode="eval").body
        except SyntaxError as error:
            self.refuse_keyword(error)
            at = max(
                0, min((error.offset or 1) - 2 + indent, len(self.text.rstrip()) - 1)
            )
            torn = "was never closed" in error.msg
            hint = (
                f"quote a line within {{ }}: `'{self.text}, ...)'`" if torn else EXAMPLE
            )
            raise self.wrong(
                at, f"not a call that can be read: {error.msg}", hint
            ) from None
        except (ValueError, RecursionError, MemoryError):
            raise self.wrong(0, "not a call that can be read", EXAMPLE) from None
        self.encoded, self.indent = line[indent:].encode(), indent
        return tree

    def refuse_keyword(self, error: SyntaxError) -> None:
        """Raise `SpecError` if a word of the line that cannot be read is a keyword of Python."""
        if "unterminated" in error.msg:
            return
        # Strings keep their length, so that the position of the keyword is right.
        blanked = STRINGS.sub(lambda string: " " * len(string.group()), self.marked)
        word = KEYWORD.search(blanked)
        if word is not None:
            hint = "rename the stream, module or option of that name"
            raise self.wrong(word.start(), name_problem(word.group()), hint) from None

    def place(self, at: ast.AST | int) -> Location:
        """Return the place of an offset into the text, or of a part of the line."""
        if isinstance(at, int):
            return self.node.at(at)
        column = max(0, getattr(at, "col_offset", 1) - 1)  # after the bracket, in bytes
        return self.node.at(
            self.indent + len(self.encoded[:column].decode(errors="ignore"))
        )

    def wrong(self, at: ast.AST | int, message: str, hint: str = "") -> SpecError:
        return SpecError.at(self.place(at), message, hint)

    def positional(self, tree: ast.expr) -> Ref | ModuleRef:
        argument = self.argument(tree)
        if isinstance(argument, Literal):
            message = f"a value must be given by keyword, but {argument.value!r} is not"
            raise self.wrong(tree, message, f"`name={argument.value!r}`")
        return argument

    def argument(self, tree: ast.expr) -> Argument:
        """Return a stream, a module, or a literal."""
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Invert):
            if not isinstance(tree.operand, ast.Name):
                raise self.wrong(tree, "'@' must precede the name of a module")
            return ModuleRef(tree.operand.id, self.place(tree))
        if isinstance(tree, ast.Call) and not _is_ramp(tree):
            return self.average(tree)
        if (isinstance(tree, ast.Name) and tree.id not in WORDS) or isinstance(
            tree, ast.Attribute
        ):
            return self.stream(tree)
        return Literal(self.literal(tree), self.place(tree))

    def average(self, tree: ast.Call) -> Ref:
        """Return the stream in `ema(stream)`, the only call inside a call."""
        called = tree.func.id if isinstance(tree.func, ast.Name) else "..."
        if called != "ema":
            hint = f"give it a separate line: `name: {called}(...)`, and use `name` here"
            raise self.wrong(tree, "calls are never nested, except for ema(stream)", hint)
        if (
            len(tree.args) != 1
            or tree.keywords
            or not isinstance(tree.args[0], ast.Name | ast.Attribute)
        ):
            raise self.wrong(
                tree, "ema(...) must hold one stream", "`teacher=ema(logits)`"
            )
        ref = self.stream(tree.args[0])
        return Ref(ref.stream, ref.field, True, self.place(tree))

    def stream(self, tree: ast.expr) -> Ref:
        """Return a stream: a name, with a field, or with the words that lead into a call."""
        words: list[str] = []
        node = tree
        while isinstance(node, ast.Attribute):
            words.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id in WORDS:
            raise self.wrong(
                tree, "a stream must be a name, or names joined by dots", "`both.vision`"
            )
        words.append(node.id)
        return make_ref(words[::-1], False, self.place(tree))

    def literal(self, tree: ast.expr) -> Any:
        """Return the value of a literal: number, string, truth value, None, or a list or tuple of such."""
        if isinstance(tree, ast.Name) and tree.id in WORDS:
            return WORDS[tree.id]
        if isinstance(tree, ast.Constant) and isinstance(
            tree.value, bool | int | float | str | None
        ):
            return tree.value
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub | ast.UAdd):
            value = self.literal(tree.operand)
            if isinstance(value, int | float) and not isinstance(value, bool):
                return -value if isinstance(tree.op, ast.USub) else value
        if isinstance(tree, ast.List | ast.Tuple):
            return [self.literal(element) for element in tree.elts]
        if _is_ramp(tree):
            return read_ramp(tree, self.literal, self.wrong)
        raise self.wrong(
            tree, "an argument must be a stream, @module, ema(stream) or a plain value"
        )
