"""CLIP's tokenizer: every recorded text, and its ids by the original."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mplug2.data.clip_tokenizer import ClipTokenizer
from registry import UserError
from tools.parity.fixture import Fixture, reading
from tools.parity.rows import Comparison

# Of a recorded text, besides what is compared: the text, and what another tokenizer makes of it.
OTHERS = {"text", "transformers_ids", "transformers_same", "transformers_same_at_77"}


def recognizes(fixture: Fixture) -> bool:
    """Return whether a fixture holds texts and the ids that CLIP's tokenizer gives them."""
    return {"sot", "eot"} <= set(
        fixture.config.get("about", ())
    ) and "rows" in fixture.config


def compare(fixture: Fixture, rows: Comparison) -> None:
    """Compare the ids of every text; UserError if the vocabulary or the fixture cannot be read."""
    with reading(fixture.path):
        about, texts = fixture.config["about"], fixture.config["rows"]
        tokenizer = ClipTokenizer.read(
            str(_vocabulary(fixture.path, about["vocabulary"]))
        )
        rows.equal("vocab_size", tokenizer.vocab_size, about["vocab_size"])
        rows.equal("sot", tokenizer.cls, about["sot"])
        rows.equal("eot", tokenizer.sep, about["eot"])
        rows.equal("pad", tokenizer.pad, about["pad"])
        for number, row in enumerate(texts):
            values = _values(tokenizer, row)
            for name in row:
                if name in values:
                    rows.equal(f"{number}.{name}", values[name], row[name])
                elif name not in OTHERS:
                    rows.miss(f"{number}.{name}")


def _values(tokenizer: ClipTokenizer, row: dict[str, Any]) -> dict[str, Any]:
    """Return what is recorded of a text, computed here."""
    ids = tokenizer.pieces(row["text"])
    cut = tokenizer.encode(row["text"], 77)
    short = tokenizer.encode(row["text"], 16)
    return {
        "ids": ids,
        "tokenize_77": cut,
        "tokenize_16": short + [tokenizer.pad] * (16 - len(short)),
        "truncated_at_77": len(ids) + 2 > 77,
        "decoded": tokenizer.decode_released(ids),
        "argmax_77": cut.index(max(cut)),
    }


def _vocabulary(fixture: Path, name: str) -> Path:
    """Return the file of merges: next to the fixtures, or in the folder that MPLUG2_SHARED names."""
    inside = Path(
        *Path(name).parts[1:]
    )  # without the name of the folder that holds data and fixtures
    folders = [*fixture.resolve().parents]
    if "MPLUG2_SHARED" in os.environ:
        folders.append(Path(os.environ["MPLUG2_SHARED"]))
    for folder in folders:
        if (folder / inside).is_file():
            return folder / inside
    raise UserError(
        f"{fixture}: there is no vocabulary {name}. Set MPLUG2_SHARED to the folder that has it"
    )
