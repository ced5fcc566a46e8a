"""Check stage 2: the streams that lines and goals read: they exist, and so do their fields."""

from __future__ import annotations

from functools import cached_property

from registry.checks.deleted import stream_deleted, stream_users
from registry.checks.name_report import NameReport
from registry.errors import Location, UserError
from registry.language.declaration import Declaration
from registry.language.equation import Ref
from registry.language.spec import Spec
from registry.planner import absent_outputs, declaration_of


class StreamNames:
    """Checks the streams that a spec reads, one by one."""

    def __init__(self, report: NameReport) -> None:
        self.report, self.spec = report, report.spec

    @cached_property
    def users(self) -> dict[str, list[str]]:
        """The lines and goals that read each stream; only messages about deleted streams need them."""
        return stream_users(self.spec)

    def check(self, ref: Ref) -> None:
        """Report a stream that does not exist, or a field that it does not have."""
        if ref.stream in self.spec.inputs:
            if ref.field is not None:
                message = (
                    f"input '{ref.stream}' has no fields, but '{ref.name}' is used"
                )
                self.report.wrong(ref.place, message)
        elif ref.stream not in self.spec.flow:
            self.unknown(ref)
        else:
            self.check_field(ref)

    def unknown(self, ref: Ref) -> None:
        """Report a name that is not a stream: a module, a stream that was deleted, or a misspelt one."""
        if ref.stream in self.spec.modules:
            hint = f"pass it as `@{ref.stream}`, or call it in a separate line"
            message = f"'{ref.stream}' is a module, not a stream"
            self.report.wrong(ref.place, message, hint)
        elif message := stream_deleted(self.spec, ref, self.users):
            hint = f"set `{ref.stream}` again, or change what reads it"
            self.report.wrong(ref.place, message, hint)
        else:
            choices = visible_streams(self.spec, ref.place)
            listed = f"streams: {', '.join(choices) or 'none'}"
            self.report.unknown_name(ref.place, "stream", ref.stream, choices, listed)

    def check_field(self, ref: Ref) -> None:
        """Report a field that a line does not compute, and a line of several outputs without a field."""
        try:
            equation = self.spec.flow[ref.stream]
            declaration = declaration_of(self.spec, equation, self.report.names)
        except UserError:  # reported at the line that computes the stream
            return
        outputs = declaration.outputs
        lines_of_call = _lines_of_call(self.spec, ref.stream)
        # One output without a name: the stream is the output.
        if tuple(outputs) == ("",):
            if ref.field is not None:
                message = f"'{ref.stream}' is one stream without fields, but '{ref.name}' is used"
                hint = f"write `{ref.stream}`"
                if lines_of_call:
                    hint += f", or one of its lines: {lines_of_call}"
                self.report.wrong(ref.place, message, hint)
        elif ref.field in outputs:
            self.check_optional(ref, declaration)
        elif ref.field is None:
            if not declaration.nameless:
                fields = ", ".join(f"{ref.stream}.{name}" for name in outputs)
                message = f"'{ref.stream}' has several outputs: name one"
                self.report.wrong(ref.place, message, f"one of {fields}")
        else:
            streams = [
                f"{ref.stream}.{name}" if name else ref.stream for name in outputs
            ]
            listed = f"one of {', '.join(streams)}"
            if lines_of_call:
                listed += f"; lines: {lines_of_call}"
            self.report.unknown_name(ref.place, "stream", ref.name, streams, listed)

    def check_optional(self, ref: Ref, declaration: Declaration) -> None:
        """Report an optional output that is read although the option that switches it on is not set."""
        equation = self.spec.flow[ref.stream]
        callee = equation.callee
        if ref.field not in absent_outputs(self.spec, equation, declaration):
            return
        option = declaration.off[ref.field]
        message = f"output '{ref.field}' of {callee} needs '{option}', which is not set, but '{ref.name}' is used"
        # An argument belongs to the module, an option to the call.
        hint = f"set it where the module is built: `{callee}: {{..., {option}: ...}}`"
        if option in declaration.options:
            hint = f"set it in the call: `{ref.stream}: {callee}(..., {option}=...)`"
        self.report.wrong(ref.place, message, hint)


def visible_streams(spec: Spec, place: Location) -> list[str]:
    """Return the streams that a line at a position may name."""
    streams = [*spec.written.flow, *spec.inputs]
    if place.call is None:
        return streams
    # Within a definition its parameters and lines come first: they hide streams of the same name.
    definition = spec.definitions[place.call.definition]
    parameters = [
        name for name, is_module in definition.parameters.items() if not is_module
    ]
    return list(dict.fromkeys([*parameters, *definition.lines, *streams]))


def _lines_of_call(spec: Spec, stream: str) -> str:
    """Return the lines of the call that computes a stream, for messages; an empty text if none does."""
    call = spec.expansion.calls.get(stream)
    if call is None or call.definition is None:
        return ""
    return ", ".join(f"{stream}.{line}" for line in call.definition.lines)
