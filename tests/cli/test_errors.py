"""What becomes of mistakes, interruptions and closed pipes: one message, an exit code, no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mplug2.cli.app import app
from registry import UserError

ROOT = Path(__file__).resolve().parents[2]


def mplug2(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(
        [sys.executable, "-m", "mplug2", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", ["show", "eject", "data check"])
def test_a_missing_spec_is_one_message_before_torch_is_imported(command: str) -> None:
    done = mplug2(*command.split(), "no/such.yaml", PYTHONPROFILEIMPORTTIME="1")
    output = done.stderr.splitlines()
    imported = {line.rpartition("|")[2].strip() for line in output}
    assert "registry" in imported and "torch" not in imported
    assert done.returncode == 2


def test_a_missing_spec_is_one_message() -> None:
    done = mplug2("show", "no/such.yaml")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("no/such.yaml: no such file: no/such.yaml")
    assert "Traceback" not in done.stderr


def test_debug_keeps_the_traceback() -> None:
    done = mplug2("show", "no/such.yaml", MPLUG2_DEBUG="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_what_is_no_setting_is_named() -> None:
    done = CliRunner().invoke(app, ["show", "one.yaml", "two.yaml"])
    assert done.exit_code == 2
    assert "'two.yaml' must be a setting KEY=VALUE" in done.output


@pytest.mark.parametrize("bad", ["mplug2:model.pth", "=mplug2:x", "*="])
def test_init_must_name_a_pattern_and_a_source(bad: str) -> None:
    from mplug2.cli.arguments import init_overrides

    with pytest.raises(UserError, match="PATTERN=SOURCE"):
        init_overrides([bad])


def test_init_becomes_a_setting_that_keeps_dots_and_stars() -> None:
    import registry
    from mplug2.cli.arguments import init_overrides

    spec = ROOT / "configs_video" / "VideoQA_shapes_tiny.yaml"
    read = registry.read_spec(
        spec,
        overrides=init_overrides(
            ["*=mplug2:my models/a.pth", "vision.stem=checkpoint:b"]
        ),
    )
    assert read.init == {"*": "mplug2:my models/a.pth", "vision.stem": "checkpoint:b"}


def test_an_interruption_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("registry.read_spec", interrupted)
    done = CliRunner().invoke(app, ["show", "any.yaml"])
    assert done.exit_code == 130
    assert "interrupted" in done.output


@pytest.mark.parametrize(
    "command",
    ["list", "--help", "check configs_video/VideoQA_shapes_tiny.yaml --stages 1-3"],
)
def test_a_closed_pipe_is_quiet(command: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "mplug2", *command.split()],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    complaint = process.stderr.read()
    process.stderr.close()
    process.wait()
    assert complaint == b""


def test_a_terminal_with_few_letters_gets_the_others_escaped() -> None:
    done = mplug2("check", "gr\u00fcn.yaml", PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert "gr\\xfcn.yaml" in done.stdout and "Traceback" not in done.stderr


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="this system has no full device"
)
def test_an_output_that_is_full_is_one_message() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "mplug2", "list"]
        done = subprocess.run(
            command,
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == "the output cannot be written (No space left on device)\n"
