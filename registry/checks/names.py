"""Check stage 2, names: sections, keys, modules, arguments, ports, streams, goals, metrics, and patterns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property

from registry.checks.conditions import check_conditions
from registry.checks.deleted import deleted_message, stream_deleted, stream_users
from registry.checks.inference import may_be_left_out
from registry.checks.initial import check_init
from registry.checks.patterns import check_patterns
from registry.checks.settings import check_settings
from registry.checks.ties import check_ties
from registry.errors import Location, Problem, UserError
from registry.language.binding import bind, value_problem
from registry.language.declaration import Declaration
from registry.language.equation import Equation, ModuleRef, Ref
from registry.language.expansion import Call
from registry.language.parts import with_parts
from registry.language.schema import SECTIONS
from registry.language.spec import ModuleEntry, Spec
from registry.planner import absent_outputs, declaration_of
from registry.registries import Registries, Registry, closest_name

RESERVED = ("ema",)
# Names that are compared for suggestions, in half a second; mistakes after these have none.
COMPARED = 50_000


def check_names(spec: Spec, names: Registries) -> list[Problem]:
    """Return every problem of names in a spec; the declarations are read, nothing is imported."""
    checker = _Checker(spec, names)
    checker.sections()
    for module in spec.modules.values():
        checker.module(module)
    checker.definitions()
    for equation in spec.flow.values():
        checker.equation(equation)
    checker.goals()
    problems = checker.problems + check_patterns(spec) + check_settings(spec, names)
    problems += check_init(spec, names) + check_ties(spec)
    # Values of another type than declared, and unknown modules, come first.
    return problems or check_conditions(spec, names)


class _Checker:
    def __init__(self, spec: Spec, names: Registries) -> None:
        self.spec, self.names = spec, names
        self.problems: list[Problem] = []
        self.compared = 0

    def wrong(self, place: Location, message: str, hint: str = "") -> None:
        self.problems.append(Problem(place, message, hint))

    def unknown(
        self,
        place: Location,
        what: str,
        name: str,
        known: Iterable[str],
        otherwise: str = "",
    ) -> None:
        """Report an unknown name with the nearest known one, or with another hint."""
        known = list(known)
        self.compared += len(known)
        hint = ""
        if self.compared <= COMPARED:
            hint = (
                f"did you mean '{near}'?"
                if (near := closest_name(name, known))
                else otherwise
            )
        self.wrong(place, f"unknown {what} '{name}'", hint)

    def sections(self) -> None:
        for key, node in self.spec.tree.value.items():
            if key not in SECTIONS:
                listed = f"sections: {', '.join(SECTIONS)}"
                self.unknown(node.key or node.place, "section", key, SECTIONS, listed)
        for name in self.spec.written.flow:
            place = self.spec.key_place("flow", name)
            if name in self.spec.inputs:
                first = self.spec.key_place("inputs", name).seen_from(place)
                self.wrong(
                    place,
                    f"'{name}' is an input already (set at {first})",
                    "give the stream another name",
                )
        for name in (*self.spec.modules, *self.spec.written.flow):
            section = "modules" if name in self.spec.modules else "flow"
            if name in RESERVED:
                self.wrong(
                    self.spec.key_place(section, name),
                    f"'{name}' has a special meaning in flow lines",
                )

    @cached_property
    def users(self) -> dict[str, list[str]]:
        """The lines and goals that read each stream."""
        return stream_users(self.spec)

    def definitions(self) -> None:
        """Report definitions with the name of a module or operation, and arguments that do not exist."""
        for name, definition in self.spec.definitions.items():
            if name in self.spec.modules:
                first = self.spec.key_place("modules", name).seen_from(definition.place)
                message = f"'{name}' is a module (set at {first}) and a definition"
                self.wrong(definition.place, message, "give the definition another name")
            elif name in self.names.operations:
                message = f"'{name}' is an operation and a definition"
                self.wrong(definition.place, message, "give the definition another name")
        for call in self.spec.expansion.calls.values():
            self.hidden_outputs(call)
            for argument in call.arguments.values():
                if isinstance(argument, ModuleRef) and call.outer is not None:
                    module = call.outer.modules.get(argument.name, argument.name)
                    self.module_ref(
                        replace(
                            argument, name=module, place=call.outer.at(argument.place)
                        )
                    )

    def hidden_outputs(self, call: Call) -> None:
        """Report lines of a definition with the name of an output of the stream that it returns."""
        returned = self.spec.stream(call.name)
        equation = self.spec.flow.get(returned.stream)
        if call.definition is None or equation is None or returned.field is not None:
            return
        try:
            outputs = declaration_of(self.spec, equation, self.names).outputs
        except UserError:  # Reported where the line is checked.
            return
        for name in outputs:
            line = call.definition.lines.get(name)
            if line is not None:
                message = f"line '{name}' of definition '{call.definition.name}' hides the output '{name}'"
                message += " of the stream that it returns"
                self.wrong(
                    replace(line.place, call=call.site),
                    message,
                    "give the line another name",
                )

    def module(self, module: ModuleEntry) -> None:
        registry, place = self.names.modules, module.places["use"]
        if module.use not in registry:
            operation = module.use in self.names.operations
            hint = (
                "it is an operation: call it in `flow` by that name" if operation else ""
            )
            self.unknown(
                place, "module", module.use, registry.names(), hint or _listed(registry)
            )
            return
        declaration = self.declared(registry, module.use, place)
        if declaration is None:
            return
        arguments = declaration.arguments
        unknown = [name for name in module.arguments if name not in arguments]
        for name in unknown:
            key = self.spec.key_place("modules", module.name, name)
            if name in declaration.options:
                hint = (
                    f"set it where the module is called: `{module.name}(..., {name}=...)`"
                )
                self.wrong(
                    key,
                    f"'{name}' is an option of calls of '{module.use}', not an argument",
                    hint,
                )
            else:
                listed = f"arguments of '{module.use}': {', '.join(arguments) or 'none'}"
                self.unknown(key, f"argument of '{module.use}':", name, arguments, listed)
        meant = {closest_name(name, arguments) for name in unknown}
        for name, parameter in arguments.items():
            if name in module.arguments:
                value, where = module.arguments[name], module.places[name]
                problem = value_problem(
                    f"argument '{name}' of '{module.use}'", parameter, value, where
                )
                self.problems.extend([problem] if problem else [])
            elif (
                parameter.required
                and name not in meant
                and not may_be_left_out(declaration, name)
            ):
                message = f"module '{module.name}' ({module.use}) must set '{name}', but does not"
                self.wrong(
                    module.place,
                    message,
                    f"add `{name}: ...` ({parameter.annotation or 'any value'})",
                )

    def declared(
        self, registry: Registry, name: str, place: Location
    ) -> Declaration | None:
        try:
            return registry.declaration(name)
        except UserError as error:
            self.wrong(place, str(error))
            return None

    def equation(self, equation: Equation) -> None:
        spec = self.spec
        before, declaration = len(self.problems), self.called(equation)
        if declaration is not None:
            declaration = with_parts(declaration, equation)
        options = declaration.options if declaration is not None else {}
        quotable = [
            argument for key, argument in equation.keywords.items() if key in options
        ]  # `bind` wants quotes there
        for ref in (
            ref
            for ref in equation.refs()
            if not any(ref is argument for argument in quotable)
        ):
            self.stream(ref)
            if ref.ema and not spec.momentum:
                hint = "add the section `momentum: {decay: 0.995}`"
                self.wrong(
                    ref.place,
                    f"{ref} needs averaged weights, but there is no section 'momentum'",
                    hint,
                )
        for module in equation.modules():
            if not passed_module(spec, module.place, module.name):
                self.module_ref(module)
        if declaration is not None:
            # a module is not a stream
            reported = {problem.place for problem in self.problems[before:]}
            self.problems.extend(
                problem
                for problem in bind(equation, declaration)[1]
                if problem.place not in reported
            )

    def called(self, equation: Equation) -> Declaration | None:
        """Return the declaration of what an equation calls, or report why there is none."""
        spec, callee = self.spec, equation.callee
        if callee in spec.modules:
            use = spec.modules[
                callee
            ].use  # reported where the module is built, if at all
            return self.declared_quietly(use)
        if callee in self.names.operations:
            return self.declared(self.names.operations, callee, equation.place)
        if callee in self.names.modules:
            message = (
                f"'{callee}' is a registered module, but none is built here by that name"
            )
            self.wrong(
                equation.place,
                message,
                f"add to `modules`: `{callee}: {{use: {callee}, ...}}`",
            )
        elif passed_module(spec, equation.place, callee):
            pass  # Reported where the call of the definition passes it.
        elif message := deleted_message(spec, equation.place, "modules", callee):
            self.wrong(
                equation.place, message, f"set `modules.{callee}`, or call another module"
            )
        elif message := deleted_message(spec, equation.place, "define", callee):
            self.wrong(
                equation.place, message, f"define `{callee}(...)`, or call something else"
            )
        else:
            operations = self.names.operations.names()
            choices = [*spec.modules, *spec.definitions, *operations]
            listed = f"{_built(spec)}; operations: {', '.join(operations)}"
            if spec.definitions:
                listed += f"; definitions: {', '.join(spec.definitions)}"
            if takes_stream(spec, equation.place, callee):
                listed = f"'{callee}' is a stream parameter here: write `@{callee}` to take a module"
                choices = []
            self.unknown(equation.place, "module or operation", callee, choices, listed)
        return None

    def module_ref(self, module: ModuleRef) -> None:
        """Report a module that is passed on by `@` and does not exist."""
        if module.name in self.spec.modules:
            return
        if message := deleted_message(self.spec, module.place, "modules", module.name):
            self.wrong(
                module.place,
                message,
                f"set `modules.{module.name}`, or pass on another module",
            )
            return
        listed = _built(self.spec)
        if takes_stream(self.spec, module.place, module.name):
            listed = f"'{module.name}' is a stream parameter here: write `@{module.name}` to take a module"
        self.unknown(module.place, "module", module.name, self.spec.modules, listed)

    def declared_quietly(self, use: str) -> Declaration | None:
        try:
            return self.names.modules.declaration(use)
        except UserError:
            return None

    def stream(self, ref: Ref) -> None:
        """Report a stream that does not exist, or a field that it does not have."""
        spec = self.spec
        if ref.stream in spec.inputs:
            if ref.field is not None:
                self.wrong(
                    ref.place,
                    f"input '{ref.stream}' has no fields, but '{ref.name}' is used",
                )
            return
        if ref.stream not in spec.flow:
            if ref.stream in spec.modules:
                hint = f"pass it as `@{ref.stream}`, or call it in a separate line"
                self.wrong(ref.place, f"'{ref.stream}' is a module, not a stream", hint)
            elif message := stream_deleted(spec, ref, self.users):
                hint = f"set `{ref.stream}` again, or change what reads it"
                self.wrong(ref.place, message, hint)
            else:
                choices = visible_streams(spec, ref.place)
                listed = f"streams: {', '.join(choices) or 'none'}"
                self.unknown(ref.place, "stream", ref.stream, choices, listed)
            return
        try:
            declaration = declaration_of(spec, spec.flow[ref.stream], self.names)
        except UserError:  # reported at the line that computes the stream
            return
        outputs = declaration.outputs
        if tuple(outputs) == ("",):
            if ref.field is not None:
                message = f"'{ref.stream}' is one stream without fields, but '{ref.name}' is used"
                inner = _lines_of_call(spec, ref.stream)
                hint = f"write `{ref.stream}`" + (
                    f", or one of its lines: {inner}" if inner else ""
                )
                self.wrong(ref.place, message, hint)
        elif ref.field in outputs:
            self.optional_output(ref, declaration)
        elif ref.field is None and declaration.nameless:
            return
        elif ref.field is None:
            fields = ", ".join(f"{ref.stream}.{name}" for name in outputs)
            self.wrong(
                ref.place,
                f"'{ref.stream}' has several outputs: name one",
                f"one of {fields}",
            )
        else:
            streams = [f"{ref.stream}.{name}" if name else ref.stream for name in outputs]
            inner = _lines_of_call(spec, ref.stream)
            listed = f"one of {', '.join(streams)}" + (
                f"; lines: {inner}" if inner else ""
            )
            self.unknown(ref.place, "stream", ref.name, streams, listed)

    def optional_output(self, ref: Ref, declaration: Declaration) -> None:
        """Report an optional output that is read although the option that switches it on is not set."""
        equation = self.spec.flow[ref.stream]
        callee = equation.callee
        if ref.field not in absent_outputs(self.spec, equation, declaration):
            return
        option = declaration.off[ref.field]
        message = f"output '{ref.field}' of {callee} needs '{option}', which is not set, but '{ref.name}' is used"
        hint = f"set it where the module is built: `{callee}: {{..., {option}: ...}}`"
        if option in declaration.options:
            hint = f"set it in the call: `{ref.stream}: {callee}(..., {option}=...)`"
        self.wrong(ref.place, message, hint)

    def goals(self) -> None:
        if not self.spec.goals:
            place = self.spec.place("goals")
            self.wrong(
                place,
                "a spec must have goals, but has none",
                "add `goals: {train: {loss: loss}}`",
            )
        for goal, outputs in self.spec.goals.items():
            place = self.spec.key_place("goals", goal)
            if not outputs:
                self.wrong(
                    place,
                    f"goal '{goal}' must have outputs, but has none",
                    f"`{goal}: {{loss: loss}}`",
                )
            elif goal == "train" and "loss" not in outputs:
                self.wrong(
                    place,
                    "goal 'train' must have the output 'loss', but has not",
                    "`train: {loss: loss}`",
                )
            for ref in outputs.values():
                self.stream(ref)


def visible_streams(spec: Spec, place: Location) -> list[str]:
    """Return the streams that a line at a position may name."""
    streams = [*spec.written.flow, *spec.inputs]
    if place.call is None:
        return streams
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


def passed_module(spec: Spec, place: Location, name: str) -> bool:
    """Return whether a module came into a definition by a parameter."""
    return (
        place.call is not None
        and name in spec.expansion.calls[place.call.name].modules.values()
    )


def takes_stream(spec: Spec, place: Location, name: str) -> bool:
    """Return whether a name is a stream parameter of the definition that a position is in."""
    if place.call is None:
        return False
    return spec.definitions[place.call.definition].parameters.get(name) is False


def _built(spec: Spec) -> str:
    return f"modules: {', '.join(spec.modules) or 'none'}"


def _listed(registry: Registry) -> str:
    return f"registered {registry.kind}s: {', '.join(registry.names()) or 'none'}"
