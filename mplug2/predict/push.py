"""Sharing a finished network: a folder is made from its run, opened once, and uploaded to the hub."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mplug2.predict.finished import find_checkpoint, load
from mplug2.predict.hub import parse_name, upload
from mplug2.predict.model_card import model_card
from mplug2.predict.shared_folder import SPEC, seal, write_shared
from registry import read_spec

CARD = "README.md"


def push(run: Path, repository: str, *, private: bool = False) -> str:
    """Upload the network of a run or checkpoint to a repository ``owner/name``; return its address.

    It has the spec for prediction, the weights, the vocabulary, and a model card. It is opened before it is
    uploaded, as others will open it. UserError if it cannot be used from the hub alone, or not be uploaded.
    """
    parse_name(repository)
    checkpoint = find_checkpoint(run)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shared(checkpoint, folder)
        seal(folder)
        pipe = load(folder, device="cpu")
        card = model_card(pipe, read_spec(checkpoint / SPEC), checkpoint, repository)
        # After the manifest, which does not list it: its author may change it on the hub.
        (folder / CARD).write_text(card, encoding="utf-8")
        return upload(folder, repository, private=private)
