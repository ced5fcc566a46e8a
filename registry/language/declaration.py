"""What a module, an operation, a reader or a metric promises, read from its source without importing it.

A class declares by the literals `inputs` and `outputs` in its body, a function by the decorator `operation`.
Streams fill ports; keyword-only parameters of `forward`, or of the function, are options; constructor
parameters are arguments. A constructor that ends in `**settings` takes its base class's arguments, too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from registry.errors import UserError
from registry.language.annotations import as_annotated
from registry.language.conditions import Condition, read_conditions
from registry.language.parameter import REQUIRED as REQUIRED
from registry.language.parameter import Parameter as Parameter
from registry.language.ports import Port, followed_axes, read_ports
from registry.language.source_facts import (
    COUNT,
    LITERALS,
    first_sentence,
    inherited,
    read_facts,
)

REQUESTED = "requested"  # the parameter of `forward` that gets the names of the outputs that are read
Function = TypeVar("Function", bound=Callable[..., Any])


def operation(
    *,
    inputs: dict[str, str],
    outputs: dict[str, str] | str,
    off: dict[str, str] | None = None,
    conditions: tuple[str, ...] = (),
    count: Callable[..., Any] | None = None,
) -> Callable[[Function], Function]:
    """Declare the ports of a function; the literals are attached to it, and it is returned unchanged.

    `off={"teacher": "alpha"}`: the port `teacher` is not computed while the option `alpha` is false.
    `conditions=("min_length <= max_length",)`: comparisons that the options of every call must satisfy
    (`registry.language.conditions`).
    `count`: for a loss that returns a sum and a count, the function that gives the count. Its parameters are
    some of the ports and options of the loss, so that counts are known before the first forward pass.
    """

    def attach(function: Function) -> Function:
        for name, literal in (
            ("inputs", inputs),
            ("outputs", outputs),
            ("off", off or {}),
        ):
            setattr(function, name, literal)
        if conditions:
            function.conditions = conditions  # type: ignore[attr-defined]
        if count is not None:
            setattr(function, COUNT, count)
        return function

    return attach


@dataclass(frozen=True)
class Declaration:
    """The promise of one class or function; the output with the name '' has no name (`visual`).

    In addition, there may be optional ones (`visual.early`): then the value is a mapping with the nameless
    output under '' as soon as another is requested, and the nameless one alone otherwise.
    """

    target: str
    inputs: dict[str, Port] = field(default_factory=dict)
    outputs: dict[str, Port] = field(default_factory=dict)
    off: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, Parameter] = field(default_factory=dict)
    options: dict[str, Parameter] = field(default_factory=dict)
    doc: str = ""
    file: str = ""
    line: int = 0
    counted: bool = False  # a loss that returns a sum and a count
    goals: tuple[
        str, ...
    ] = ()  # of an evaluator that names its goals; its inputs are goals, too
    supplies: dict[str, Port] = field(
        default_factory=dict
    )  # what an evaluator with goals gives to metrics
    conditions: tuple[
        Condition, ...
    ] = ()  # between options, or between constructor arguments
    # The most tokens of a text: for a port of a module, or an output of a task, the argument that sets it.
    token_limits: dict[str, str] = field(default_factory=dict)
    # For an output of a task that holds class numbers: the argument that names the classes.
    class_names: dict[str, str] = field(default_factory=dict)
    declares_outputs: bool = (
        False  # whether it has the literal `outputs`, which may be empty
    )
    requests: bool = False  # whether `forward` has the parameter `requested`
    file_arguments: tuple[
        str, ...
    ] = ()  # of a task or source: the arguments that name files or folders
    weightless: bool = (
        False  # a module that holds no weights: `ema(...)` reads what it gave, unaveraged
    )

    @property
    def nameless(self) -> bool:
        """Whether the result is one value, unless optional outputs are requested."""
        return "" in self.outputs

    def constructor_values(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values that are passed on: integers become floats for float parameters."""
        values = {}
        for name, value in arguments.items():
            parameter = self.arguments.get(name)
            values[name] = (
                value if parameter is None else as_annotated(parameter.annotation, value)
            )
        return values

    @staticmethod
    def read(target: str) -> Declaration:
        """Return the declaration of `"package.module:Name"`, from its source; raise `UserError`."""
        facts = read_facts(target)
        return _build(
            target,
            facts.literals,
            facts.arguments,
            facts.options,
            facts.doc,
            facts.file,
            facts.line,
            facts.counted,
        )

    @staticmethod
    def of(thing: Any) -> Declaration:
        """Return the declaration of a live class or function, from its source where there is one."""
        if not hasattr(thing, "__qualname__"):
            raise UserError(
                f"a declaration needs a class or function (got {type(thing).__name__})"
            )
        target = f"{thing.__module__}:{thing.__qualname__}"
        live: dict[str, Any] = {}
        for name in LITERALS:
            value = getattr(thing, name, None)
            if value is not None and not isinstance(value, property):
                live[name] = value
        called = getattr(thing, "forward", None) if inspect.isclass(thing) else thing
        doc = first_sentence(thing.__doc__)
        classes = inspect.getmro(thing) if inspect.isclass(thing) else ()
        makers = [vars(base)["__init__"] for base in classes if "__init__" in vars(base)]
        arguments = inherited((_live(maker), _hands_on(maker)) for maker in makers)
        options = _live(called, keyword_only=True) if called is not None else {}
        return _build(
            target,
            live,
            arguments,
            options,
            doc,
            counted=inspect.isfunction(thing) and hasattr(thing, COUNT),
        )


