"""A package with one plug-in of each protocol (tests/plugins) installs, and the commands work with it."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from registry import KINDS, REGISTRIES
from registry.name_table import NameTable

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tests" / "plugins"
STEPS, EPOCHS = 256, 8
# Key maps describe released weights: the page key_map.md has an example of its own.
TABLES: list[NameTable] = [
    KINDS,
    *(table for table in vars(REGISTRIES).values() if table.kind != "key map"),
]


def entry_points() -> dict[str, dict[str, str]]:
    """Return the entry points in pyproject.toml by their group."""
    groups: dict[str, dict[str, str]] = {}
    text = (PACKAGE / "pyproject.toml").read_text(encoding="utf-8")
    for group, body in re.findall(
        r'\[project\.entry-points\."([\w.]+)"\]\n((?:.+\n)+)', text
    ):
        groups[group] = dict(re.findall(r'^(\w+) = "(.+)"$', body, flags=re.MULTILINE))
    return groups


def mplug2(site: Path, *words: str, code: int = 0) -> str:
    """Run a command with the package on the path; return what it prints on standard output."""
    return python(site, "-m", "mplug2", *words, code=code)


def python(site: Path, *words: str, code: int = 0) -> str:
    """Run Python with the package on the path; return what it prints on standard output."""
    path = f"{site}{os.pathsep}{ROOT}"
    done = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a fresh folder in which the package is installed."""
    pytest.importorskip("setuptools", reason="the package is built with setuptools")
    folder, source = (
        tmp_path_factory.mktemp("site"),
        tmp_path_factory.mktemp("source") / "package",
    )
    # The build writes into the folder of the sources.
    subprocess.run(["cp", "-r", str(PACKAGE), str(source)], check=True)
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


@pytest.fixture(scope="module")
def run(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished training run."""
    folder = tmp_path_factory.mktemp("run") / "digits"
    mplug2(site, "train", str(PACKAGE / "digits.yaml"), f"train.output_dir={folder}")
    return folder


def test_there_is_one_of_each_protocol_and_each_is_short() -> None:
    assert set(entry_points()) == {table.group for table in TABLES}
    for file in (PACKAGE / "digits").glob("*.py"):
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 60, file


def test_a_spec_over_it_is_checked(tmp_path: Path) -> None:
    # What `pip install -e` would write: quick enough for every run of the tests.
    lines = []
    for group, names in entry_points().items():
        lines += [
            f"[{group}]",
            *(f"{name} = {target}" for name, target in names.items()),
        ]
    (tmp_path / "digits.egg-info").mkdir()
    (tmp_path / "digits.egg-info" / "PKG-INFO").write_text(
        "Metadata-Version: 2.1\nName: digits\n"
    )
    (tmp_path / "digits.egg-info" / "entry_points.txt").write_text(
        "\n".join(lines) + "\n"
    )
    (tmp_path / "digits").symlink_to(PACKAGE / "digits")
    spec = str(PACKAGE / "digits.yaml")
    assert "no mistakes (stages 1-4" in mplug2(tmp_path, "check", spec)
    program = "from mplug2.data.text import Tokenizer; print(Tokenizer.load('characters').encode('a1'))"
    assert python(tmp_path, "-c", program) == "[2, 102, 54]\n"
    printed = mplug2(tmp_path, "check", spec, "train.optimizer.momentom=0.9", code=2)
    assert "did you mean 'momentum'?" in printed


@pytest.mark.slow
def test_list_names_everything(site: Path) -> None:
    printed = mplug2(site, "list")
    for names in entry_points().values():
        for name in names:
            assert re.search(rf"^{name} +\S", printed, flags=re.MULTILINE), name


@pytest.mark.slow
def test_check_and_data_check(site: Path, tmp_path: Path) -> None:
    spec = str(PACKAGE / "digits.yaml")
    assert "no mistakes (stages 1-5" in mplug2(site, "check", spec, "--smoke")
    printed = mplug2(site, "data", "check", spec)
    assert re.findall(r"^(\w+): (\d+) samples$", printed, flags=re.MULTILINE) == [
        ("train", "1024"),
        ("val", "64"),
        ("test", "64"),
    ]
    assert "0 digits: 10, 1 digits: 18" in printed
    # The same task reads a file, too.
    (tmp_path / "texts.txt").write_text("a1\nb22\n")
    text = (PACKAGE / "digits.yaml").read_text(encoding="utf-8")
    in_file = tmp_path / "digits.yaml"
    in_file.write_text(
        re.sub("test: .*", f"test: {{path: {tmp_path}/texts.txt}}", text)
    )
    printed = mplug2(site, "data", "check", str(in_file), "--split", "test")
    assert printed == "test: 2 samples\n  1 digits: 1, 2 digits: 1\n"
    mplug2(site, "data", "check", spec, f"data.test.path={tmp_path}/texts.txt", code=2)


@pytest.mark.slow
def test_train_learns_and_logs(run: Path) -> None:
    with (run / "log.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["value"]) for row in rows if row["name"] == "loss"]
    assert len(losses) == STEPS
    assert sum(losses[-10:]) < 0.6 * sum(losses[:10])
    evaluated = [
        int(row["step"]) for row in rows if row["name"] == "val/error/mean_error"
    ]
    assert evaluated == [STEPS // EPOCHS * epoch for epoch in range(1, EPOCHS + 1)]
    assert json.loads((run / "last" / "engine" / "steps.json").read_text()) == STEPS


@pytest.mark.slow
def test_training_resumes_with_the_count_of_the_engine(run: Path, site: Path) -> None:
    settings = (f"train.output_dir={run}", f"train.epochs={EPOCHS + 1}")
    mplug2(site, "train", str(PACKAGE / "digits.yaml"), "--resume", *settings)
    assert (
        json.loads((run / "last" / "engine" / "steps.json").read_text())
        == STEPS + STEPS // EPOCHS
    )


@pytest.mark.slow
def test_eval_is_better_than_chance(run: Path, site: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    words = (
        "eval",
        str(PACKAGE / "digits.yaml"),
        "-c",
        str(run / "best"),
        "--out",
        str(out),
    )
    values = dict(
        re.findall(r"^(\w+/\w+): ([\d.]+)", mplug2(site, *words), flags=re.MULTILINE)
    )
    rows = [
        json.loads(line)
        for line in (tmp_path / "rows.near.jsonl").read_text().splitlines()
    ]
    errors = [
        abs(int(row["prediction"]) - sum(map(str.isdigit, row["text"]))) for row in rows
    ]
    assert len(rows) == 64
    # 18 of the 64 texts have the most frequent number of digits.
    assert float(values["near/within_0"]) > 0.6
    assert float(values["near/within_0"]) == pytest.approx(
        errors.count(0) / 64, abs=1e-4
    )
    assert float(values["error/mean_error"]) == pytest.approx(
        sum(errors) / 64, abs=1e-4
    )


@pytest.mark.slow
def test_predict_counts_the_digits_of_a_text(run: Path, site: Path) -> None:
    words = ("predict", str(PACKAGE / "digits.yaml"), "-c", str(run / "best"))
    printed = mplug2(site, *words, "--text", "a1b22", "--text", "abcdefgh")
    answers = [json.loads(line)["answers"][0]["text"] for line in printed.splitlines()]
    assert answers == ["3", "0"]
    mplug2(site, *words, "--text", "longer than 8 bytes", code=2)
