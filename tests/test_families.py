"""The six systems of docs/families.md: built at tiny size from the shared registry, drawn as on the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mplug2
from mplug2.cli.app import app
from registry import KEY_MAPS, MODULES

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "families.md"
SPECS = re.findall(r"\(`(configs_\w+/\w+\.yaml)`\)", PAGE.read_text(encoding="utf-8"))
DRAWINGS = re.findall(
    r"\]\((images/families/\w+\.svg)\)", PAGE.read_text(encoding="utf-8")
)
SYSTEMS = list(zip(SPECS, DRAWINGS, strict=True))


def test_there_are_six_systems() -> None:
    assert len(set(SPECS)) == len(set(DRAWINGS)) == 6


@pytest.mark.parametrize("name", SPECS)
def test_a_system_is_built_from_the_shared_registry(name: str) -> None:
    spec = mplug2.read_spec(ROOT / name)
    net = mplug2.compose(spec, initial=False)
    assert sum(parameter.numel() for parameter in net.parameters()) < 2_000_000
    for module, entry in spec.modules.items():
        assert MODULES.target(entry.use).startswith("modules."), module
        assert type(net.get_module(module)) is MODULES.load(entry.use), module


@pytest.mark.parametrize(("name", "drawing"), SYSTEMS)
def test_the_drawing_of_a_system_is_what_draw_writes(
    name: str, drawing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)  # A drawing has the path of its spec as it is called.
    result = CliRunner().invoke(app, ["draw", name, "-o", str(tmp_path / "net.svg")])
    assert result.exit_code == 0, result.output
    # Run `mplug2 draw SPEC -o docs/images/families/NAME.svg` after a change of the spec.
    assert (tmp_path / "net.svg").read_bytes() == (PAGE.parent / drawing).read_bytes()


def test_the_page_of_supported_models_has_every_released_family() -> None:
    text = (ROOT / "docs" / "supported_models.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| ")]
    read = {row[3].strip().lstrip("`").partition(":")[0]: row for row in rows[1:]}
    released = set()
    for family in KEY_MAPS.names():
        key_map = KEY_MAPS.load(family)
        if key_map.released:
            released.add(family)
            assert f"`{family}:{key_map.source}`" in read[family][3]
            written = "no:" not in read[family][4]
            assert written == (not key_map.read_only), family
    assert set(read) == released