def _build(
    target: str,
    literals: Mapping[str, Any],
    arguments: Mapping[str, Parameter],
    options: Mapping[str, Parameter],
    doc: str,
    file: str = "",
    line: int = 0,
    counted: bool = False,
) -> Declaration:
    try:
        ports = {
            name: read_ports(literals.get(name) or {})
            for name in ("inputs", "outputs", "supplies")
        }
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{target}: the declared ports cannot be read: {error}") from None
    try:
        conditions = read_conditions(literals.get("conditions") or ())
    except ValueError as error:
        raise UserError(f"{target}: {error}") from None
    requests = REQUESTED in options
    _check_outputs(target, ports["outputs"], requests)
    _check_followed_axes(target, ports["inputs"], ports["outputs"])
    off = dict(literals.get("off") or {})
    taken = {
        *ports["inputs"],
        REQUESTED,
    }  # a port after `*parts` is a keyword-only parameter, too
    options = {name: option for name, option in options.items() if name not in taken}
    return Declaration(
        target,
        ports["inputs"],
        ports["outputs"],
        off,
        dict(arguments),
        options,
        doc,
        file,
        line,
        goals=tuple(literals.get("goals") or ()),
        supplies=ports["supplies"],
        conditions=conditions,
        token_limits=dict(literals.get("token_limits") or {}),
        class_names=dict(literals.get("class_names") or {}),
        file_arguments=tuple(literals.get("file_arguments") or ()),
        weightless=bool(literals.get("weightless")),
        counted=counted,
        requests=requests,
        declares_outputs="outputs" in literals,
    )


def _check_followed_axes(
    target: str, inputs: dict[str, Port], outputs: dict[str, Port]
) -> None:
    """Raise `UserError` for an axis such as `M@mask` in an input, or without a port of that name."""
    if followed_axes(inputs):
        raise UserError(f"{target}: '@' is allowed in the axes of outputs only")
    for axis, name in followed_axes(outputs).items():
        if name not in inputs:
            listed = ", ".join(inputs) or "none"
            raise UserError(
                f"{target}: axis '{axis}' must name an input after '@' (inputs: {listed})"
            )


def _check_outputs(target: str, outputs: dict[str, Port], requests: bool) -> None:
    """Raise `UserError` for outputs of several types, or a nameless one next to required others."""
    for name, port in outputs.items():
        if len(port.kinds) > 1:
            raise UserError(
                f"{target}: an output must have one type, but '{name}' has '{port}'"
            )
    named = {name: port for name, port in outputs.items() if name}
    if "" in outputs and named:
        must = next((name for name, port in named.items() if not port.optional), "")
        if must:
            raise UserError(
                f"{target}: next to a nameless output, '{must}' must be optional: '{must}?'"
            )
        if not requests:
            hint = f"add the keyword-only parameter `{REQUESTED}: frozenset[str] = frozenset()` to `forward`"
            raise UserError(
                f"{target}: optional outputs next to a nameless one are returned on request. {hint}"
            )


def _live(function: Any, keyword_only: bool = False) -> dict[str, Parameter]:
    """Return a live function's parameters, without `self`, `*args` and `**kwargs`."""
    if function is object.__init__:
        return {}
    parameters: dict[str, Parameter] = {}
    for parameter in inspect.signature(function).parameters.values():
        kinds = (
            (parameter.KEYWORD_ONLY,)
            if keyword_only
            else (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        )
        if parameter.kind in kinds and parameter.name != "self":
            written = (
                "" if parameter.annotation is parameter.empty else parameter.annotation
            )
            text = (
                written if isinstance(written, str) else inspect.formatannotation(written)
            )
            parameters[parameter.name] = Parameter(
                parameter.name, text, parameter.default
            )
    return parameters


def _hands_on(function: Any) -> bool:
    """Return whether a live constructor ends in `**settings`."""
    return any(
        parameter.kind is parameter.VAR_KEYWORD
        for parameter in inspect.signature(function).parameters.values()
    )
