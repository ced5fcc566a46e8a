"""Check stage 2, what runs the steps: the names of `train.engine` and `train.optimizer`, and options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registry.checks.collector import Collector
from registry.errors import Location, UserError
from registry.language.binding import value_problem
from registry.language.declaration import Parameter
from registry.language.locate import FOREIGN, definition, source_file

# Keys of `train.optimizer` that no factory sees.
OWN_KEYS = ("name", "elementwise")
FACTORY_PARAMETERS = ("groups", "settings")


class RunnerChecker(Collector):
    """Checks `train.engine`, `train.optimizer` and `train.profile`."""

    def check(self) -> None:
        """Collect the problems of all three."""
        self.profile(self.spec.train.get("profile"))
        engine = self.spec.train.get("engine")
        if isinstance(engine, str) and engine not in self.names.engines:
            place = self.spec.place("train", "engine")
            self.unknown(place, "engine", engine, self.names.engines.names())
        value = self.spec.train.get("optimizer")
        if isinstance(value, str):
            self.optimizer(value, self.spec.place("train", "optimizer"))
        elif isinstance(value, Mapping):
            self.optimizer_mapping(value)

    def profile(self, value: Any) -> None:
        """Check the first and the last step of a profile."""
        # Another type is a problem of the settings.
        if not isinstance(value, list) or len(value) != 2:
            return
        if not all(isinstance(step, int) for step in value):
            return
        first, last = value
        if first > last:
            location = self.spec.place("train", "profile")
            message = (
                f"'train.profile' must be the first and the last step, but is {value}"
            )
            self.wrong(location, message, f"`profile: [{last}, {first}]`")

    def optimizer_mapping(self, value: Mapping[str, Any]) -> None:
        """Check an optimizer with options."""
        name = value.get("name")
        if not isinstance(name, str):
            place = self.spec.key_place("train", "optimizer")
            hint = "`optimizer: {name: adamw, ...}`"
            self.wrong(place, "'train.optimizer' must have a name", hint)
            return
        self.optimizer(name, self.spec.place("train", "optimizer", "name"))
        if name not in self.names.optimizers:
            return  # Options of a class are checked when it is built.
        parameters = self.optimizer_parameters(name)
        for option, given in value.items():
            if option in OWN_KEYS:
                continue
            if option not in parameters:
                place = self.spec.key_place("train", "optimizer", option)
                self.unknown(
                    place, f"option of optimizer '{name}':", option, parameters
                )
                continue
            what = f"option '{option}' of optimizer '{name}'"
            place = self.spec.place("train", "optimizer", option)
            problem = value_problem(what, parameters[option], given, place)
            if problem is not None:
                self.problems.append(problem)

    def optimizer_parameters(self, name: str) -> dict[str, Parameter]:
        """Return the options that a registered factory declares."""
        declaration = self.names.optimizers.declaration(name)
        parameters = {**declaration.arguments, **declaration.options}
        # The trainer passes these two to every factory.
        for key in FACTORY_PARAMETERS:
            parameters.pop(key, None)
        return parameters

    def optimizer(self, name: str, place: Location) -> None:
        """Check the name of an optimizer: registered, `timm:NAME`, or `package.module:Class`."""
        module, colon, _ = name.partition(":")
        if not colon:
            if name not in self.names.optimizers:
                self.unknown(place, "optimizer", name, self.names.optimizers.names())
            return
        if source_file(module) is None:
            message = f"optimizer '{name}' must name a module, but there is no module '{module}'"
            hint = "`torch.optim:Adam`, `timm:lamb`, or `package.module:Class`"
            self.wrong(place, message, hint)
        # Names of timm are not classes, and torch is too large to be read for one name.
        elif module != "timm" and module.split(".")[0] not in FOREIGN:
            try:
                definition(name)
            except UserError as error:
                self.wrong(place, f"optimizer {error}")
