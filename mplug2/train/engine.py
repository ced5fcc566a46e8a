"""DeepSpeed, set up: which configuration it gets, and nothing else reaches it."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from mplug2.runtime import distributed
from registry.errors import UserError


def engine_config(settings: Mapping[str, Any]) -> dict[str, Any]:
    """DeepSpeed's configuration, made of the spec's ``train`` section; DeepSpeed itself would ignore a
    misspelt key."""
    precision, stage = settings["precision"], int(settings["zero"])
    if precision != "fp32":
        # Stage 0 in 16 bit takes another optimiser of DeepSpeed (0.19), whose steps differ from all other
        # stages'.
        # Stage 1 on the same ranks computes what stage 0 means.
        stage = max(stage, 1)
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": int(settings["batch"]),
        "gradient_accumulation_steps": int(settings["accumulate"]),
        "gradient_clipping": float(settings["clip"] or 0.0) if stage else 0.0,  # 0: the loop clips
        "zero_optimization": {"stage": stage},
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 10**12,
        "wall_clock_breakdown": False,
    }
    if precision != "fp32":
        config[precision] = {"enabled": True}
    return config


def load_deepspeed() -> Any:
    """Import DeepSpeed without its chatter, its wish for a compiler, and its deprecated calls into torch."""
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import deepspeed

        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = (
            False  # would compile for a minute; gloo does the same
        )
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    # Stage 3 calls torch functions that torch 2.13 renamed; nothing that a user could mend.
    warnings.filterwarnings("ignore", r".*torch\.distributed\.\w+.* is deprecated", FutureWarning)
    return deepspeed


def start_engine(net: nn.Module, optimizer: torch.optim.Optimizer, settings: Mapping[str, Any]) -> Any:
    """Wrap ``net`` and ``optimizer`` in a DeepSpeed engine on this rank's device.

    The process group must exist (``distributed.init_process_group``).
    """
    deepspeed = load_deepspeed()
    from deepspeed.accelerator import get_accelerator

    if settings["precision"] == "fp16" and not get_accelerator().is_fp16_supported():
        raise UserError(
            "train.precision: fp16 needs a GPU that supports it; set train.precision=bf16 or fp32"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        deepspeed.init_distributed(auto_mpi_discovery=False, verbose=False)
        engine, *_ = deepspeed.initialize(
            model=net.to(distributed.device()),
            optimizer=optimizer,
            config=engine_config(settings),
            dist_init_required=False,
        )
    return engine
