"""Vocabularies: against the embeddings of the network, and against that of a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mplug2.data.vocabularies import load_tokenizer
from registry import Location, Problem, Spec, SpecError, UserError, parse_spec
from registry.tokenizer_names import tokenizer_exists, tokenizer_places

if TYPE_CHECKING:
    from mplug2.data.text import Tokenizer

VOCABULARIES = "vocabularies.json"  # in a checkpoint folder


def check_vocabularies(
    spec: Spec, *, required: bool, unchanged: bool = False
) -> tuple[list[Problem], list[Problem]]:
    """Return problems of the tokenizers that a spec names, and notes on those that are not here.

    With ``required`` a tokenizer that is not here is a problem, too, and one that is a name of the Hugging
    Face hub is downloaded. Without it only files are read, and with ``unchanged``, which means that the files
    have passed before, these are not read either.
    """
    problems: list[Problem] = []
    notes: list[Problem] = []
    for name, place in tokenizer_places(spec).items():
        exists = tokenizer_exists(name)
        if exists and unchanged:
            continue
        if not required and not exists:
            notes.append(Problem(place, f"the vocabulary '{name}' does not exist here"))
            continue
        try:
            load_tokenizer(spec, name)
        except SpecError as error:
            problems += error.problems
        except UserError as error:
            problems.append(Problem(place, str(error)))
    return problems, notes


def describe_vocabularies(spec: Spec) -> dict[str, dict[str, Any]]:
    """Return the size and the SHA-256 of each vocabulary that a spec names, by the name in the spec."""
    from mplug2.data.text import Tokenizer

    described = {}
    for name in tokenizer_places(spec):
        tokenizer = Tokenizer.load(name)
        described[name] = {
            "tokens": tokenizer.vocab_size,
            "sha256": tokenizer.fingerprint,
        }
    return described


def check_trained_vocabulary(
    spec: Spec, checkpoint: str | Path, only: str | None = None
) -> None:
    """Raise `SpecError` if a checkpoint folder was trained with other vocabularies than ``spec`` names.

    ``only``: the vocabulary to compare; all of the spec by default.

    A checkpoint without this record is compared by the vocabulary that its spec names, if that is here. The
    weights alone (a `.safetensors` file) do not have a vocabulary.
    """
    trained = _trained_vocabularies(Path(checkpoint))
    if not trained:
        return
    from mplug2.data.text import Tokenizer

    known = {str(entry.get("sha256")) for entry in trained.values()}
    problems = []
    for name, place in tokenizer_places(spec).items():
        if only is not None and name != only:
            continue
        tokenizer = Tokenizer.load(name)
        if tokenizer.fingerprint not in known:
            problems.append(
                _other_vocabulary(place, tokenizer, trained, Path(checkpoint))
            )
    if problems:
        raise SpecError(problems)


def _other_vocabulary(
    place: Location,
    tokenizer: Tokenizer,
    trained: dict[str, dict[str, Any]],
    checkpoint: Path,
) -> Problem:
    listed = []
    for name, entry in trained.items():
        listed.append(
            f"{name} ({entry.get('tokens')} tokens, SHA-256 {str(entry.get('sha256'))[:12]})"
        )
    found = f"{tokenizer.source} ({tokenizer.vocab_size} tokens, SHA-256 {tokenizer.fingerprint[:12]})"
    message = (
        f"the vocabulary must be the one that the checkpoint {checkpoint} was trained with, "
        f"{', '.join(listed)}, but is {found}"
    )
    if tokenizer.source in trained:
        hint = f"{tokenizer.source} has changed since: restore it"
    else:
        hint = f"data.tokenizer={next(iter(trained))}"
    return Problem(place, message, hint)


def _trained_vocabularies(checkpoint: Path) -> dict[str, dict[str, Any]]:
    """Return what a checkpoint folder records of its vocabularies; empty if it does not."""
    file = checkpoint / VOCABULARIES
    if file.is_file():
        try:
            stored = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{file}: the file is damaged ({error})") from None
        if not isinstance(stored, dict) or not all(
            isinstance(entry, dict) for entry in stored.values()
        ):
            raise UserError(
                f"{file}: the file is damaged (it must map names to sizes and checksums)"
            )
        return stored
    spec_file = checkpoint / "spec.yaml"
    if not spec_file.is_file():
        return {}
    try:
        spec = parse_spec(spec_file.read_text(encoding="utf-8"), str(spec_file))
    except (OSError, UnicodeDecodeError, UserError):
        return {}  # The weights decide whether such a checkpoint can be used.
    here = all(tokenizer_exists(name) for name in tokenizer_places(spec))
    return describe_vocabularies(spec) if here else {}
