"""A module from another package, found by its entry points: installed, listed, checked, built, ejected."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tests" / "example_package"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the package is installed, as `pip install` would."""
    pytest.importorskip("setuptools", reason="the package is built with setuptools")
    folder, source = (
        tmp_path_factory.mktemp("site"),
        tmp_path_factory.mktemp("source") / "package",
    )
    subprocess.run(
        ["cp", "-r", str(PACKAGE), str(source)], check=True
    )  # the build writes beside the sources
    words = [
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--target",
        str(folder),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *words, str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def mplug2(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": f"{site}{os.pathsep}{ROOT}",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, "-m", "mplug2", *words],
        env=environment,
        cwd=PACKAGE,
        capture_output=True,
        text=True,
        check=False,
    )


def test_its_names_are_listed_with_what_they_do(site: Path) -> None:
    done = mplug2(site, "list", "[gp]*")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^gate +`text \+ sigmoid\(weigh", done.stdout, flags=re.MULTILINE)
    assert re.search(
        r"^pool +Return one vector for each row", done.stdout, flags=re.MULTILINE
    )


@pytest.mark.slow
def test_a_spec_over_it_passes_all_five_stages(site: Path) -> None:
    done = mplug2(site, "check", "entailment.yaml", "--smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no mistakes (stages 1-5" in done.stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "modules.gate.width=64",
            "width mismatch: port 'text' of gate must be width 64",
        ),
        ("modules.gate.widht=64", "unknown argument of 'gate': 'widht'"),
        (
            "flow.both=gate(text=spoken)",
            "port 'vision' of gate must be filled, but is not",
        ),
        (
            "flow.summary=pool(both, by='mena')",
            "option 'by' of pool must be one of 'mean', 'first', but is 'mena'",
        ),
    ],
)
def test_mistakes_are_told_as_for_modules_of_the_framework(
    change: str, message: str, site: Path
) -> None:
    done = mplug2(site, "check", "entailment.yaml", change)
    assert done.returncode == 2
    assert message in done.stdout.splitlines()[0]


@pytest.mark.slow
def test_it_is_ejected_from_its_own_package(site: Path, tmp_path: Path) -> None:
    done = mplug2(site, "eject", "entailment.yaml", "-o", str(tmp_path / "net.py"))
    assert done.returncode == 0, done.stderr
    assert (
        "from example_package.gate import Gate\n" in (tmp_path / "net.py").read_text()
    )


def test_without_the_package_the_name_is_unknown() -> None:
    done = mplug2(Path("nowhere"), "check", "entailment.yaml", "--stages", "1-3")
    assert done.returncode == 2
    assert "unknown module 'gate'" in done.stdout


def test_the_guide_shows_these_files() -> None:
    guide = (ROOT / "docs" / "writing_a_module.md").read_text()
    for file in (
        "pyproject.toml",
        "example_package/gate.py",
        "example_package/pool.py",
    ):
        assert (PACKAGE / file).read_text() in guide, (
            f"docs/writing_a_module.md must show {file} as it is"
        )
