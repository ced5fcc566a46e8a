"""CIDEr-D in worker processes equals the metric's."""

from __future__ import annotations

import pytest

from mplug2.metrics.caption.cider import CiderD
from mplug2.metrics.caption.metrics import Cider
from mplug2.objectives.cider_workers import Workers, count
from registry.errors import UserError

REFERENCES = [
    ["A man is cooking.", "a man cooks, in his kitchen"],
    ["two dogs run", "dogs are running on the grass", "Two dogs!"],
    ["a woman sings a song"],
]
SAID = [["a man is cooking", "a dog"], ["two dogs run on grass", "two two two"], ["a man sings", ""]]


@pytest.mark.parametrize("processes", [0, 1, 2, 5])
def test_scores_are_those_of_the_metric(processes: int) -> None:
    workers = Workers(processes, count(REFERENCES))
    scores = workers.score(list(zip(SAID, REFERENCES, strict=True)))
    for column in range(2):
        rows = [
            {"prediction": said[column], "references": given}
            for said, given in zip(SAID, REFERENCES, strict=True)
        ]
        mean = sum(row[column] for row in scores) / 3
        assert mean == pytest.approx(Cider().compute(rows)["cider"], abs=1e-12)
        assert len({row[column] for row in scores}) == 3


def test_frequencies_are_those_of_all_training_references() -> None:
    """A batch of one item would know no rare word from a common one."""
    alone = Workers(0, count(REFERENCES[:1])).score([(SAID[0], REFERENCES[0])])
    known = Workers(0, count(REFERENCES)).score([(SAID[0], REFERENCES[0])])
    assert alone[0] == [0.0, 0.0] and known[0][0] > 1.0
    tokens = [[text.lower().replace(",", "").rstrip(".!") for text in given] for given in REFERENCES]
    assert known[0] == CiderD(tokens).score(SAID[0], [0, 0])


def test_a_worker_that_was_killed_is_told() -> None:
    workers = Workers(1, count(REFERENCES))
    workers.score([(SAID[0], REFERENCES[0])])
    assert workers._pool is not None
    for process in workers._pool._processes.values():
        process.kill()
        process.join()
    with pytest.raises(UserError, match="workers: 0"):
        workers.score([(SAID[0], REFERENCES[0])])


def test_no_process_is_left_behind() -> None:
    workers = Workers(1, count(REFERENCES))
    workers.score([(SAID[0], REFERENCES[0])])
    pool = workers._pool
    assert pool is not None
    (process,) = pool._processes.values()
    assert process.is_alive()
    del workers
    process.join(timeout=10)
    assert not process.is_alive()
