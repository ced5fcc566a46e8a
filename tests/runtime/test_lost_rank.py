"""The error of a lost rank is one sentence; other errors stay the same."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys

import pytest

from mplug2.runtime import distributed
from registry import UserError

GLOO = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:537] Read error [127.0.0.1]:2448: Connection reset"


@pytest.mark.parametrize(
    "message", [GLOO, "Connection closed by peer", "ncclRemoteError: a remote process"]
)
def test_the_error_of_a_broken_connection_becomes_a_sentence(
    monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    expected = pytest.raises(
        UserError, match="another process of this run has ended: rank 0 of 2"
    )
    with expected, distributed.lost_rank_named():
        raise RuntimeError(message)


@pytest.mark.parametrize(("world", "message"), [(1, GLOO), (2, "CUDA out of memory")])
def test_other_errors_stay(
    monkeypatch: pytest.MonkeyPatch, world: int, message: str
) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: world)
    with pytest.raises(RuntimeError) as raised, distributed.lost_rank_named():
        raise RuntimeError(message)
    assert str(raised.value) == message


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as busy:
        busy.bind(("", 0))
        busy.listen()
        launcher = {
            "RANK": "0",
            "WORLD_SIZE": "1",
            "LOCAL_RANK": "0",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(busy.getsockname()[1]),
        }
        # In a process of its own: this one may have a group of ranks.
        program = "from mplug2.runtime import distributed; distributed.init_process_group(accelerator=False)"
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **launcher},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    error = done.stderr.strip().splitlines()[-1]
    assert re.search(
        r"UserError: .*cannot meet at 127\.0\.0\.1:\d+ .*Set another MASTER_PORT", error
    ), error
