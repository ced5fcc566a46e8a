"""Sources of first weights: those that a check knows are those that can be loaded."""

from __future__ import annotations

from mplug2.weights.sources import SOURCES
from registry.initial import ORIGINS


def test_every_source_that_a_check_knows_can_be_loaded() -> None:
    assert list(SOURCES) == list(ORIGINS)
