"""DeepSpeed: ZeRO stages 0 to 3 in fp32, bf16 and fp16.

Gradients accumulate until ``step`` (`managed_gradient_accumulation: false`), so the number of backward calls
may differ from step to step.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mplug2.runtime import distributed
from mplug2.train.engines.base import StepResult, find_tensor
from mplug2.train.engines.deepspeed_zero import (
    ZeroOptimizer,
    format_1_types,
    full_parameter,
    load_deepspeed,
)
from mplug2.train.engines.fragments import (
    DelegatingOptimizer,
    Fragment,
    FragmentStepper,
)
from mplug2.train.engines.optimizer_state import (
    FULL,
    VERSION,
    group_settings,
    load_full_state,
    load_optimizer_state,
    optimizer_state,
    save_full_state,
)
from mplug2.train.engines.rank_files import read_rank_file, write_rank_file
from mplug2.train.engines.reached import ReachedParameters, clip_and_step
from mplug2.train.engines.reshard import Target, resharded_state
from registry.errors import UserError


def zero_stage(settings: Mapping[str, Any]) -> int:
    """Return the ZeRO stage that runs: in 16 bit, stage 2 replaces 0 and 1, which compute the same.

    Below stage 2, DeepSpeed (0.19.8) takes other optimizers for 16 bit with gradients in float32: their steps
    differ from those of all other stages, and they do not skip a gradient that is not finite.
    """
    stage = int(settings["zero"])
    return stage if settings["precision"] == "fp32" else max(stage, 2)


def deepspeed_config(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return DeepSpeed's configuration from the spec's `train` section.

    DeepSpeed ignores misspelt keys without a message.
    """
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,  # Used by throughput counters only.
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": 0.0,  # Set for each step.
        "zero_optimization": {"stage": zero_stage(settings)},
        "zero_allow_untested_optimizer": True,
        # Never: the trainer prints its own lines.
        "steps_per_print": 10**12,
        "wall_clock_breakdown": False,
    }
    if settings["precision"] != "fp32":
        config[settings["precision"]] = {"enabled": True}
        # A sum of many micro-batches in 16 bit would lose what each of them adds.
        config["data_types"] = {"grad_accum_dtype": "fp32"}
    return config


