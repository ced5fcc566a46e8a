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
        # As attributes, where the class of a module has them: a live function is read like a class.
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
    # Of an evaluator that names its goals, which its inputs are, too: these, and what it gives to metrics.
    goals: tuple[str, ...] = ()
    supplies: dict[str, Port] = field(default_factory=dict)
    # Between options, or between constructor arguments.
    conditions: tuple[Condition, ...] = ()
    # The most tokens of a text: for a port of a module, or an output of a task, the argument that sets it.
    token_limits: dict[str, str] = field(default_factory=dict)
    # For an output of a task that holds class numbers: the argument that names the classes.
    class_names: dict[str, str] = field(default_factory=dict)
    # Whether it has the literal `outputs`, which may be empty.
    declares_outputs: bool = False
    requests: bool = False  # whether `forward` has the parameter `requested`
    # Of a task or source: the arguments that name files or folders.
    file_arguments: tuple[str, ...] = ()
    # A module without weights: `ema(...)` reads what it gave, unaveraged.
    weightless: bool = False

    @property
    def nameless(self) -> bool:
        """Whether the result is one value, unless optional outputs are requested."""
        return "" in self.outputs

    def constructor_values(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values that are passed on: integers become floats for float parameters."""
        values = {}
        for name, value in arguments.items():
            parameter = self.arguments.get(name)
            if parameter is not None:
                value = as_annotated(parameter.annotation, value)
            values[name] = value
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
        # Perhaps an instance in place of its class.
        if not hasattr(thing, "__qualname__"):
            raise UserError(
                f"a declaration needs a class or function (got {type(thing).__name__})"
            )
        target = f"{thing.__module__}:{thing.__qualname__}"
        live: dict[str, Any] = {}
        for name in LITERALS:
            value = getattr(thing, name, None)
            # A class may compute its ports for each instance, which the source does not show.
            if value is not None and not isinstance(value, property):
                live[name] = value
        called = getattr(thing, "forward", None) if inspect.isclass(thing) else thing
        constructors = []
        for base in inspect.getmro(thing) if inspect.isclass(thing) else ():
            # Those that a class defines itself, nearest first: each may pass `**settings` on to the next.
            if "__init__" in vars(base):
                constructor = vars(base)["__init__"]
                constructors.append((_live(constructor), _hands_on(constructor)))
        arguments = inherited(constructors)
        options = _live(called, keyword_only=True) if called is not None else {}
        doc = first_sentence(thing.__doc__)
        # On a class, `count` may be any method.
        counted = inspect.isfunction(thing) and hasattr(thing, COUNT)
        return _build(target, live, arguments, options, doc, counted=counted)


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
    ports = {}
    try:
        for name in ("inputs", "outputs", "supplies"):
            ports[name] = read_ports(literals.get(name) or {})
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(
            f"{target}: the declared ports cannot be read: {error}"
        ) from None
    try:
        conditions = read_conditions(literals.get("conditions") or ())
    except ValueError as error:
        raise UserError(f"{target}: {error}") from None
    requests = REQUESTED in options
    _check_outputs(target, ports["outputs"], requests)
    _check_followed_axes(target, ports["inputs"], ports["outputs"])
    off = dict(literals.get("off") or {})
    # A port after `*parts` is a keyword-only parameter, too, and so is `requested`: neither is an option.
    no_options = {*ports["inputs"], REQUESTED}
    options = {
        name: option for name, option in options.items() if name not in no_options
    }
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
    # An input cannot have a size that another input's values decide.
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
        # The checks need one type for what the next line reads.
        if len(port.kinds) > 1:
            raise UserError(
                f"{target}: an output must have one type, but '{name}' has '{port}'"
            )
    if "" in outputs and len(outputs) > 1:
        for name, port in outputs.items():
            # Otherwise the value would always be a mapping, and the output need not be nameless.
            if name and not port.optional:
                raise UserError(
                    f"{target}: next to a nameless output, '{name}' must be optional: '{name}?'"
                )
        if not requests:
            hint = f"add the keyword-only parameter `{REQUESTED}: frozenset[str] = frozenset()` to `forward`"
            raise UserError(
                f"{target}: optional outputs next to a nameless one are returned on request. {hint}"
            )


def _live(function: Any, keyword_only: bool = False) -> dict[str, Parameter]:
    """Return a live function's parameters, without `self`, `*args` and `**kwargs`."""
    # Of a class without a constructor; its signature would be `*args, **kwargs`.
    if function is object.__init__:
        return {}
    parameters: dict[str, Parameter] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        is_plain = (
            parameter.kind is parameter.POSITIONAL_OR_KEYWORD and not keyword_only
        )
        is_taken = is_plain or parameter.kind is parameter.KEYWORD_ONLY
        if is_taken and name != "self":
            annotation = _annotation_text(parameter)
            parameters[name] = Parameter(name, annotation, parameter.default)
    return parameters


def _annotation_text(parameter: inspect.Parameter) -> str:
    """Return an annotation as its source has it, so that it equals the one that `ast` reads."""
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return ""
    # A string where the file has `from __future__ import annotations`, and otherwise an object.
    if isinstance(annotation, str):
        return annotation
    return inspect.formatannotation(annotation)


def _hands_on(function: Any) -> bool:
    """Return whether a live constructor ends in `**settings`."""
    return any(
        parameter.kind is parameter.VAR_KEYWORD
        for parameter in inspect.signature(function).parameters.values()
    )
