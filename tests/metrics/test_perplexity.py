"""Perplexity, bits per byte and token accuracy add up over texts and divide once."""

from __future__ import annotations

import math

import pytest

from mplug2.metrics.perplexity import bits_per_byte, perplexity, token_accuracy

ROWS = [
    {"loss_sum": 3.0, "num_tokens": 2.0, "num_bytes": 9, "num_correct": 1.0},
    {"loss_sum": 1.0, "num_tokens": 6.0, "num_bytes": 7, "num_correct": 5.0},
]


def test_sums_are_divided_once() -> None:
    assert perplexity(ROWS)["perplexity"] == pytest.approx(math.exp(4 / 8))
    assert bits_per_byte(ROWS)["bits_per_byte"] == pytest.approx(4 / math.log(2) / 16)
    assert token_accuracy(ROWS)["token_accuracy"] == pytest.approx(6 / 8)


def test_a_network_that_knows_nothing_of_bytes_needs_eight_bits() -> None:
    rows = [{"loss_sum": 5 * math.log(256), "num_tokens": 5, "num_bytes": 5}]
    assert bits_per_byte(rows)["bits_per_byte"] == pytest.approx(8.0)


def test_nothing_to_measure_is_no_number() -> None:
    assert math.isnan(bits_per_byte([])["bits_per_byte"])
    assert math.isnan(
        bits_per_byte([{"loss_sum": 1.0, "num_tokens": 1.0}])["bits_per_byte"]
    )
    assert math.isnan(
        token_accuracy([{"loss_sum": 1.0, "num_tokens": 1.0}])["token_accuracy"]
    )
