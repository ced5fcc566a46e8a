"""The order of names that depend on each other."""

from __future__ import annotations

from registry.language.topology import topological_order


def test_each_name_follows_what_it_depends_on() -> None:
    order = topological_order(
        {"loss": ["logits", "answer"], "logits": ["answer"], "answer": []}
    )
    assert order == ["answer", "logits", "loss"]


def test_a_cycle_and_what_needs_it_are_left_out() -> None:
    assert topological_order({"a": ["b"], "b": ["a"], "c": ["a"], "d": []}) == ["d"]


def test_a_name_may_be_needed_twice() -> None:
    assert topological_order({"b": ["a", "a"], "a": []}) == ["a", "b"]


def test_a_long_chain_needs_no_recursion() -> None:
    chain = {
        f"line{number}": [f"line{number - 1}"] if number else []
        for number in range(50_000)
    }
    assert topological_order(chain) == list(chain)
