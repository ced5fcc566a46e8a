"""`mplug2 doctor`: what is judged missing, what is a note, and how both are printed."""

from __future__ import annotations

import json
import shutil
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from mplug2.cli import machine
from mplug2.cli.app import app
from mplug2.cli.machine import Finding

run = CliRunner().invoke
VERSIONS = {"torch": "2.13.0+cpu", "numpy": "1.20.0"}
REQUIRES = (
    *("torch<2.14,>=2.6", "numpy<3,>=1.26", "einops>=0.8", 'old; python_version < "3"'),
    *('h5py>=3.8; extra == "regions"', 'pytest>=8; extra == "dev"'),
)


def version_of(name: str) -> str:
    if name not in VERSIONS:
        raise metadata.PackageNotFoundError(name)
    return VERSIONS[name]


def test_packages_are_compared_with_what_is_required() -> None:
    results = {
        finding.name: finding for finding in machine.packages(REQUIRES, version_of)
    }
    assert list(results) == ["torch", "numpy", "einops", "h5py"]
    assert {name: finding.state for name, finding in results.items()} == {
        "torch": "ok",
        "numpy": "missing",
        "einops": "missing",
        "h5py": "note",
    }
    assert results["numpy"].value == "1.20.0, but must be <3,>=1.26"
    assert results["einops"].fix == "pip install 'einops>=0.8'"
    assert results["h5py"].fix == "pip install 'mplug2[regions]'"


def fake_torch(monkeypatch: pytest.MonkeyPatch, gpus: list[Any], driver: bool) -> None:
    cuda = SimpleNamespace(
        device_count=lambda: len(gpus),
        is_available=lambda: bool(gpus),
        get_device_properties=gpus.__getitem__,
    )
    torch = SimpleNamespace(
        cuda=cuda, version=SimpleNamespace(cuda=None), get_num_threads=lambda: 2
    )
    monkeypatch.setattr(machine.importlib, "import_module", lambda name: torch)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/x" if driver else None)


def test_a_gpu_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [
        SimpleNamespace(name="A", total_memory=80 << 30, major=9),
        SimpleNamespace(name="B", total_memory=16 << 30, major=7),
    ]
    fake_torch(monkeypatch, gpus, driver=True)
    _, first, second = machine.devices()
    assert first == Finding("devices", "GPU 0", "ok", "A, 80 GiB, bf16")
    assert second.value == "B, 16 GiB, no bf16: use train.precision=fp16"


@pytest.mark.parametrize(
    ("driver", "start"),
    [
        (False, "none: "),
        (True, "a driver is installed, but torch (built without CUDA)"),
    ],
)
def test_no_gpu_is_a_note(
    monkeypatch: pytest.MonkeyPatch, driver: bool, start: str
) -> None:
    fake_torch(monkeypatch, [], driver)
    _, finding = machine.devices()
    assert finding.state == "note"
    assert finding.value.startswith(start)
    assert bool(finding.fix) == driver


def test_absent_decoders_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    av = SimpleNamespace(__version__="1", codecs_available={"h264", "gif"})
    monkeypatch.setattr(machine.importlib, "import_module", lambda name: av)
    present, absent = machine.decoders()
    assert present.value == "1: h264, gif"
    assert absent.value == "PyAV cannot decode hevc, vp9, av1, mpeg4"
    assert absent.fix


@pytest.mark.parametrize(
    ("free", "state"), [(100, "ok"), (5, "note"), (0.5, "missing")]
)
def test_disk_space_is_judged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: float, state: str
) -> None:
    usage = SimpleNamespace(free=int(free * machine.GIB), total=1 << 40)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    (finding,) = machine.disk({"run folders": tmp_path / "not" / "there"})
    assert finding.state == state
    assert str(tmp_path) in finding.value
    assert bool(finding.fix) == (state != "ok")


def test_a_folder_that_cannot_be_written_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine.os, "access", lambda folder, mode: False)
    states = [
        finding.state
        for finding in machine.disk({"temporary": tmp_path, "cache": tmp_path})
    ]
    assert states == ["missing", "note"]


def test_small_shared_memory_is_a_note(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usage = SimpleNamespace(free=0, total=64 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    (finding,) = machine.shared_memory(tmp_path)
    assert finding.state == "note"
    assert "--shm-size" in finding.fix
    assert list(machine.shared_memory(tmp_path / "absent")) == []


def test_this_machine_runs_the_tests() -> None:
    done = run(app, ["doctor", "--json"])
    report = json.loads(done.output)
    assert report["ok"]
    assert done.exit_code == 0
    names = {finding["name"] for finding in report["findings"]}
    assert {
        "python",
        "torch",
        "CPU",
        "PyAV",
        "Pillow",
        "METEOR",
        "run folders",
    } <= names


def test_what_is_missing_is_exit_code_1_with_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = Finding(
        "packages", "av", "missing", "not installed", "pip install 'av>=14'"
    )
    monkeypatch.setattr(machine, "findings", lambda: [missing])
    done = run(app, ["doctor"])
    assert done.exit_code == 1
    assert "pip install 'av>=14'" in done.output
    assert done.output.endswith("something that commands need is missing\n")


def test_a_library_that_does_not_load_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> list[Finding]:
        raise OSError("libavcodec.so: cannot open\nmore")

    monkeypatch.setattr(machine, "decoders", broken)
    (finding,) = (item for item in machine.findings() if item.state == "missing")
    assert finding.name == "av"
    assert finding.value == "cannot be imported: libavcodec.so: cannot open"
