"""Floor 1: names, the composition language, its checks and errors. It never imports torch."""

from registry.binding import Binding, bind
from registry.check import Report, check
from registry.declaration import Declaration, Parameter, operation
from registry.equation import Equation, Literal, ModuleRef, Ref, read_equation
from registry.errors import Place, Problem, SpecError, UserError
from registry.plan import Plan, Step, declaration_of, plan, shadowed_modules
from registry.ports import KINDS, Port, StreamType, read_port, read_type
from registry.registry import CATALOGUE, METRICS, MODULES, OPERATIONS, READERS, Catalogue, Registry
from registry.schema import SETTINGS
from registry.spec import ModuleEntry, Spec, parse_spec, read_spec, write_spec

__all__ = [
    "CATALOGUE",
    "KINDS",
    "METRICS",
    "MODULES",
    "OPERATIONS",
    "READERS",
    "SETTINGS",
    "Binding",
    "Catalogue",
    "Declaration",
    "Equation",
    "Literal",
    "ModuleEntry",
    "ModuleRef",
    "Parameter",
    "Place",
    "Plan",
    "Port",
    "Problem",
    "Ref",
    "Registry",
    "Report",
    "Spec",
    "SpecError",
    "Step",
    "StreamType",
    "UserError",
    "bind",
    "check",
    "declaration_of",
    "operation",
    "parse_spec",
    "plan",
    "read_equation",
    "read_port",
    "read_spec",
    "read_type",
    "shadowed_modules",
    "write_spec",
]
