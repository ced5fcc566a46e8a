"""`mplug2 bench train-step` tells a mistake in one message, and not by what its processes print."""

from __future__ import annotations

import pytest

from mplug2.bench.train_step import Variant, measure
from registry import UserError


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("no/such.yaml", "no/such.yaml: no such file"),
        pytest.param(
            "configs_video/VideoCaption_shapes_tiny.yaml",
            "must ask about videos .* but lacks answer, question",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_mistake_in_a_process_of_its_own_is_one_message(
    spec: str,
    said: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(request.config.rootpath)
    with pytest.raises(UserError, match=said) as error:
        measure(Variant("plain", spec, (), 1, 1), 1)
    assert "Traceback" not in str(error.value)
