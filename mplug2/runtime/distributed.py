"""Process-group setup and small collectives: rank, barrier, gather, broadcast."""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import socket
import uuid
from collections.abc import Callable, Iterator
from numbers import Real
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist

from registry.errors import UserError

T = TypeVar("T")
# How the backends report it: gloo by the file of its transport, NCCL by its kind of error.
_LOST_RANK = re.compile(
    r"gloo/transport|[Cc]onnection (was )?(reset|closed|refused)|ncclRemoteError|Broken pipe"
)


def init_process_group(accelerator: bool) -> None:
    """Enter the process group that a launcher (torchrun, deepspeed) describes, or a group of one without a
    launcher."""
    if dist.is_initialized():
        return
    if "RANK" not in os.environ:
        # A free port, since several runs may share a machine; DeepSpeed reads these variables, too.
        alone = {
            "RANK": "0",
            "WORLD_SIZE": "1",
            "LOCAL_RANK": "0",
            "MASTER_ADDR": "127.0.0.1",
        }
        os.environ.update(alone, MASTER_PORT=str(_free_port()))
    needed = ("WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    missing = [key for key in needed if key not in os.environ]
    if missing:
        raise UserError(
            f"{', '.join(missing)} must be set, as RANK is: start with torchrun or deepspeed, or unset RANK"
        )
    try:
        if accelerator:
            # One GPU for each process of this machine.
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(device)
            dist.init_process_group("nccl", device_id=device)
        else:
            dist.init_process_group("gloo")
    except dist.DistNetworkError as error:
        address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise UserError(
            f"the processes cannot meet at {address} ({str(error).splitlines()[0]}). Set another "
            "MASTER_PORT, or unset RANK if there is no launcher"
        ) from error
    # Also after an error, when nothing else leaves the group.
    atexit.register(leave)


def leave() -> None:
    """Leave the process group: a process that ends within one may be aborted by its threads (seen with
    gloo)."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """Return the rank of this process, 0 without a process group."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of ranks."""
    return dist.get_world_size() if dist.is_initialized() else 1


def local_rank() -> int:
    """This process' number on its own machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def device() -> torch.device:
    """Where this process computes: its own GPU, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", local_rank())
    return torch.device("cpu")


def cpu_group() -> Any:
    """Return a new group of all ranks for exchanges on the CPU, such as those of a thread; all ranks must
    call it. None, which the other functions take as well, if there is but one rank."""
    return dist.new_group(backend="gloo") if world_size() > 1 else None


def barrier() -> None:
    """Wait for all ranks."""
    if world_size() > 1:
        dist.barrier()


def all_reduce_sum(*values: float) -> list[float]:
    """Return the sum over all ranks of each value, in one exchange; all ranks must call it.

    Each value is a separate argument, a number or a tensor of one element:
    ``correct, total = all_reduce_sum(num_correct, num_rows)``. The result is a list also for one value:
    ``all_reduce_sum(loss)[0]``. Sums are float64. Raises `TypeError` for anything else, such as a list;
    use `all_gather_object` for other values.
    """
    numbers = [_number(value) for value in values]
    if world_size() == 1:
        return numbers
    sums = torch.tensor(numbers, dtype=torch.float64, device=device())
    dist.all_reduce(sums)
    return [float(value) for value in sums.tolist()]


def all_reduce_tensor(value: torch.Tensor) -> torch.Tensor:
    """The sum over all ranks of a tensor of the same shape; where there is but one rank, ``value`` itself."""
    if world_size() == 1:
        return value
    here = value.to(device())
    dist.all_reduce(here)
    return here.to(value.device)


def all_gather_object(value: T, group: Any = None) -> list[T]:
    """Return the ``value`` of every rank, in rank order, on every rank; all ranks must call it.

    ``group`` (`cpu_group`): the exchange is independent of those in other groups.
    A value is anything that pickles: ``rows = [row for part in all_gather_object(rows) for row in part]``.
    """
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value, group=group)
    return values


def broadcast_from_rank0(value: T) -> T:
    """Rank 0's ``value``, on every rank."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def on_rank0(function: Callable[[], T]) -> T:
    """Return what ``function`` returns on rank 0, on every rank; an error of rank 0 is raised on all ranks.

    The other ranks raise it as `UserError`: a rank that fails alone leaves the others waiting.
    """
    if world_size() == 1:
        return function()
    result: T | None = None
    failure: Exception | None = None
    if rank() == 0:
        try:
            result = function()
        except Exception as error:
            failure = error
    # Sent as text: an exception need not pickle.
    message = None if failure is None else str(failure)
    result, message = broadcast_from_rank0((result, message))
    if failure is not None:
        raise failure
    if message is not None:
        raise UserError(f"{message} (rank 0 of {world_size()})")
    return cast(T, result)


def raise_on_all_ranks(problem: str | None, group: Any = None) -> None:
    """Raise UserError on every rank if one of them has a problem: a rank that stops alone leaves the others
    waiting. ``group`` is that of `all_gather_object`."""
    texts = all_gather_object(problem, group)
    problems = [(i, text) for i, text in enumerate(texts) if text]
    if problems:
        where = (
            f" (rank {problems[0][0]} of {world_size()})" if world_size() > 1 else ""
        )
        raise UserError(problems[0][1] + where)


@contextlib.contextmanager
def lost_rank_named() -> Iterator[None]:
    """Turn the error of a broken connection to another rank into a UserError with what to do."""
    try:
        yield
    except RuntimeError as error:
        if world_size() == 1 or not _LOST_RANK.search(str(error)):
            raise
        raise UserError(
            f"another process of this run has ended: rank {rank()} of {world_size()} has lost its "
            "connection. The cause is the first error in the output of the others (one without a message was "
            "often killed for memory). Start all of them again, a training with --resume"
        ) from error


def is_writer(folder: Path) -> bool:
    """Whether this process writes what is the same for all ranks: rank 0, and one process per machine with
    a separate disk."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"train.output_dir must be a folder that can be written to, but {folder} is not "
            f"({error.strerror})"
        ) from error
    if world_size() == 1:
        return True
    # A file of rank 0 that this process sees is on a disk that both share.
    token = folder / broadcast_from_rank0(f".shared-{uuid.uuid4().hex}")
    if rank() == 0:
        token.touch()
    barrier()
    sees = token.exists()
    barrier()
    if rank() == 0:
        token.unlink()
    return rank() == 0 or (local_rank() == 0 and not sees)


def _number(value: Any) -> float:
    """Return a number or a tensor of one element as a float; raise `TypeError` for anything else."""
    is_number = isinstance(value, Real)
    if is_number or (isinstance(value, torch.Tensor) and value.numel() == 1):
        return float(value)
    shape = f" of {value.numel()} elements" if isinstance(value, torch.Tensor) else ""
    raise TypeError(
        f"all_reduce_sum takes numbers, each as a separate argument (got {type(value).__name__}{shape}). "
        "Write `all_reduce_sum(*values)`"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
