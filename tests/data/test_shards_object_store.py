"""Shards in an object store: a real server process that speaks S3, and a file system in memory."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from loaders import eval_loader, one_epoch, train_loader
from test_shards import captioned, captions_source, rows_of

from mplug2.data.shards.index import ShardIndex
from registry.errors import UserError

NEEDED = [name for name in ("moto", "s3fs") if importlib.util.find_spec(name) is None]
STARTS_WITHIN = 60  # seconds


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fsspec.AbstractFileSystem]:
    """A server of moto in its own process, with an empty bucket."""
    if NEEDED:
        pytest.skip(f"needs {' and '.join(NEEDED)}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    )
    address = f"http://127.0.0.1:{port}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_ENDPOINT_URL", address)
        try:
            _wait_for(address)
            files = fsspec.filesystem("s3")
            files.mkdir("bucket")
            yield files
        finally:
            server.terminate()
            server.wait(timeout=30)


def _wait_for(address: str) -> None:
    for _ in range(STARTS_WITHIN * 10):
        try:
            urllib.request.urlopen(address, timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"the server at {address} did not start")


def upload(files: fsspec.AbstractFileSystem, folder: Path, target: str) -> None:
    for path in folder.iterdir():
        files.pipe_file(f"{target}/{path.name}", path.read_bytes())


@pytest.mark.parametrize("workers", [0, 1])
def test_samples_of_a_server_are_those_of_the_disk(
    s3: fsspec.AbstractFileSystem, workers: int, tmp_path: Path
) -> None:
    folder = captioned(tmp_path, [1, 2, 1, 3, 1], shard_bytes=3_000)
    upload(s3, folder, f"bucket/{workers}")
    batches = one_epoch(
        train_loader(captions_source(f"s3://bucket/{workers}"), 2, workers=workers)
    )
    expected = one_epoch(train_loader(captions_source(folder), 2))
    assert rows_of(batches) == rows_of(expected)
    for batch, other in zip(batches, expected, strict=True):
        assert batch.inputs["image"].equal(other.inputs["image"])
        assert batch.inputs["caption"].ids.equal(other.inputs["caption"].ids)


def test_missing_and_truncated_shards_of_a_server_are_named(
    s3: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    folder = captioned(tmp_path, [1] * 10, shard_bytes=3_000)
    upload(s3, folder, "bucket/damaged")
    s3.rm("bucket/damaged/00001.tar")
    short = (folder / "00003.tar").read_bytes()[:600]
    s3.pipe_file("bucket/damaged/00003.tar", short)
    loader = train_loader(
        captions_source("s3://bucket/damaged"), 1, max_bad_fraction=0.9
    )
    batches = one_epoch(loader)
    assert sum(len(batch.records) for batch in batches) == 10
    assert sorted(loader.bad) == [
        f"s3://bucket/damaged/0000{number}.tar" for number in (1, 3)
    ]
    with pytest.raises(
        UserError, match="s3://bucket/nowhere/manifest.json cannot be read"
    ):
        ShardIndex.open("s3://bucket/nowhere")


def test_any_file_system_of_fsspec_is_read(tmp_path: Path) -> None:
    folder = captioned(tmp_path, [2, 1, 1])
    memory = fsspec.filesystem("memory")
    upload(memory, folder, "/packed")
    read = list(eval_loader(captions_source("memory://packed", training=False), 3))
    expected = list(eval_loader(captions_source(folder, training=False), 3))
    assert [batch.records for batch in read] == [batch.records for batch in expected]
    memory.rm("/packed", recursive=True)
    with pytest.raises(UserError, match="fsspec does not read nosuch://"):
        ShardIndex.open("nosuch://packed")
