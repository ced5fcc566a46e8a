"""Reads flow lines and the streams of goals: Python in form, so `ast` parses them, with places in the YAML file."""

from __future__ import annotations

import ast
import re
from typing import Any, TypeGuard

from registry.errors import Location, SpecError, require
from registry.language.equation import (
    KEYWORDS,
    WORDS,
    Argument,
    Equation,
    Literal,
    ModuleRef,
    Ref,
    make_ref,
    name_problem,
)
from registry.language.ramp import NAME as RAMP
from registry.language.ramp import read_ramp
from registry.yaml.tree import Node

# A bound for text of strangers: `ast.parse` of deep nesting ends in RecursionError or MemoryError.
LONGEST = 4000
# `@` becomes `~`, an operator of Python that no line may use otherwise. Strings are matched first, so that
# a mark within one is kept.
MARKS = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[@~]""")
STRINGS = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\"""")
PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
KEYWORD = re.compile(rf"\b({'|'.join(sorted(KEYWORDS))})\b")
EXAMPLE = "for example `memory: concat(both.vision, both.text)`"


def read_equation(name: str, node: Node) -> Equation:
    """Return the equation that a node of `flow` holds; raise `SpecError` at what does not belong there."""
    require(node, Node, "node")
    if not isinstance(node.value, str):
        message = f"'{name}' must be one call, but is {_what(node)}"
        raise SpecError.at(node.place, message, EXAMPLE)
    return _LineReader(node).equation(name)


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
        message = f"an output must be a stream, but is {_what(node)}"
        raise SpecError.at(node.place, message, "`loss: loss`")
    return make_ref(text.split("."), False, node.place)


def is_torn(node: Node) -> bool:
    """Return whether a bracket of a line is not closed: within { }, YAML ends a value at a comma."""
    return isinstance(node.value, str) and node.value.count("(") > node.value.count(")")


def _what(node: Node) -> str:
    kind = {dict: "a mapping", list: "a list", type(None): "empty"}.get(
        type(node.value)
    )
    return kind or repr(node.value)


def _is_ramp(tree: ast.expr) -> TypeGuard[ast.Call]:
    return (
        isinstance(tree, ast.Call)
        and isinstance(tree.func, ast.Name)
        and tree.func.id == RAMP
    )


