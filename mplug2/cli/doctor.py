"""`mplug2 doctor`: what this machine has, what is missing, and the command that installs it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

import mplug2
from mplug2.cli.tables import print_table

VERSION = 1  # of the JSON output


def add_to(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("doctor", epilog="Example: mplug2 doctor")(doctor)


def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object.")
    ] = False,
) -> None:
    """Print versions, devices, decoders and disk space, and how to get what is missing.

    Exit code 1 if something that commands need is missing; what only some uses need is a note.
    """
    from mplug2.cli.machine import findings

    results = findings()
    complete = all(finding.state != "missing" for finding in results)
    if as_json:
        entries = [asdict(finding) for finding in results]
        report = {
            "version": VERSION,
            "mplug2": mplug2.__version__,
            "ok": complete,
            "findings": entries,
        }
        print(json.dumps(report, indent=1))
    else:
        print(f"mplug2 {mplug2.__version__}")
        for topic in dict.fromkeys(finding.topic for finding in results):
            rows = []
            for finding in results:
                if finding.topic == topic:
                    rows.append((finding.name, finding.state, finding.value))
            print_table(f"\n{topic}", ("name", "state", "what is here"), rows)
        fixes = [(item.name, item.fix) for item in results if item.fix]
        if fixes:
            print_table("\nwhat to do", ("for", "command or change"), fixes)
        conclusion = "something that commands need is missing"
        if complete:
            conclusion = "all that commands need is here"
        print(f"\n{conclusion}")
    if not complete:
        raise typer.Exit(1)
