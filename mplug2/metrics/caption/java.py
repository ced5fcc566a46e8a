"""METEOR and SPICE, which are Java programs: pycocoevalcap runs them, where all that they need is there."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

SPICE_MODELS = "stanford-corenlp-3.6.0"


class Unavailable(Exception):
    """A metric cannot be computed here; the text says what is missing, and how to get it."""


def require_java(metric: str) -> Path:
    """The folder of pycocoevalcap, which holds the programs; Unavailable without it or without Java."""
    if shutil.which("java") is None:
        raise Unavailable(
            f"{metric} needs Java, and there is no program 'java': install a Java runtime"
        )
    found = importlib.util.find_spec("pycocoevalcap")
    if found is None or not found.submodule_search_locations:
        raise Unavailable(f"{metric} needs pycocoevalcap: pip install pycocoevalcap")
    return Path(next(iter(found.submodule_search_locations)))


def require_spice() -> None:
    """Unavailable unless Java and SPICE's language models are there: nothing is fetched unasked."""
    folder = require_java("SPICE") / "spice"
    missing = [
        name
        for name in (f"{SPICE_MODELS}.jar", f"{SPICE_MODELS}-models.jar")
        if not (folder / "lib" / name).is_file()
    ]
    if missing:
        raise Unavailable(
            f"SPICE needs {' and '.join(missing)}, which pycocoevalcap does not bring along: fetch "
            "them once (400 MB) with python -m pycocoevalcap.spice.get_stanford_models"
        )


def meteor(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> float:
    """METEOR 1.5 of the corpus, from 0 to 1; both are PTB tokens with blanks between, by id."""
    require_java("METEOR")
    from pycocoevalcap.meteor.meteor import Meteor

    scorer = Meteor()
    try:
        score, _ = scorer.compute_score(*_as_lists(candidates, references))
    except (OSError, ValueError) as error:
        raise Unavailable(f"METEOR's Java program failed: {_last_line(scorer) or error}") from None
    finally:
        for pipe in (scorer.meteor_p.stdout, scorer.meteor_p.stderr):
            pipe.close()  # which its own destructor forgets
    return float(score)


def spice(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> float:
    """SPICE, the mean F-score over items, from 0 to 1; both are PTB tokens with blanks between, by id."""
    require_spice()
    from pycocoevalcap.spice.spice import Spice

    try:
        score, _ = Spice().compute_score(*_as_lists(candidates, references))
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise Unavailable(f"SPICE's Java program failed: {error}") from None
    return float(score)


def _as_lists(
    candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    given = {key: [text.replace("|||", " ") for text in texts] for key, texts in references.items()}
    return given, {key: [candidates[key]] for key in given}


def _last_line(scorer: object) -> str:
    """What the program said before it ended; nothing while it runs."""
    process = scorer.meteor_p  # type: ignore[attr-defined]
    if process.poll() is None:
        return ""
    os.set_blocking(process.stderr.fileno(), False)
    said = (process.stderr.read() or b"").decode(errors="replace").split("\n")
    return next((line.strip() for line in said if line.strip()), "")
