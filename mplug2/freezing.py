"""Frozen parameters and modules of a network: no gradient, and eval mode."""

from __future__ import annotations

import math
import sys
from collections import defaultdict

from torch import nn

from registry.language.freezing import Freeze, frozen_until

END = sys.float_info.max  # after the last iteration of any run


class Freezer:
    """For how many iterations each parameter and module of a network is frozen.

    A module is frozen as long as all of its parameters are. It is then in eval mode, also while the network
    trains: no dropout, and no update of running statistics. A module without parameters is frozen if a
    pattern matches its name, or with the module around it.
    """

    def __init__(self, net: nn.Module, freeze: Freeze) -> None:
        self._net = net
        # A tied weight has several names: it is frozen as long as the longest of them says.
        self._parameters: dict[nn.Parameter, float] = {}
        names = dict(net.named_parameters(remove_duplicate=False))
        for name, parameter in names.items():
            until = frozen_until(freeze, name)
            self._parameters[parameter] = max(until, self._parameters.get(parameter, 0))
        inside: dict[str, list[float]] = defaultdict(list)
        for name, parameter in names.items():
            words = name.split(".")
            for length in range(1, len(words)):
                inside[".".join(words[:length])].append(self._parameters[parameter])
        self._modules: dict[str, float] = {}
        for path, _ in net.named_modules():
            until = min(inside[path]) if path in inside else frozen_until(freeze, path)
            if path and until:
                self._modules[path] = until

    @property
    def ends(self) -> list[int]:
        """The iterations after which more parameters train."""
        untils = set(self._parameters.values()) - {0, math.inf}
        return sorted(int(until) for until in untils)

    def named_parameters(self) -> list[tuple[str, float]]:
        """Return the name of each parameter, with the iterations for which it is frozen."""
        return [(name, self._parameters[parameter]) for name, parameter in self._net.named_parameters()]

    def parameters(self, iteration: float) -> list[nn.Parameter]:
        """Return the parameters that are frozen in an iteration; the first one is 0."""
        return [parameter for parameter, until in self._parameters.items() if until > iteration]

    def modules(self, iteration: float) -> list[str]:
        """Return the paths of the modules that are frozen in an iteration."""
        return [path for path, until in self._modules.items() if until > iteration]
