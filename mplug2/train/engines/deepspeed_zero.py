"""What this project reads from inside DeepSpeed's ZeRO optimizers (0.19.8), all in one place."""

from __future__ import annotations

import logging
import os
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from mplug2.runtime import distributed
from mplug2.train.engines.fragments import Fragment, make_fragment


def load_deepspeed() -> Any:
    """Import DeepSpeed without its chatter, its wish for a compiler, and its deprecated calls into torch."""
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import deepspeed

        # It would be compiled for a minute; gloo does the same.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    # Its warnings repeat what StepResult reports, or are about the optimizer that it is given.
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    # Stage 3 calls torch functions that torch 2.13 renamed; users cannot change that.
    warnings.filterwarnings(
        "ignore", r".*torch\.distributed\.\w+.* is deprecated", FutureWarning
    )
    return deepspeed


class ZeroOptimizer:
    """DeepSpeed's optimizer of ZeRO stage 1, 2 or 3, after ``deepspeed.initialize``."""

    def __init__(self, inner: Any, stage: int) -> None:
        self.inner = inner
        self.stage = stage

    def flats(self) -> list[Tensor]:
        """Return the flat float32 masters of this rank, in the order of the parameter groups."""
        if self.stage < 3:
            return list(self.inner.single_partition_of_fp32_groups)
        # Stage 3 cuts large groups into sub-groups, whose order need not be that of the groups.
        flats = self.inner.fp32_partitioned_groups_flat
        groups = self.inner.sub_group_to_group_id
        order = sorted(range(len(flats)), key=lambda index: groups[index])
        return [flats[index] for index in order]

    def fragment(self, name: str, parameter: nn.Parameter) -> Fragment | None:
        """Return what this rank holds of the master of a parameter, or None."""
        if self.stage < 3:
            mapping = parameter._hp_mapping  # type: ignore[attr-defined]
            if mapping is None:
                return None
            flat = self.inner.single_partition_of_fp32_groups[mapping.param_group_index]
            within, address = mapping.lp_fragment_address, mapping.hp_fragment_address
            return make_fragment(
                name, parameter.shape, within.start, within.numel, flat, address.start
            )
        sub_group, offset, length = self.inner.grad_position[
            self.inner.get_param_id(parameter)
        ]
        start = length * distributed.rank()
        # The last ranks may hold padding only.
        numel = min(length, parameter.ds_numel - start)  # type: ignore[attr-defined]
        if numel <= 0:
            return None
        flat = self.inner.fp32_partitioned_groups_flat[sub_group]
        shape = torch.Size(parameter.ds_shape)  # type: ignore[attr-defined]
        return make_fragment(name, shape, start, numel, flat, offset)

    def begin_backward(self) -> None:
        """Announce another backward pass to ZeRO.

        DeepSpeed does so in ``forward``. A second backward pass without a forward pass between would
        overwrite the gradients at stage 3.
        """
        self.inner.clear_backward_seen_flag()

    def forget_gradients(self) -> None:
        """Zero what the next step would apply again at stage 3 to parameters that it does not reach."""
        if self.stage == 3:
            self.inner.grad_partitions_flat_buffer.zero_()

    def refresh_weights(self) -> None:
        """Copy the masters into the weights; all ranks must call this."""
        if self.stage < 3:
            self.inner.update_lp_params()
            return
        for sub_group in range(len(self.inner.fp32_partitioned_groups_flat)):
            self.inner._reassign_or_swap_out_partitioned_parameters(sub_group)
        persistent = self.inner.persistent_parameters
        if persistent:
            persistent[0].all_gather(persistent)

    def scaler_state(self) -> dict[str, Any]:
        """Return the numbers of the loss scaler (fp16)."""
        # Plain numbers alone, so that reading them back needs no class of DeepSpeed.
        state = {}
        for key, value in vars(self.inner.loss_scaler).items():
            if isinstance(value, bool | int | float):
                state[key] = value
        return state

    def load_scaler_state(self, state: dict[str, Any]) -> None:
        """Restore what ``scaler_state`` returned."""
        vars(self.inner.loss_scaler).update(state)


def format_1_types() -> list[Any]:
    """Return the classes that DeepSpeed put into the optimizer files of checkpoints without a manifest."""
    load_deepspeed()
    from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    return [LossScaler, DynamicLossScaler, ZeroStageEnum, fragment_address]


def full_parameter(parameter: Tensor, stage: int) -> Tensor:
    """Return the complete float32 master of a trainable parameter; a frozen one, or a buffer, unchanged.

    All ranks must call this.
    """
    from deepspeed.utils import safe_get_full_fp32_param

    if stage == 3 and hasattr(parameter, "ds_id"):
        if parameter.requires_grad:
            master: Tensor = safe_get_full_fp32_param(parameter)
            return master.detach()
        import deepspeed

        with deepspeed.zero.GatheredParameters([parameter]):
            return parameter.detach().clone()
    # At stages 1 and 2 in fp32, weights are exact copies of the masters, on all ranks.
    if stage and parameter.requires_grad and parameter.dtype != torch.float32:
        master = safe_get_full_fp32_param(parameter)
        return master.detach()
    return parameter.detach()
