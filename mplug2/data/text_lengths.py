"""Texts that no setting cuts, such as free answers, against the positions of the modules that read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from mplug2.data.sources.source import Source
from mplug2.data.text import Tokenizer
from registry import TASKS, Problem, Spec, SpecError, StreamType, plan
from registry.checks.conditions import argument_value
from registry.checks.data_limits import text_readers
from registry.registries import REGISTRIES
from registry.training import BatchSpec, training_plan

if TYPE_CHECKING:
    from registry.language.equation import Equation


def check_text_lengths(
    spec: Spec, types: Mapping[str, StreamType], batch: BatchSpec, source: Source
) -> None:
    """Raise `SpecError` if a text of a batch is longer than a module that reads it has positions.

    Only a task with ``uncut_texts`` is asked; the other texts are cut by settings, which `check` compares.
    """
    uncut_texts = getattr(source.task, "uncut_texts", None)
    if uncut_texts is None:
        return
    equations: dict[str, Equation] = {}
    for goal in training_plan(spec).goals_of(batch.name):
        equations.update({step.name: step.equation for step in plan(spec, goal).steps})

    problems: list[Problem] = []
    for name, texts in uncut_texts(source.items).items():
        if name not in types:
            continue
        for module, argument in text_readers(
            spec, types, REGISTRIES, name, equations.values()
        ):
            positions = argument_value(spec, REGISTRIES, module, argument)
            if not isinstance(positions, int):
                continue
            longest = longest_above(source.task.tokenizer, texts, positions)
            if longest is None:
                continue
            message = (
                f"{argument} of '{module}' must be at least {longest}, the tokens of the longest '{name}' "
                f"of split '{batch.split}', but is {positions}"
            )
            hint = f"write `{argument}: {longest}`{_cut(spec, batch, name, positions)}"
            problems.append(
                Problem(spec.place("modules", module, argument), message, hint)
            )
    if problems:
        raise SpecError(problems)


def longest_above(tokenizer: Tokenizer, texts: Iterable[str], limit: int) -> int | None:
    """Return the tokens ([CLS] included) of the longest text above ``limit`` of them; None without one."""
    longest = None
    for text in dict.fromkeys(texts):
        # A token holds at least a byte: most texts are short enough without a count of their tokens.
        if len(text.encode("utf-8", "surrogatepass")) + 1 <= limit:
            continue
        num_tokens = len(tokenizer.encode(text))
        if num_tokens > (longest or limit):
            longest = num_tokens
    return longest


def _cut(spec: Spec, batch: BatchSpec, name: str, positions: int) -> str:
    """Return the part of a hint that names the argument of the task which cuts a text; '' without one."""
    task = training_plan(spec).sources[batch.source].task
    argument = (
        TASKS.declaration(task).token_limits.get(name) if task is not None else None
    )
    return f", or cut the texts: `data.{argument}={positions}`" if argument else ""
