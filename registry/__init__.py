"""Floor 1: names, the composition language, its checks and errors. It never imports torch."""

from registry.checks.check import Report, check, complete
from registry.errors import Location, Problem, SpecError, UserError
from registry.kinds import KINDS, Answer, Kind
from registry.language.binding import Binding, bind
from registry.language.declaration import Declaration, Parameter, operation
from registry.language.equation import Equation, Literal, ModuleRef, Ref
from registry.language.line_reader import read_equation
from registry.language.ports import Port, StreamType, read_port, read_type
from registry.language.schema import SETTINGS
from registry.language.spec import (
    ModuleEntry,
    Spec,
    parse_spec,
    read_spec,
    spec_of_tree,
    write_spec,
)
from registry.language.spec_value import SpecTools, SpecValue
from registry.planner import (
    Plan,
    Step,
    ancestors,
    declaration_of,
    plan,
    plan_streams,
    shadowed_modules,
    steps_without_modules,
)
from registry.registries import (
    ENGINES,
    EVALUATORS,
    KEY_MAPS,
    LOGGERS,
    METRICS,
    MODULES,
    OPERATIONS,
    OPTIMIZERS,
    REGISTRIES,
    SOURCES,
    TASKS,
    TOKENIZERS,
    Registries,
    Registry,
)
from registry.spec_folders import SPEC_FOLDERS, shipped_specs

__all__ = [
    "ENGINES",
    "EVALUATORS",
    "KEY_MAPS",
    "KINDS",
    "LOGGERS",
    "METRICS",
    "MODULES",
    "OPERATIONS",
    "OPTIMIZERS",
    "REGISTRIES",
    "SETTINGS",
    "SOURCES",
    "SPEC_FOLDERS",
    "TASKS",
    "TOKENIZERS",
    "Answer",
    "Binding",
    "Declaration",
    "Equation",
    "Kind",
    "Literal",
    "Location",
    "ModuleEntry",
    "ModuleRef",
    "Parameter",
    "Plan",
    "Port",
    "Problem",
    "Ref",
    "Registries",
    "Registry",
    "Report",
    "Spec",
    "SpecError",
    "Step",
    "StreamType",
    "UserError",
    "ancestors",
    "bind",
    "check",
    "complete",
    "declaration_of",
    "operation",
    "parse_spec",
    "plan",
    "plan_streams",
    "read_equation",
    "read_port",
    "read_spec",
    "read_type",
    "shadowed_modules",
    "shipped_specs",
    "steps_without_modules",
    "write_spec",
]

SpecValue.tools = SpecTools(
    read=read_spec,
    of_tree=spec_of_tree,
    text=write_spec,
    check=lambda spec: check(spec).raise_if_bad(),
)
