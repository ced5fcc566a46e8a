"""Exceptions of evaluators and metrics, reported with the evaluation, the code that failed and its line."""

from __future__ import annotations

import contextlib
import inspect
import traceback
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

from mplug2.metrics.metric import Row
from registry import SpecError, UserError
from registry.evaluations import EvaluationSpec

if TYPE_CHECKING:
    from mplug2.eval.evaluator import Evaluator

HINT = "MPLUG2_DEBUG=1 prints the traceback"


@contextlib.contextmanager
def failures_of(
    evaluation: EvaluationSpec, description: str, owner: Any
) -> Iterator[None]:
    """Raise every exception of ``owner`` as `UserError` at the place of its evaluation.

    ``description`` names it in the message: "evaluator 'rows'". The message has the last line of the code of
    ``owner`` that ran, or for None the last line at all. The exception itself stays the cause.
    A `UserError` passes unchanged: its message is written for users.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        # A KeyError shows its message in quotes.
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        message = f"{description} failed with {type(error).__name__}: {text} ({_line_of(error, owner)})"
        if not evaluation.place.file:
            raise UserError(f"{evaluation.label}: {message}. {HINT}") from error
        raise SpecError.at(evaluation.place, message, HINT) from error


def check_values(values: Any) -> Mapping[str, float]:
    """Return values by name; raise `TypeError` if they are anything else."""
    if not isinstance(values, Mapping):
        raise TypeError(
            f"compute() must return values by name, but they are {type(values).__name__}"
        )
    for name, value in values.items():
        if not isinstance(value, Real):
            raise TypeError(
                f"the value '{name}' must be a number, but is {type(value).__name__}"
            )
    return values


class CheckedEvaluator:
    """An evaluator whose exceptions and wrong results are reported at the place of its evaluation."""

    def __init__(
        self, evaluator: Evaluator, evaluation: EvaluationSpec, name: str
    ) -> None:
        self.evaluator, self.evaluation = evaluator, evaluation
        self.description = f"evaluator '{name}'"

    @property
    def goals(self) -> Sequence[str]:
        """The goals of the evaluator."""
        with self._failures():
            return self.evaluator.goals

    def update(self, outputs: Mapping[str, Any], records: Sequence[Row]) -> None:
        """Hand the outputs of one goal to the evaluator."""
        with self._failures():
            self.evaluator.update(outputs, records)

    def compute(self) -> tuple[Mapping[str, float], Sequence[Row]]:
        """Return values and rows of the evaluator."""
        with self._failures():
            result = self.evaluator.compute()
            if not isinstance(result, tuple) or len(result) != 2:
                raise TypeError(
                    f"compute() must return (values, rows), but returned {type(result).__name__}"
                )
            values, rows = result
            return check_values(values), list(rows)

    def _failures(self) -> contextlib.AbstractContextManager[None]:
        return failures_of(self.evaluation, self.description, self.evaluator)


def _line_of(error: Exception, owner: Any) -> str:
    """Return FILE:LINE of the last call in the file of ``owner``; of the exception if there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    if owner is None:
        return f"{frames[-1].filename}:{frames[-1].lineno}"
    defined = (
        owner if inspect.isclass(owner) or inspect.isroutine(owner) else type(owner)
    )
    try:
        file = inspect.getsourcefile(defined)
    except TypeError:  # It was defined without a file, in a notebook.
        file = None
    in_file = [frame for frame in frames if frame.filename == file]
    if in_file:
        return f"{file}:{in_file[-1].lineno}"
    # What it returned was refused, outside its file.
    if file is not None:
        with contextlib.suppress(OSError, TypeError):
            return f"{file}:{inspect.getsourcelines(defined)[1]}"
    return f"{frames[-1].filename}:{frames[-1].lineno}"
