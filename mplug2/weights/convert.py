"""A released checkpoint written anew: under this project's names, as safetensors."""

from __future__ import annotations

import os
from pathlib import Path

from safetensors.torch import save_file

from mplug2.compose import compose
from mplug2.weights.files import read_tensors
from mplug2.weights.load import load_official
from mplug2.weights.sources import roles_of
from registry import UserError


def convert_file(source: str | Path, spec: str | Path, target: str | Path) -> str:
    """Load the released checkpoint ``source`` into the network of ``spec`` and write its weights to
    ``target``.

    Returns the report: what became of every key. UserError, and nothing written, where it does not fit.
    """
    target = Path(target)
    if target.suffix != ".safetensors":
        raise UserError(f"{target}: the converted file must end in .safetensors")
    net = compose(spec, initial=False)
    report = load_official(net, read_tensors(source), roles_of(net), origin=str(source))
    if absent := report.of("missing"):
        raise UserError(
            f"{source}: lacks weights of this network; nothing was written\n{report.table(absent)}"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(target.name + ".unfinished")
    # a tied weight stands once, under its first name
    save_file({name: p.detach().contiguous() for name, p in net.named_parameters()}, unfinished)
    os.replace(unfinished, target)
    return f"{report.summary()}\n{report.table()}\nwritten: {target}"
