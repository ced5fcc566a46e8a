"""A definition of a sub-flow, an entry of the section `define`: parameters, lines, and what a call returns.

define:
  encode(text, @encoder):       # streams, and modules written with @
    embeds: text_embedding(text)
    return: encoder(embeds)     # one stream, one call, or {part: stream}
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from registry.errors import NOWHERE, Location
from registry.language.equation import Equation, Ref

RETURN = "return"
Returns = Ref | Equation | dict[str, Ref]


@dataclass(frozen=True)
class Definition:
    """A sub-flow: parameters that are streams or modules, lines, and what a call returns."""

    name: str
    # Whether each parameter is a module (True) or a stream, in the order of a call.
    parameters: dict[str, bool]
    lines: dict[str, Equation]
    returns: Returns
    place: Location = field(default=NOWHERE, compare=False, repr=False)

    @property
    def header(self) -> str:
        """The key of the definition in a spec."""
        parameters = [
            f"@{name}" if is_module else name
            for name, is_module in self.parameters.items()
        ]
        return f"{self.name}({', '.join(parameters)})"

    def equations(self) -> Iterator[Equation]:
        """Yield the lines, and the call that is returned, if one is."""
        yield from self.lines.values()
        if isinstance(self.returns, Equation):
            yield self.returns

    def returned_refs(self) -> list[Ref]:
        """Return the streams that the definition returns by name."""
        if isinstance(self.returns, dict):
            return list(self.returns.values())
        return [self.returns] if isinstance(self.returns, Ref) else []

    def resolved(self) -> dict[str, Any]:
        """Return the definition as a plain mapping, as a spec writes it."""
        lines: dict[str, Any] = {name: line.text for name, line in self.lines.items()}
        if isinstance(self.returns, dict):
            lines[RETURN] = {part: str(ref) for part, ref in self.returns.items()}
        elif isinstance(self.returns, Equation):
            # As it was written: the numbers and quotes of the file stay.
            lines[RETURN] = self.returns.text
        else:
            lines[RETURN] = str(self.returns)
        return lines
