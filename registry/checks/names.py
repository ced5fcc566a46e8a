"""Check stage 2, names: sections, definitions, flow lines and goals; then settings, patterns and conditions."""

from __future__ import annotations

from dataclasses import replace

from registry.checks.conditions import check_conditions
from registry.checks.deleted import deleted_message
from registry.checks.initial import check_init
from registry.checks.module_names import check_module
from registry.checks.name_report import NameReport
from registry.checks.patterns import check_patterns
from registry.checks.settings import check_settings
from registry.checks.stream_names import StreamNames
from registry.checks.ties import check_ties
from registry.errors import Location, Problem, UserError
from registry.language.binding import bind
from registry.language.declaration import Declaration
from registry.language.equation import Equation, ModuleRef, Ref
from registry.language.expansion import Call
from registry.language.parts import with_parts
from registry.language.schema import SECTIONS
from registry.language.spec import Spec
from registry.planner import declaration_of
from registry.registries import Registries

RESERVED = ("ema",)


def check_names(spec: Spec, names: Registries) -> list[Problem]:
    """Return every problem of names in a spec; the declarations are read, nothing is imported."""
    report = NameReport(spec, names)
    checker = _Checker(report)
    checker.sections()
    for module in spec.modules.values():
        check_module(report, module)
    checker.definitions()
    for equation in spec.flow.values():
        checker.equation(equation)
    checker.goals()
    problems = report.problems + check_patterns(spec) + check_settings(spec, names)
    problems += check_init(spec, names) + check_ties(spec)
    # Values of another type than declared, and unknown modules, come first.
    return problems or check_conditions(spec, names)


