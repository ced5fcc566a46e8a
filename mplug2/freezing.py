"""Frozen parameters and modules of a network: no gradient, and eval mode; transposed ties by name."""

from __future__ import annotations

import contextlib
import math
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

from torch import Tensor, nn
from typing_extensions import Self

from registry.language.freezing import Freeze, frozen_until

END = sys.float_info.max  # after the last iteration of any run


class Freezer:
    """For how many iterations each parameter and module of a network is frozen.

    A module is frozen as long as all of its parameters are. It is then in eval mode, also while the network
    trains: no dropout, and no update of running statistics. A module without parameters is frozen if a
    pattern matches its name, or with the module around it. Parameters named in ``frozen`` are frozen for the
    complete run, and those in ``trained`` never are, without regard to ``freeze``.
    """

    def __init__(
        self,
        net: nn.Module,
        freeze: Freeze,
        *,
        frozen: Collection[str] = (),
        trained: Collection[str] = (),
    ) -> None:
        self._net = net
        # A tied weight has several names: it is frozen for the longest of their times.
        self._parameters: dict[nn.Parameter, float] = {}
        names = dict(net.named_parameters(remove_duplicate=False))
        for name, parameter in names.items():
            until = math.inf if name in frozen else frozen_until(freeze, name)
            # Adapters train although the layer around them is frozen.
            until = 0 if name in trained else until
            self._parameters[parameter] = max(until, self._parameters.get(parameter, 0))
        # For each module, the times of all parameters in it, at any depth.
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
        frozen = []
        for name, parameter in self._net.named_parameters():
            frozen.append((name, self._parameters[parameter]))
        return frozen

    def parameters(self, iteration: float) -> list[nn.Parameter]:
        """Return the parameters that are frozen in an iteration; the first one is 0."""
        frozen = []
        for parameter, until in self._parameters.items():
            if until > iteration:
                frozen.append(parameter)
        return frozen

    def modules(self, iteration: float) -> list[str]:
        """Return the paths of the modules that are frozen in an iteration."""
        return [path for path, until in self._modules.items() if until > iteration]


class FreezableNetwork(nn.Module):
    """A network with frozen parts, transposed ties and a position in a run.

    ``freezer`` is set when a network is composed, ``position`` while an iteration of a run is computed.
    ``transposed``: weights that are the transpose of a parameter, by the names of both. ``supplied``: names
    of frozen weights that `init` gives at each start, so that checkpoints leave them out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.freezer: Freezer | None = None
        self.position: Mapping[str, float] | None = None
        self.transposed: dict[str, str] = {}
        self.supplied: frozenset[str] = frozenset()

    def weights(self, keep_vars: bool = False) -> dict[str, Tensor]:
        """Return the state dict with the transposed ties, which are views of their parameters."""
        state: dict[str, Tensor] = dict(self.state_dict(keep_vars=keep_vars))
        for name, owner in self.transposed.items():
            # A view: both names are one parameter.
            state[name] = state[owner].T
        return state

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all modules but the frozen ones, which stay in eval mode."""
        super().train(mode)
        for path in self.frozen_modules():
            name, _, inner = path.partition(".")
            # Not by `get_submodule(path)`: a spec may call a module `train`, which is a method here.
            module = self._modules[name]
            assert module is not None
            module.get_submodule(inner).eval()
        return self

    @contextlib.contextmanager
    def training_at(self, position: Mapping[str, float]) -> Iterator[None]:
        """While open, the network is that of one iteration of a run, which freezes and ramps depend on.

        ``position`` is what was done before it: ``steps`` (iterations), ``samples`` and ``epochs``. Outside,
        parameters that train only later have gradients as well: engines and checkpoints see all of them.
        """
        # Not by attribute: a spec may call a module `position`.
        vars(self)["position"] = position
        frozen: list[nn.Parameter] = []
        if self.freezer is not None and self.freezer.ends:
            for parameter in self.freezer.parameters(position["steps"]):
                if parameter.requires_grad:
                    frozen.append(parameter)
            # Modules that are frozen in this iteration go to eval mode.
            self.train(self.training)
        for parameter in frozen:
            parameter.requires_grad_(False)
        try:
            yield
        # Between iterations an engine sees all parameters that train at some time.
        finally:
            vars(self)["position"] = None
            for parameter in frozen:
                parameter.requires_grad_(True)
            if frozen:
                self.train(self.training)

    def frozen_modules(self) -> list[str]:
        """Return the paths of the modules that are frozen now; outside of a run, those frozen for good."""
        if self.freezer is None:
            return []
        iteration = END if self.position is None else self.position["steps"]
        return self.freezer.modules(iteration)
