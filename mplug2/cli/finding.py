"""`mplug2 settings` and `schema`: what a spec can set, for readers and for editors."""

from __future__ import annotations

import json
import math
from typing import Annotated

import typer

import registry
from mplug2.cli.listing import settings_rows
from mplug2.cli.tables import print_table
from registry.language.declaration import REQUIRED
from registry.language.schema import SETTINGS, Key


def add_to(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command("settings", epilog="Example: mplug2 settings train")(settings)
    app.command("schema", epilog="Example: mplug2 schema > mplug2.schema.json")(schema)


def settings(
    section: Annotated[
        str,
        typer.Argument(
            metavar="SECTION",
            help="momentum, data, train or eval, or a setting such as train.lr. Default: all.",
        ),
    ] = "",
) -> None:
    """Print the settings of a section: type, default, range and meaning."""
    tables = 0
    for name, keys in SETTINGS.items():
        rows = []
        for full_name, annotation, _, meaning in settings_rows(section or name):
            owner, _, key = full_name.partition(".")
            if owner == name:
                limits = range_text(keys[key])
                rows.append(
                    (full_name, annotation, default_text(keys[key]), limits, meaning)
                )
        if rows:
            title = f"\n{name}" if tables else name
            print_table(title, ("setting", "type", "default", "range", "meaning"), rows)
            tables += 1
    if not tables:
        raise registry.UserError(
            f"SECTION must be a section or a setting (got '{section}'). Sections: {', '.join(SETTINGS)}"
        )


def default_text(key: Key) -> str:
    """Return the default of a setting; '' for none."""
    if key.default is REQUIRED:
        return "required"
    return "" if key.default is None else str(key.default)


def range_text(key: Key) -> str:
    """Return the range of a setting: `0 to 1`, `at least 1`."""
    if key.below != math.inf:
        return f"{key.least:g} to less than {key.below:g}"
    if key.most != math.inf:
        return f"{key.least:g} to {key.most:g}"
    return "" if key.least is None else f"at least {key.least:g}"


def schema() -> None:
    """Print the JSON schema of specs (draft 2020-12), by which an editor completes and checks them.

    It includes what installed packages register.
    """
    from registry.json_schema import spec_schema

    print(json.dumps(spec_schema(), indent=1))
