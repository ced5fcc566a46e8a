"""Six published pre-training and fine-tuning systems as specs, at tiny sizes, from `check` to training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stand_ins
import torch
from drawn import assert_nothing_overlaps
from ejected import assert_same_network, ejected_network
from quick import mostly_slow
from safetensors.torch import load_file
from system_files import write_files
from typer.testing import CliRunner

import mplug2  # noqa: F401  (fills the registries)
from mplug2.build.smoke import smoke
from mplug2.cli.app import app
from mplug2.network import Network
from mplug2.train.logs import read_log
from mplug2.train.run import train
from registry import MODULES, OPERATIONS, TASKS, Spec, check, read_spec
from registry.training import training_plan

FOLDER = Path(__file__).parent
NAMES = ("pretrain_mplug2", "vlmo", "timix", "uniter", "clip", "mnli")
STEPS = 4
SETTINGS = ("train.warmup=0", "train.schedule=constant", "train.log_every=1")
every_system = pytest.mark.parametrize("name", NAMES)
# Experts by modality, and regions: together they draw, write out and train what the systems share.
QUICK = ("vlmo", "uniter")
two_systems = pytest.mark.parametrize("name", mostly_slow(NAMES, QUICK))


@pytest.fixture(scope="module", autouse=True)
def parts() -> Iterator[None]:
    """Register the parts of other packages for these tests."""
    with pytest.MonkeyPatch.context() as patch:
        for table in (MODULES, OPERATIONS, TASKS):
            patch.setattr(table, "_entries", dict(table._entries))
        stand_ins.register()
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all files that the specs read."""
    path = tmp_path_factory.mktemp("systems")
    write_files(path)
    return path


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in the folder of the files, whose paths in the specs are relative."""
    monkeypatch.chdir(folder)


def file_of(name: str) -> Path:
    return FOLDER / f"{name}.yaml"


def spec_of(name: str) -> Spec:
    return read_spec(file_of(name))


def run(*words: str) -> str:
    """Run a command; return what it prints."""
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return done.output


@every_system
def test_the_spec_has_no_mistake(name: str) -> None:
    assert check(spec_of(name)).problems == []


# The dry run of the largest takes as long as all other tests of this file.
SLOW = pytest.param("pretrain_mplug2", marks=pytest.mark.slow)


@pytest.mark.parametrize("name", [SLOW, *NAMES[1:]])
def test_nothing_is_in_the_way_of_a_run(name: str) -> None:
    """Checks all stages, and the files, vocabularies, lengths, engine and optimizer of a run."""
    assert "no mistakes" in run("check", str(file_of(name)), "--run")


@two_systems
def test_every_stream_is_listed(name: str) -> None:
    shown = run("show", str(file_of(name)))
    for stream in spec_of(name).flow:
        assert stream in shown


@two_systems
def test_drawings_and_differences(name: str, tmp_path: Path) -> None:
    file = str(file_of(name))
    assert_nothing_overlaps(spec_of(name))
    run("draw", file, "-o", str(tmp_path / "net.svg"))
    assert (tmp_path / "net.svg").read_text().startswith("<svg")
    assert run("diff", file, file).strip().startswith("no difference")


@every_system
def test_all_goals_train_every_parameter(name: str) -> None:
    assert smoke(spec_of(name)) == ""


@two_systems
def test_the_ejected_network_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    spec = spec_of(name)
    assert_same_network(spec, ejected_network(spec, tmp_path))


def trained(
    name: str, out: Path, *more: str, steps: int = STEPS, resume: bool = False
) -> Any:
    """Train some iterations of a system into a folder."""
    settings = [*SETTINGS, f"train.max_steps={steps}", f"train.output_dir={out}", *more]
    return train(file_of(name), settings, resume=resume)


def log_rows(folder: Path) -> list[dict[str, Any]]:
    """Return the logged iterations of a run."""
    return [row for row in read_log(folder / "log.jsonl") if "lr" in row]


# TiMix trains below.
@pytest.mark.parametrize(
    "name", mostly_slow(["pretrain_mplug2", *QUICK, "clip", "mnli"], QUICK)
)
def test_some_iterations_train(name: str, tmp_path: Path) -> None:
    result = trained(name, tmp_path / "run")
    assert result.steps == len(log_rows(tmp_path / "run")) == STEPS
    for evaluation in training_plan(spec_of(name)).evaluations:
        measured = [
            key for key in result.metrics if key.startswith(f"{evaluation.name}/")
        ]
        assert measured, evaluation.name


@pytest.fixture(scope="module")
def timix_run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Three iterations of TiMix without an interruption."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return trained("timix", tmp_path_factory.mktemp("timix") / "complete", steps=3)


def assert_same_end(complete: Any, resumed: Any) -> None:
    """Assert that two runs ended with the same bits."""
    assert resumed.steps == complete.steps
    left, right = (
        load_file(result.last / "weights.safetensors") for result in (complete, resumed)
    )
    assert left.keys() == right.keys()
    for key, value in left.items():
        assert torch.equal(value, right[key]), key


def test_timix_reuses_streams_until_a_length_and_resumes_bit_equal(
    timix_run: Any, tmp_path: Path
) -> None:
    rows = log_rows(timix_run.last.parents[1])
    assert len(rows) == 3
    for number, row in enumerate(rows):
        assert row["loss/regions"] > 0
        assert row["loss/pairs"] > 0
        # The step that mixes ends after two iterations; the ramp of its loss starts at zero.
        assert ("loss/pairs/mix" in row) == (number < 2)
        if number < 2:
            assert (row["loss/pairs/mix"] > 0) == (number == 1)
    trained("timix", tmp_path / "part", steps=1)
    resumed = trained("timix", tmp_path / "part", steps=3, resume=True)
    assert_same_end(timix_run, resumed)


class Killed(BaseException):
    """What ends a run without giving it time for anything."""


@pytest.mark.parametrize(
    "last_goal", ["mix", pytest.param("pairs", marks=pytest.mark.slow)]
)
def test_timix_killed_between_two_steps_of_an_iteration_resumes_bit_equal(
    last_goal: str, timix_run: Any, tmp_path: Path
) -> None:
    """The second iteration has already taken a step on regions (and one on pairs) when the run ends."""
    forward = Network.forward
    seen: list[str] = []

    def dies(self: Network, batch: Any, goal: str = "train", **more: Any) -> Any:
        seen.append(goal)
        if seen.count(last_goal) > 2:  # an iteration has two micro-batches of each goal
            raise Killed
        return forward(self, batch, goal, **more)

    settings = ("train.save_every={steps: 1}",)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Network, "forward", dies)
        with pytest.raises(Killed):
            trained("timix", tmp_path / "part", *settings, steps=3)
    assert seen[-3:-1] == {"pairs": ["regions"] * 2, "mix": ["pairs"] * 2}[last_goal]
    resumed = trained("timix", tmp_path / "part", *settings, steps=3, resume=True)
    assert_same_end(timix_run, resumed)