class DeepSpeedEngine:
    """A network under DeepSpeed; see ``Engine`` for what the methods promise."""

    @staticmethod
    def check_settings(settings: Mapping[str, Any]) -> None:
        """Raise UserError if DeepSpeed is not installed, or if this machine cannot run the precision."""
        load_deepspeed()
        from deepspeed.accelerator import get_accelerator

        if (
            settings["precision"] == "fp16"
            and not get_accelerator().is_fp16_supported()
        ):
            raise UserError(
                "train.precision: fp16 needs a GPU that supports it. Set train.precision=bf16 or fp32"
            )

    def __init__(
        self,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        settings: Mapping[str, Any],
    ) -> None:
        self._net = net
        self._optimizer = optimizer
        self._settings = group_settings(optimizer)
        self._stage = zero_stage(settings)
        self.sharded = self._stage == 3
        self._reached_names: dict[str, nn.Parameter] = {}
        self._max_norm: float | None = None
        self._norm: float | None = None
        parameters = dict(net.named_parameters())
        # DeepSpeed rounds the weights to 16 bit before it makes its masters of them: keep the exact values.
        masters: dict[str, Tensor] = {}
        if settings["precision"] != "fp32":
            for name, parameter in parameters.items():
                if parameter.requires_grad:
                    masters[name] = parameter.detach().clone()
        groups = [group["params"] for group in optimizer.param_groups]
        # Before DeepSpeed splits the parameters over ranks.
        self._order = _names_in_groups(parameters, groups)
        self._sizes = {name: parameters[name].numel() for name in self._order}
        self._engine = _initialize(
            net, DelegatingOptimizer(groups, self._step_optimizer), settings
        )
        self._reached = ReachedParameters(net)
        if self._stage:
            self._zero = ZeroOptimizer(self._engine.optimizer, self._stage)
            fragments = self._fragments(parameters, groups)
            _refuse_split_parameters(optimizer, fragments, self._stage)
            self._stepper = FragmentStepper(optimizer, fragments)
            self._settings = group_settings(optimizer)
            if masters:
                self._set_masters(masters)

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer that was given; with ZeRO its parameters are fragments of the masters."""
        return self._optimizer

    def __call__(
        self, batch: Mapping[str, Any], goal: str | tuple[str, ...] = "train"
    ) -> dict[str, Any]:
        """Return the outputs of a goal."""
        outputs: dict[str, Any] = self._engine(batch, goal=goal)
        return outputs

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of ``loss``."""
        if self._stage:
            self._zero.begin_backward()
        self._engine.backward(loss, scale_wrt_gas=False)

    def step(self, max_norm: float | None) -> StepResult:
        """Average the gradients over ranks, clip them, and update what they reached."""
        self._reached_names = self._reached.take(same_on_all_ranks=self._stage > 0)
        self._max_norm, self._norm = max_norm, None
        if not self._stage:
            self._engine.step()
            return StepResult(self._norm is not None, self._norm)
        self._zero.inner.clip_grad = float(max_norm or 0.0)
        self._engine.step()
        self._zero.forget_gradients()
        if not self._engine.was_step_applied():
            return StepResult(False, None)
        return StepResult(True, float(self._engine.get_global_grad_norm()))

    def _step_optimizer(self, parameters: list[Tensor]) -> None:
        """Step the real optimizer; DeepSpeed calls this within ``step``, once for each flat tensor."""
        if self._stage:
            self._stepper.step(parameters, self._reached_names)
            return
        for name, parameter in self._net.named_parameters():
            if name not in self._reached_names:
                parameter.grad = None
        self._norm = clip_and_step(
            self._optimizer, self._net.parameters(), self._max_norm
        )

    def save(self, folder: Path) -> None:
        """Write this rank's optimizer state; masters are in the weights of the checkpoint."""
        if not self._stage:
            save_full_state(folder, self._optimizer, self._settings)
            return
        payload = {
            "version": VERSION,
            "layout": self._stepper.layout(),
            "optimizer": optimizer_state(self._optimizer, self._settings),
            "loss_scaler": self._zero.scaler_state(),
        }
        write_rank_file(folder, payload)

    def load(self, folder: Path) -> None:
        """Restore the optimizer state, which another number of ranks or another stage may have written."""
        payload = read_rank_file(
            folder, "optimizer", types=format_1_types(), any_rank=True
        )
        if "version" not in payload:
            if self._stage:
                self._load_format_1(payload["optimizer"])
            else:
                load_full_state(folder, self._optimizer, types=format_1_types())
            return
        layout = self._stepper.layout() if self._stage else FULL
        # Resharding reads the files of all ranks: one rank whose layout differs takes the others along.
        if not all(distributed.all_gather_object(payload["layout"] == layout)):
            payload = resharded_state(folder, self._targets(), self._sizes, self._order)
        load_optimizer_state(self._optimizer, payload["optimizer"])
        # Below stage 1 there is no loss scale.
        if self._stage and "loss_scaler" in payload:
            self._zero.load_scaler_state(payload["loss_scaler"])

    def _targets(self) -> list[Target]:
        if not self._stage:
            shapes = dict(self._net.named_parameters())
            return [Target(name, 0, shapes[name].shape) for name in self._order]
        targets = []
        for fragment in self._stepper.fragments:
            targets.append(Target(fragment.name, fragment.start, fragment.view.shape))
        return targets

    def _load_format_1(self, saved: dict[str, Any]) -> None:
        """Restore the state of DeepSpeed's flat tensors, which checkpoints without a manifest hold."""
        key = "optimizer_state_dict" if self._stage == 3 else "base_optimizer_state"
        problem = None
        if key not in saved:
            problem = (
                "the optimizer state is that of another train.zero: resume with that"
            )
        distributed.raise_on_all_ranks(problem)
        states = self._stepper.split_flat_state(self._zero.flats(), saved[key]["state"])
        counters: list[dict[str, Any]] = [{} for _ in self._optimizer.param_groups]
        load_optimizer_state(self._optimizer, {"state": states, "counters": counters})
        # Format 1 stored DeepSpeed's object itself; another version of it may have other attributes.
        scaler = vars(saved["loss_scaler"])
        current = self._zero.scaler_state()
        known_numbers = {name: scaler[name] for name in current if name in scaler}
        self._zero.load_scaler_state(known_numbers)

    def consolidate(self, parameter: str | Tensor) -> Tensor:
        """Return the complete float32 master of a parameter."""
        tensor = (
            find_tensor(self._net, parameter)
            if isinstance(parameter, str)
            else parameter
        )
        return full_parameter(tensor, self._stage)

    def _fragments(
        self, parameters: Mapping[str, nn.Parameter], groups: list[list[nn.Parameter]]
    ) -> list[list[Fragment]]:
        names = {id(parameter): name for name, parameter in parameters.items()}
        fragments: list[list[Fragment]] = []
        for group in groups:
            parts = []
            for parameter in group:
                fragment = self._zero.fragment(names[id(parameter)], parameter)
                if fragment is not None:
                    parts.append(fragment)
            fragments.append(parts)
        return fragments

    def _set_masters(self, values: Mapping[str, Tensor]) -> None:
        """Give the masters the values from before DeepSpeed rounded the weights to 16 bit."""
        with torch.no_grad():
            for fragment in self._stepper.fragments:
                flat_value = values[fragment.name].reshape(-1)
                value = flat_value.narrow(0, fragment.start, fragment.numel)
                fragment.view.copy_(value.view_as(fragment.view))
        self._zero.refresh_weights()


