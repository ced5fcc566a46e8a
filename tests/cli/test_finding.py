"""`mplug2 settings` and `mplug2 schema`."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from mplug2.cli.app import app
from registry.language.schema import SETTINGS

run = CliRunner().invoke


@pytest.mark.parametrize("section", SETTINGS)
def test_a_section_prints_all_its_settings(section: str) -> None:
    done = run(app, ["settings", section], env={"COLUMNS": "400"})
    assert done.exit_code == 0
    names = [word for word in done.output.split() if word.startswith(f"{section}.")]
    assert names == [f"{section}.{key}" for key in SETTINGS[section]]
    for key in SETTINGS[section].values():
        assert key.meaning in done.output


def test_all_sections_without_a_name_and_one_setting_by_its_name() -> None:
    output = run(app, ["settings"]).output
    assert all(
        f"{section}.{key}" in output
        for section, keys in SETTINGS.items()
        for key in keys
    )
    output = run(app, ["settings", "learning_rate"]).output
    assert [line.split()[0] for line in output.splitlines()] == [
        "train",
        "setting",
        "train.lr",
    ]
    assert "2e-05" in output
    assert "at least 0" in output


def test_an_unknown_section_is_a_message() -> None:
    done = run(app, ["settings", "tarin"])
    assert done.exit_code == 2
    assert done.output == (
        "SECTION must be a section or a setting (got 'tarin'). Sections: momentum, data, train, eval\n"
    )


def test_the_schema_is_json_that_knows_registered_names() -> None:
    printed = json.loads(run(app, ["schema"]).output)
    assert "2020-12" in printed["$schema"]
    assert '"video_vit"' in json.dumps(printed)
