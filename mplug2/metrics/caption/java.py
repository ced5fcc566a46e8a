"""METEOR and SPICE, which are Java programs: pycocoevalcap runs them, where all that they need is there."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

SPICE_MODELS = "stanford-corenlp-3.6.0"


class Unavailable(Exception):
    """A metric cannot be computed here; the text names what is missing, and how to get it."""


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
    needed = (f"{SPICE_MODELS}.jar", f"{SPICE_MODELS}-models.jar")
    missing = [name for name in needed if not (folder / "lib" / name).is_file()]
    if missing:
        raise Unavailable(
            f"SPICE needs {' and '.join(missing)}, which pycocoevalcap does not bring along: fetch "
            "them once (some hundred MB) with python -m pycocoevalcap.spice.get_stanford_models"
        )


def meteor(
    candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> float:
    """METEOR 1.5 of the corpus, from 0 to 1; both are PTB tokens with blanks between, by id.

    This runs the program that pycocoevalcap brings along, but not by its wrapper, which waits for ever where
    the program fails.
    """
    folder = require_java("METEOR") / "meteor"
    # The options of the COCO caption tools: English, normalized, questions by standard input.
    options = ["-Xmx2G", "-Dfile.encoding=UTF-8", "-jar", "meteor-1.5.jar"]
    options += ["-", "-", "-stdio", "-l", "en", "-norm"]
    # A file and not a pipe: a full pipe that nothing reads would stop the program.
    with tempfile.TemporaryFile() as errors:
        try:
            with subprocess.Popen(
                ["java", *options],
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                encoding="utf-8",
            ) as program:
                try:
                    return _ask_meteor(program, candidates, references)
                finally:
                    program.kill()
        except (OSError, ValueError) as error:
            errors.seek(0)
            first_line = errors.read().decode(errors="replace").strip().split("\n")[0]
            reason = first_line or error
            raise Unavailable(f"METEOR's Java program failed: {reason}") from None


def _ask_meteor(
    program: subprocess.Popen[str],
    candidates: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
) -> float:
    """Statistics of the items in order, then the score of all: one line a question, one line an answer."""
    # Both are pipes.
    assert program.stdin is not None
    assert program.stdout is not None
    statistics = []
    for key, texts in references.items():
        # The separator of the program must not occur in a text.
        parts = [text.replace("|||", " ") for text in (*texts, candidates[key])]
        program.stdin.write(" ||| ".join(["SCORE", *parts]) + "\n")
        program.stdin.flush()
        statistics.append(program.stdout.readline().strip())
        if not statistics[-1]:
            raise ValueError("it gave no answer")
    program.stdin.write(" ||| ".join(["EVAL", *statistics]) + "\n")
    program.stdin.flush()
    answers = [program.stdout.readline() for _ in range(len(statistics) + 1)]
    # Those before are the scores of single items.
    return float(answers[-1])


def spice(
    candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> float:
    """SPICE, the mean F-score over items, from 0 to 1; both are PTB tokens with blanks between, by id."""
    require_spice()
    from pycocoevalcap.spice.spice import Spice

    try:
        human = {key: list(texts) for key, texts in references.items()}
        generated = {key: [candidates[key]] for key in human}
        score, _ = Spice().compute_score(human, generated)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise Unavailable(f"SPICE's Java program failed: {error}") from None
    return float(score)
