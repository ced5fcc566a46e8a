"""Check stage 2: the entries of `modules`: registered names, and arguments with values of their types."""

from __future__ import annotations

from registry.checks.inference import may_be_left_out
from registry.checks.name_report import NameReport
from registry.language.binding import value_problem
from registry.language.declaration import Declaration
from registry.language.entries import ModuleEntry
from registry.registries import Registry, closest_name


def check_module(report: NameReport, module: ModuleEntry) -> None:
    """Report an unknown module, and unknown, wrong and absent arguments of a known one."""
    registry, use_place = report.names.modules, module.places["use"]
    if module.use not in registry:
        hint = _listed(registry)
        if module.use in report.names.operations:
            hint = "it is an operation: call it in `flow` by that name"
        report.unknown_name(use_place, "module", module.use, registry.names(), hint)
        return
    declaration = report.declared(registry, module.use, use_place)
    if declaration is None:
        return
    unknown = [name for name in module.arguments if name not in declaration.arguments]
    for name in unknown:
        _report_unknown_argument(report, module, declaration, name)
    _check_arguments(report, module, declaration, unknown)


def _report_unknown_argument(
    report: NameReport, module: ModuleEntry, declaration: Declaration, name: str
) -> None:
    key = report.spec.key_place("modules", module.name, name)
    if name in declaration.options:
        message = f"'{name}' is an option of calls of '{module.use}', not an argument"
        hint = f"set it where the module is called: `{module.name}(..., {name}=...)`"
        report.wrong(key, message, hint)
        return
    arguments = declaration.arguments
    listed = f"arguments of '{module.use}': {', '.join(arguments) or 'none'}"
    report.unknown_name(key, f"argument of '{module.use}':", name, arguments, listed)


def _check_arguments(
    report: NameReport,
    module: ModuleEntry,
    declaration: Declaration,
    unknown: list[str],
) -> None:
    """Report values of another type than declared, and required arguments that are absent."""
    # A misspelt argument is not reported a second time, as absent.
    meant = {closest_name(name, declaration.arguments) for name in unknown}
    for name, parameter in declaration.arguments.items():
        if name in module.arguments:
            what = f"argument '{name}' of '{module.use}'"
            value = module.arguments[name]
            problem = value_problem(what, parameter, value, module.places[name])
            if problem is not None:
                report.problems.append(problem)
            continue
        # Stage 3 settles widths, vocabularies and counts of classes from the wiring or the data.
        if not parameter.required or may_be_left_out(declaration, name):
            continue
        if name not in meant:
            message = (
                f"module '{module.name}' ({module.use}) must set '{name}', but does not"
            )
            hint = f"add `{name}: ...` ({parameter.annotation or 'any value'})"
            report.wrong(module.place, message, hint)


def _listed(registry: Registry) -> str:
    return f"registered {registry.kind}s: {', '.join(registry.names()) or 'none'}"
