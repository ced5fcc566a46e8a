"""Registries: lazy names, wildcards, suggestions, entry points, one owner a name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from registry import Registries, Registry, UserError


def test_wildcards_and_suggestions(names: Registries) -> None:
    assert names.modules.names("text_*") == [
        "text_decoder",
        "text_embedding",
        "text_encoder",
    ]
    assert names.modules.suggest("fushion") == "fusion"
    assert names.modules.suggest("xyz") is None
    with pytest.raises(
        UserError, match="unknown module 'fushion'; did you mean 'fusion'"
    ):
        names.modules.load("fushion")


def test_a_decorator_registers_what_is_below_it() -> None:
    registry = Registry("module")

    @registry.register("thing")
    class Thing:
        """A thing."""

        inputs = {"a": "scalar"}
        outputs = "scalar"

    assert registry.load("thing") is Thing
    assert registry.declaration("thing").doc == "A thing."


def test_lazy_load() -> None:
    registry = Registry("module")
    registry.register("fraction", "fractions:Fraction")
    from fractions import Fraction

    assert registry.load("fraction") is Fraction
    registry.register("gone", "fractions:Gone")
    registry.register("far", "no_such_package:Gone")
    for name in ("gone", "far"):
        with pytest.raises(
            UserError, match=rf"module '{name}' \(.*:Gone\) cannot be imported"
        ):
            registry.load(name)


def test_a_name_has_one_owner() -> None:
    registry = Registry("module")
    registry.register("a", "fractions:Fraction")
    registry.register("a", "fractions:Fraction")
    with pytest.raises(UserError) as caught:
        registry.register("a", "decimal:Decimal")
    message = str(caught.value)
    assert "decimal:Decimal" in message
    assert "fractions:Fraction (registered by" in message
    assert "test_registries.py:" in message


def test_the_same_class_again_takes_the_place_of_its_elder() -> None:
    registry = Registry("module")

    def make() -> type:
        class Thing:
            pass

        return Thing

    first, second = make(), make()
    registry.register("thing")(first)
    registry.register("thing")(second)  # a notebook's cell that was run again
    assert registry.load("thing") is second


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that offers modules by entry points."""
    info = tmp_path / "offering-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: offering\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text(
        "[offered.modules]\nglow = offering_parts:Glow\n"
    )
    (tmp_path / "offering_parts.py").write_text(
        'class Glow:\n    """Glow."""\n    outputs = "scalar"\n'
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("package")
def test_entry_points() -> None:
    registry = Registry("module", "offered.modules")
    assert "glow" in registry
    assert registry.names() == ["glow"]
    assert registry.declaration("glow").doc == "Glow."
    assert "offering_parts" not in sys.modules
    assert registry.load("glow").__name__ == "Glow"


@pytest.mark.usefixtures("package")
def test_an_entry_point_cannot_take_a_name() -> None:
    registry = Registry("module", "offered.modules")
    registry.register("glow", "fractions:Fraction")
    with pytest.raises(
        UserError,
        match=r"offering_parts:Glow \(registered by the entry points of offering\)",
    ):
        registry.names()


def test_importing_the_floor_imports_no_torch() -> None:
    code = "import registry, sys; sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