class _LineReader:
    """Reads one line; each problem is placed at its token in the file."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.text = node.value

    def equation(self, name: str) -> Equation:
        call = self.parse()
        if not isinstance(call, ast.Call):
            raise self.wrong(call, f"'{name}' must be one call", EXAMPLE)
        if not isinstance(call.func, ast.Name):
            message = "what is called must be the name of a module or an operation"
            raise self.wrong(call.func, message, EXAMPLE)
        keywords: dict[str, Argument] = {}
        keys: dict[str, Location] = {}
        for keyword in call.keywords:
            if keyword.arg is None:
                message = "a line has no `**`: write each keyword out"
                raise self.wrong(keyword.value, message)
            if keyword.arg in keywords:
                raise self.wrong(keyword, f"'{keyword.arg}' is given twice")
            keywords[keyword.arg] = self.argument(keyword.value)
            keys[keyword.arg] = self.place(keyword)
        positional = tuple(self.positional(argument) for argument in call.args)
        return Equation(
            name, call.func.id, positional, keywords, self.place(call), self.text, keys
        )

    def parse(self) -> ast.expr:
        """Return the syntax tree of the line."""
        if len(self.text) > LONGEST:
            message = f"a line must have at most {LONGEST} characters, but has {len(self.text)}"
            raise self.wrong(0, message)

        def replace(mark: re.Match[str]) -> str:
            if mark.group() == "~":
                raise self.wrong(mark.start(), "'~' means nothing here")
            return "~" if mark.group() == "@" else mark.group()

        self.marked = MARKS.sub(replace, self.text)
        # A line may be folded: joined, its offsets are those of the text.
        line = re.sub(r"\s", " ", self.marked)
        indent = len(line) - len(line.lstrip())
        try:
            # The newline keeps a comment in the line from hiding the closing bracket.
            tree = ast.parse("(" + line[indent:] + "\n)", mode="eval").body
        except SyntaxError as error:
            self.refuse_keyword(error)
            # Offsets of errors count from 1, and the opening bracket comes before the line.
            offset = (error.offset or 1) - 2 + indent
            last = len(self.text.rstrip()) - 1
            hint = EXAMPLE
            if "was never closed" in error.msg:  # torn apart at a comma
                hint = f"quote a line within {{ }}: `'{self.text}, ...)'`"
            message = f"not a call that can be read: {error.msg}"
            raise self.wrong(max(0, min(offset, last)), message, hint) from None
        except (ValueError, RecursionError, MemoryError):
            raise self.wrong(0, "not a call that can be read", EXAMPLE) from None
        # Columns of `ast` count bytes of UTF-8, those of the file count characters.
        self.encoded, self.indent = line[indent:].encode(), indent
        return tree

    def refuse_keyword(self, error: SyntaxError) -> None:
        """Raise `SpecError` if a word of the line that cannot be read is a keyword of Python."""
        if "unterminated" in error.msg:  # a string without an end may hold any word
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
        text_before = self.encoded[:column].decode(errors="ignore")
        return self.node.at(self.indent + len(text_before))

    def wrong(self, at: ast.AST | int, message: str, hint: str = "") -> SpecError:
        return SpecError.at(self.place(at), message, hint)

    def positional(self, tree: ast.expr) -> Ref | ModuleRef:
        argument = self.argument(tree)
        # Options have no order, so a value without its name would mean nothing.
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
        # A ramp is a value that follows the progress of training, though it looks like a call.
        if isinstance(tree, ast.Call) and not _is_ramp(tree):
            return self.average(tree)
        is_name = isinstance(tree, ast.Name) and tree.id not in WORDS
        if is_name or isinstance(tree, ast.Attribute):
            return self.stream(tree)
        return Literal(self.literal(tree), self.place(tree))

    def average(self, tree: ast.Call) -> Ref:
        """Return the stream in `ema(stream)`, the only call inside a call."""
        callee = tree.func.id if isinstance(tree.func, ast.Name) else "..."
        if callee != "ema":
            hint = (
                f"give it a separate line: `name: {callee}(...)`, and use `name` here"
            )
            raise self.wrong(
                tree, "calls are never nested, except for ema(stream)", hint
            )
        is_single = len(tree.args) == 1 and not tree.keywords
        if not is_single or not isinstance(tree.args[0], ast.Name | ast.Attribute):
            message = "ema(...) must hold one stream"
            raise self.wrong(tree, message, "`teacher=ema(logits)`")
        ref = self.stream(tree.args[0])
        return Ref(ref.stream, ref.field, True, self.place(tree))

    def stream(self, tree: ast.expr) -> Ref:
        """Return a stream: a name, with a field, or with the words that lead into a call."""
        words: list[str] = []
        node = tree
        # `a.b.c` is the attribute `c` of `a.b`: the tree holds the words from the last to the first.
        while isinstance(node, ast.Attribute):
            words.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id in WORDS:
            message = "a stream must be a name, or names joined by dots"
            raise self.wrong(tree, message, "`both.vision`")
        words.append(node.id)
        return make_ref(words[::-1], False, self.place(tree))

    def literal(self, tree: ast.expr) -> Any:
        """Return the value of a literal: number, string, truth value, None, or a list or tuple of such."""
        if isinstance(tree, ast.Name) and tree.id in WORDS:
            return WORDS[tree.id]
        # Not bytes, complex numbers or `...`, which YAML and JSON cannot hold.
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
        message = "an argument must be a stream, @module, ema(stream) or a plain value"
        raise self.wrong(tree, message)
