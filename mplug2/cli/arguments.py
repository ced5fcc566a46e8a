"""Arguments that several commands share."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from registry.errors import UserError
from registry.language.schema import SETTINGS
from registry.spec_folders import shipped_specs


def path(text: str) -> Path:
    """Return what an option names as a path; nothing (an unset variable) is not the current folder."""
    if not text:
        raise UserError("a path must have a name, but is empty")
    return Path(text)


def complete_spec(incomplete: str) -> list[str]:
    """Return the shipped specs whose names begin with a word; a shell completes files if there are none."""
    # Nothing typed yet: a shell then lists the files of the folder.
    if not incomplete:
        return []
    names = [file.stem for file in shipped_specs()]
    return [name for name in names if name.startswith(incomplete)]


def complete_setting(incomplete: str) -> list[str]:
    """Return the settings `SECTION.KEY=` that begin with a word."""
    names: list[str] = []
    for section, keys in SETTINGS.items():
        names += [f"{section}.{key}=" for key in keys]
    return [name for name in names if name.startswith(incomplete)]


SpecFile = Annotated[
    str,
    typer.Argument(
        metavar="SPEC",
        help="A composition spec (YAML).",
        show_default=False,
        autocompletion=complete_spec,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE...",
        help="Settings on top of the spec: train.lr=1e-4",
        show_default=False,
        autocompletion=complete_setting,
    ),
]
Checkpoint = Annotated[
    Path,
    typer.Option(
        "--checkpoint",
        "-c",
        metavar="PATH",
        help="A checkpoint folder, or a .safetensors file.",
        show_default=False,
    ),
]
NoVerify = Annotated[
    bool,
    typer.Option(
        "--no-verify",
        help="Do not compare the files of checkpoints with the sizes and SHA-256 of their manifest.",
    ),
]


def only_overrides(arguments: Iterable[str] | None) -> list[str]:
    """Return the arguments after a spec, each of which must be KEY=VALUE."""
    overrides = list(arguments or ())
    for argument in overrides:
        # Most often a second spec, or a file whose option was forgotten.
        if "=" not in argument:
            raise UserError(
                f"'{argument}' must be a setting KEY=VALUE (train.lr=1e-4): the command takes one spec"
            )
    return overrides


def init_overrides(sources: Iterable[str] | None) -> list[str]:
    """Turn `--init PATTERN=SOURCE` into settings of the section `init`; patterns may hold dots and stars."""
    overrides = []
    for source in sources or ():
        pattern, equals, value = source.partition("=")
        if not (pattern and equals and value):
            raise UserError(
                f"--init must be PATTERN=SOURCE, for example '*=mplug2:model.pth', but is '{source}'"
            )
        # As a mapping: a pattern with dots would be taken apart in `init.PATTERN=SOURCE`.
        overrides.append("init=" + json.dumps({pattern: value}, ensure_ascii=False))
    return overrides