def _names_in_groups(
    parameters: Mapping[str, nn.Parameter], groups: list[list[nn.Parameter]]
) -> list[str]:
    """Return the names of the parameters in the order of the optimizer's state."""
    names = {id(parameter): name for name, parameter in parameters.items()}
    return [names[id(parameter)] for group in groups for parameter in group]


def _initialize(
    net: nn.Module, optimizer: torch.optim.Optimizer, settings: Mapping[str, Any]
) -> Any:
    """Return DeepSpeed's engine. The process group must exist (``distributed.init_process_group``)."""
    DeepSpeedEngine.check_settings(settings)
    deepspeed = load_deepspeed()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        deepspeed.init_distributed(auto_mpi_discovery=False, verbose=False)
        engine, *_ = deepspeed.initialize(
            model=net.to(distributed.device()),
            optimizer=optimizer,
            config=deepspeed_config(settings),
            dist_init_required=False,
        )
    if getattr(engine, "managed_gradient_accumulation", lambda: True)():
        raise UserError(
            "train.engine: deepspeed must be version 0.19.8 or later, below 0.20"
        )
    return engine


def _refuse_split_parameters(
    optimizer: torch.optim.Optimizer, fragments: list[list[Fragment]], stage: int
) -> None:
    """Raise `UserError` if ranks hold parts of parameters and the optimizer needs complete ones."""
    split = []
    for group in fragments:
        split += [part.name for part in group if not part.is_complete]
    problem = None
    if split and not getattr(optimizer, "elementwise", False):
        problem = (
            f"train.zero: stage {stage} splits parameters over ranks, such as {split[0]!r}, but the "
            f"optimizer {type(optimizer).__name__} needs complete ones. Set train.zero=0, use an optimizer "
            "that treats each element alone (adamw, sgd, lion), or, if yours does, set "
            "`elementwise: true` in train.optimizer"
        )
    distributed.raise_on_all_ranks(problem)