class _Checker:
    def __init__(self, report: NameReport) -> None:
        self.report = report
        self.spec, self.names = report.spec, report.names
        self.streams = StreamNames(report)

    def sections(self) -> None:
        """Report unknown sections, and names that are used twice or have a meaning in flow lines."""
        for key, node in self.spec.tree.value.items():
            if key not in SECTIONS:
                listed = f"sections: {', '.join(SECTIONS)}"
                key_place = node.key or node.place
                self.report.unknown_name(key_place, "section", key, SECTIONS, listed)
        for name in self.spec.written.flow:
            if name in self.spec.inputs:
                place = self.spec.key_place("flow", name)
                first = self.spec.key_place("inputs", name).seen_from(place)
                message = f"'{name}' is an input already (set at {first})"
                self.report.wrong(place, message, "give the stream another name")
        for name in (*self.spec.modules, *self.spec.written.flow):
            if name in RESERVED:
                section = "modules" if name in self.spec.modules else "flow"
                message = f"'{name}' has a special meaning in flow lines"
                self.report.wrong(self.spec.key_place(section, name), message)

    def definitions(self) -> None:
        """Report definitions with the name of a module or operation, and arguments that do not exist."""
        for name, definition in self.spec.definitions.items():
            if name in self.spec.modules:
                first = self.spec.key_place("modules", name).seen_from(definition.place)
                message = f"'{name}' is a module (set at {first}) and a definition"
            elif name in self.names.operations:
                message = f"'{name}' is an operation and a definition"
            else:
                continue
            hint = "give the definition another name"
            self.report.wrong(definition.place, message, hint)
        for call in self.spec.expansion.calls.values():
            self.hidden_outputs(call)
            self.module_arguments(call)

    def module_arguments(self, call: Call) -> None:
        """Report modules that a call within a definition hands on and that do not exist."""
        # Those of a call in `flow` itself are reported with its line.
        if call.outer is None:
            return
        for argument in call.arguments.values():
            if isinstance(argument, ModuleRef):
                # The name may be a parameter of the definition around it, which a module fills.
                module = call.outer.modules.get(argument.name, argument.name)
                place = call.outer.at(argument.place)
                self.module_ref(replace(argument, name=module, place=place))

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
                place = replace(line.place, call=call.site)
                self.report.wrong(place, message, "give the line another name")

    def equation(self, equation: Equation) -> None:
        """Report what is wrong in a line: the callee, the streams and modules that it reads, the ports."""
        problems_before = len(self.report.problems)
        declaration = self.called(equation)
        if declaration is not None:
            declaration = with_parts(declaration, equation)
        options = declaration.options if declaration is not None else {}
        for ref in equation.refs():
            # A word without quotes as the value of an option: `bind` asks for the quotes.
            is_option = any(ref is equation.keywords.get(option) for option in options)
            if not is_option:
                self.read_stream(ref)
        for module in equation.modules():
            if not passed_module(self.spec, module.place, module.name):
                self.module_ref(module)
        if declaration is None:
            return
        # A name that is not a stream cannot fit a port either: one mistake, one problem.
        new_problems = self.report.problems[problems_before:]
        reported = {problem.place for problem in new_problems}
        _, binding_problems = bind(equation, declaration)
        for problem in binding_problems:
            if problem.place not in reported:
                self.report.problems.append(problem)

    def read_stream(self, ref: Ref) -> None:
        """Report a stream that a line cannot read."""
        self.streams.check(ref)
        if ref.ema and not self.spec.momentum:
            message = (
                f"{ref} needs averaged weights, but there is no section 'momentum'"
            )
            hint = "add the section `momentum: {decay: 0.995}`"
            self.report.wrong(ref.place, message, hint)

    def called(self, equation: Equation) -> Declaration | None:
        """Return the declaration of what an equation calls, or report why there is none."""
        spec, callee = self.spec, equation.callee
        if callee in spec.modules:
            try:
                return self.names.modules.declaration(spec.modules[callee].use)
            except UserError:  # reported where the module is built
                return None
        if callee in self.names.operations:
            return self.report.declared(self.names.operations, callee, equation.place)
        # A module parameter is reported where the call of the definition passes it.
        if callee in self.names.modules or not passed_module(
            spec, equation.place, callee
        ):
            self.unknown_callee(equation)
        return None

    def unknown_callee(self, equation: Equation) -> None:
        """Report what a line calls and nothing has the name of."""
        spec, callee, place = self.spec, equation.callee, equation.place
        if callee in self.names.modules:
            message = f"'{callee}' is a registered module, but none is built here by that name"
            hint = f"add to `modules`: `{callee}: {{use: {callee}, ...}}`"
            self.report.wrong(place, message, hint)
        elif message := deleted_message(spec, place, "modules", callee):
            hint = f"set `modules.{callee}`, or call another module"
            self.report.wrong(place, message, hint)
        elif message := deleted_message(spec, place, "define", callee):
            hint = f"define `{callee}(...)`, or call something else"
            self.report.wrong(place, message, hint)
        else:
            operations = self.names.operations.names()
            choices = [*spec.modules, *spec.definitions, *operations]
            listed = f"{_built(spec)}; operations: {', '.join(operations)}"
            if spec.definitions:
                listed += f"; definitions: {', '.join(spec.definitions)}"
            if takes_stream(spec, place, callee):
                listed = f"'{callee}' is a stream parameter here: write `@{callee}` to take a module"
                choices = []  # A module of a similar name is not what was meant.
            self.report.unknown_name(
                place, "module or operation", callee, choices, listed
            )

    def module_ref(self, module: ModuleRef) -> None:
        """Report a module that is passed on by `@` and does not exist."""
        if module.name in self.spec.modules:
            return
        if message := deleted_message(self.spec, module.place, "modules", module.name):
            hint = f"set `modules.{module.name}`, or pass on another module"
            self.report.wrong(module.place, message, hint)
            return
        listed = _built(self.spec)
        if takes_stream(self.spec, module.place, module.name):
            listed = f"'{module.name}' is a stream parameter here: write `@{module.name}` to take a module"
        choices = self.spec.modules
        self.report.unknown_name(module.place, "module", module.name, choices, listed)

    def goals(self) -> None:
        """Report a spec without goals, goals without outputs, and streams that goals cannot return."""
        if not self.spec.goals:
            message = "a spec must have goals, but has none"
            hint = "add `goals: {train: {loss: loss}}`"
            self.report.wrong(self.spec.place("goals"), message, hint)
        for goal, outputs in self.spec.goals.items():
            place = self.spec.key_place("goals", goal)
            if not outputs:
                message = f"goal '{goal}' must have outputs, but has none"
                self.report.wrong(place, message, f"`{goal}: {{loss: loss}}`")
            # Any goal with a loss can be trained; this one is meant for nothing else.
            elif goal == "train" and "loss" not in outputs:
                message = "goal 'train' must have the output 'loss', but has not"
                self.report.wrong(place, message, "`train: {loss: loss}`")
            for ref in outputs.values():
                self.streams.check(ref)


def passed_module(spec: Spec, place: Location, name: str) -> bool:
    """Return whether a module came into a definition by a parameter."""
    if place.call is None:
        return False
    return name in spec.expansion.calls[place.call.name].modules.values()


def takes_stream(spec: Spec, place: Location, name: str) -> bool:
    """Return whether a name is a stream parameter of the definition that a position is in."""
    if place.call is None:
        return False
    return spec.definitions[place.call.definition].parameters.get(name) is False


def _built(spec: Spec) -> str:
    return f"modules: {', '.join(spec.modules) or 'none'}"
