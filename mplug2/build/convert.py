"""A released checkpoint written anew: under this project's names, as safetensors."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save_file

from mplug2.build.compose import compose
from mplug2.weights.sources import SOURCES
from mplug2.weights.store import persistent_buffers
from registry import UserError

RELEASED = ("mplug2", "mplug")


def convert_file(source: str | Path, spec: str | Path, target: str | Path, released: str = "mplug2") -> str:
    """Load the ``released`` checkpoint ``source`` into the network of ``spec`` and write its weights to
    ``target``.

    Returns the report: what became of every key. UserError, and nothing written, where it does not fit.
    """
    if released not in RELEASED:
        raise UserError(f"what is converted must be of {' or '.join(RELEASED)}, but is of '{released}'")
    target = Path(target)
    if target.suffix != ".safetensors":
        raise UserError(f"{target}: the converted file must end in .safetensors")
    net = compose(spec, initial=False)
    report = SOURCES[released](net, str(source), list(net.spec.modules))
    alone = "a momentum copy: a converted file holds the weights alone"
    report.rows = [
        replace(row, status="dropped", reason=alone, momentum=False) if row.momentum else row
        for row in report.rows
    ]
    parameters = dict(net.named_parameters())
    # queues and counters begin anew where the file has none
    if absent := [row for row in report.of("missing") if row.target in parameters]:
        raise UserError(
            f"{source}: lacks weights of this network; nothing was written\n{report.table(absent)}"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(target.name + ".unfinished")
    loaded = report.filled()
    buffers = {name: value for name, value in persistent_buffers(net).items() if name in loaded}
    # a tied weight stands once, under its first name
    tensors = {name: value.detach().contiguous() for name, value in (parameters | buffers).items()}
    save_file(tensors, unfinished)
    os.replace(unfinished, target)
    return f"{report.summary()}\n{report.table()}\nwritten: {target}"


def main(description: str | None, released: str) -> int:
    """Convert what the command line names and print what became of every key; 2 if it does not fit."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("source", help="the released checkpoint (.pth)")
    parser.add_argument("target", help="the file to write (.safetensors)")
    parser.add_argument("--spec", required=True, help="the network that the weights are for")
    options = parser.parse_args()
    try:
        print(convert_file(options.source, options.spec, options.target, released))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0
