"""`mplug2.load`: a run, a checkpoint and its weights are the same network; what is none is said."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from askable import everything, ready

import mplug2
from mplug2.predict.result import Result
from registry import UserError, read_spec


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run folder as a training leaves it: a checkpoint with its spec."""
    with everything(tmp_path_factory.mktemp("finished")) as folder:
        run = folder / "runs" / "entailment"
        read_spec(folder / "entailment.yaml").write(run / "best" / "spec.yaml")
        yield run


@pytest.mark.parametrize("name", [".", "best", "best/weights.safetensors"])
def test_a_run_a_checkpoint_and_its_weights_are_the_network(
    run: Path, name: str
) -> None:
    folder = run.parents[1]
    pipe = mplug2.load(run / name, top=2)
    assert pipe.checkpoint == run / "best"
    found = pipe(folder / "still0.png", question="it is red")
    expected = ready(folder, "entailment", top=2)(
        folder / "still0.png", question="it is red"
    )
    assert isinstance(found, Result)
    assert isinstance(expected, Result)
    assert found.guesses == expected.guesses


def test_overrides_are_those_of_the_spec(run: Path) -> None:
    pipe = mplug2.load(str(run), ["eval.batch_size=7"])
    assert pipe.net.spec.eval["batch_size"] == 7


def test_without_a_best_checkpoint_the_last_one_is_taken(
    run: Path, tmp_path: Path
) -> None:
    shutil.copytree(run / "best", tmp_path / "last")
    assert mplug2.load(tmp_path).checkpoint == tmp_path / "last"


@pytest.mark.parametrize("missing", ["spec.yaml", "weights.safetensors", "all"])
def test_what_is_no_finished_network_is_said(
    run: Path, tmp_path: Path, missing: str
) -> None:
    folder = tmp_path / "best"
    if missing != "all":
        shutil.copytree(run / "best", folder)
        (folder / missing).unlink()
    name = "spec.yaml" if missing == "all" else missing
    with pytest.raises(
        UserError, match=rf"must be a run folder .*{name} does not exist"
    ):
        mplug2.load(folder)
