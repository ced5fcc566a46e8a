"""Arguments of tasks and sources: mistakes that the framework reports at their position in the spec."""

from __future__ import annotations

from registry.errors import UserError


class ArgumentError(UserError):
    """A value that a task or source cannot use; whoever builds it from a spec adds the position."""

    def __init__(self, argument: str, message: str) -> None:
        """Take the name of the argument and what is wrong with its value."""
        super().__init__(message)
        self.argument = argument


def at_least(least: int, **arguments: float | None) -> None:
    """Raise `ArgumentError` for an argument below ``least``; None means that an argument is not set."""
    for name, value in arguments.items():
        if value is not None and value < least:
            raise ArgumentError(
                name, f"{name} must be at least {least}, but is {value}"
            )
