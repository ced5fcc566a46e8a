"""Golden files hold nothing of the checkout that wrote them."""

from __future__ import annotations

from tools.golden import GOLDEN, ROOT, text


def test_a_size_that_a_base_sets_is_located_inside_the_project() -> None:
    described = text(ROOT / "configs_text" / "stsb_tiny.yaml")
    assert (
        "# head.width follows: set at configs_text/_base_/text_tiny.yaml:" in described
    )
    assert str(ROOT) not in described


def test_no_golden_file_holds_an_absolute_path() -> None:
    files = sorted(GOLDEN.rglob("*.txt"))
    assert files
    absolute = [
        file.name for file in files if " set at /" in file.read_text(encoding="utf-8")
    ]
    assert absolute == []
