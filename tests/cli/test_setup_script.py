"""scripts/setup.sh with a Python that only pretends to install: once, again, at once, interrupted."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHELL = shutil.which("dash") or "sh"


def fresh(tmp_path: Path) -> Path:
    """A copy of what setup.sh reads, with a Python that only pretends to install."""
    folder = tmp_path / "fresh copy"
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    for name in ("setup.py", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    python = folder / "python"
    python.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        '    "-m venv"*) for last; do :; done; mkdir -p "$last/bin"; cp "$0" "$last/bin/python" ;;\n'
        '    "-m pip"*) echo "$*" >>"$CALLS"\n'
        '        trap \'echo "pip terminated" >>"$CALLS"; exit 143\' TERM\n'
        '        while [ -n "${SLOW:-}" ]; do sleep 0.1; done\n'
        '        [ -z "${FAIL:-}" ] ;;\n'
        "    *print*) echo 3.12 ;;\n"
        "esac\n"
    )
    python.chmod(0o755)
    return folder


def setup(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHON": str(folder / "python"),
        "CALLS": str(folder / "calls"),
        **settings,
    }
    command = [SHELL, str(folder / "scripts" / "setup.sh")]
    return subprocess.run(
        command, cwd="/", env=environment, capture_output=True, text=True, check=False
    )


def test_setup_is_done_once_and_again_when_a_pin_changes(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    first = setup(folder, HOME="")
    assert first.returncode == 0, first.stderr
    assert "ready:" in first.stdout
    assert (folder / "calls").read_text().count("-c constraints.txt") == 2
    second = setup(folder)
    assert (second.returncode, second.stdout) == (0, "")
    assert (folder / "calls").read_text().count("-c constraints.txt") == 2, (
        "the second call runs no pip"
    )
    with (folder / "constraints.txt").open("a") as pins:
        pins.write("# changed\n")
    assert "installing" in setup(folder).stdout


def test_a_failed_installation_is_reported_and_repeated(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    failed = setup(folder, FAIL="1")
    assert failed.returncode == 1
    assert "pip failed" in failed.stderr
    assert not (folder / ".venv" / ".mplug2-stamp").exists()
    assert "ready:" in setup(folder).stdout


@pytest.mark.slow
def test_an_interrupted_installation_terminates_pip_and_is_repeated(
    tmp_path: Path,
) -> None:
    folder = fresh(tmp_path)
    environment = {
        **os.environ,
        "PYTHON": str(folder / "python"),
        "CALLS": str(folder / "calls"),
        "SLOW": "1",
    }
    with subprocess.Popen(
        [SHELL, str(folder / "scripts" / "setup.sh")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        while not (folder / "calls").exists():
            time.sleep(0.05)
        running.terminate()
        output, _ = running.communicate(timeout=120)
    assert running.returncode == 130
    assert "interrupted; run again to continue" in output
    assert (folder / "calls").read_text().endswith("pip terminated\n")
    assert not (folder / ".venv" / ".mplug2-stamp").exists()
    assert "ready:" in setup(folder).stdout


@pytest.mark.slow
def test_two_setups_at_once_install_once(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    command = [SHELL, str(folder / "scripts" / "setup.sh")]
    environment = {
        **os.environ,
        "PYTHON": str(folder / "python"),
        "CALLS": str(folder / "calls"),
    }
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in "12"
    ]
    outputs = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert (folder / "calls").read_text().count(
        "-c constraints.txt"
    ) == 2  # of one setup
    assert sorted("waiting for another setup" in text for text in outputs) == [
        False,
        True,
    ]
    assert not (folder / ".cache" / "setup.lock").exists()


@pytest.mark.slow
def test_the_lock_of_a_setup_that_was_killed_is_taken_over(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    (folder / ".cache" / "setup.lock").mkdir(parents=True)
    gone = subprocess.Popen(["true"])
    gone.wait()
    (folder / ".cache" / "setup.lock" / "owner").write_text(
        f"{socket.gethostname()} {gone.pid}\n"
    )
    assert "ready:" in setup(folder).stdout


def test_a_different_python_from_that_of_the_environment_is_refused(
    tmp_path: Path,
) -> None:
    folder = fresh(tmp_path)
    setup(folder)
    (folder / "other").write_text(
        (folder / "python").read_text().replace("3.12", "3.13")
    )
    (folder / "other").chmod(0o755)
    done = setup(folder, PYTHON=str(folder / "other"))
    assert done.returncode == 1
    assert "is not the Python that .venv was created with" in done.stderr


@pytest.mark.parametrize(
    ("python", "message"),
    [
        (
            'case "$1" in -V) echo Python 3.8.1 ;; *) exit 1 ;; esac',
            "must be a Python of 3.10 or newer, but is Python 3.8.1",
        ),
        (
            'case "$*" in *ensurepip*) exit 1 ;; *) exit 0 ;; esac',
            "apt install python3-venv",
        ),
    ],
    ids=["old", "without venv"],
)
def test_an_unsuitable_python_is_reported(
    tmp_path: Path, python: str, message: str
) -> None:
    folder = fresh(tmp_path)
    (folder / "python").write_text(f"#!/bin/sh\n{python}\n")
    done = setup(folder)
    assert done.returncode == 1
    assert message in done.stderr


def test_a_full_disk_is_reported(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    (folder / "bin").mkdir()
    (folder / "bin" / "df").write_text(
        "#!/bin/sh\necho head\necho disk 100 50 1048576 50% /\n"
    )
    (folder / "bin" / "df").chmod(0o755)
    done = setup(folder, PATH=f"{folder / 'bin'}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert "has 1 GB left" in done.stderr
