"""Names and the things behind them: loaded lazily, with wildcards and suggestions, open to other packages."""

from __future__ import annotations

import difflib
import importlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeVar, overload

from registry.entry_points import entry_points
from registry.errors import UserError, require

Thing = TypeVar("Thing")

# Similarity of two names, from 0 to 1, above which one is suggested in place of the other.
SIMILAR = 0.6
SIMILAR_WITH_OTHER_WORDS = 0.75
# The most similar names, of which the first that has the same words is suggested.
CANDIDATES = 5
ABBREVIATION = 3  # Letters of a word that is probably an abbreviation.


@dataclass
class Entry:
    """One name of a table: where its thing comes from, and the thing once it is loaded."""

    target: str  # "package.module:Name"
    owner: (
        str  # the line or package that registered it, for the message to a second one
    )
    thing: Any = None
    declaration: Any = None


class NameTable:
    """Named things of one sort ("module", "operation", ...); other packages add theirs by entry points.

    Entry points are read when a name is missing, or when all names are asked for.
    """

    def __init__(
        self, kind: str, group: str = "", requires: Sequence[str] = ()
    ) -> None:
        """Make an empty table; ``requires`` names the attributes that everything registered must have."""
        self.kind = kind
        self.group = group
        self.requires = tuple(requires)
        self._entries: dict[str, Entry] = {}
        self._searched = not group

    @overload
    def register(self, name: str, target: str) -> None: ...
    @overload
    def register(self, name: str) -> Callable[[Thing], Thing]: ...
    def register(
        self, name: str, target: str | None = None
    ) -> Callable[[Thing], Thing] | None:
        """Register `"package.module:Name"` lazily, or the class or function below the decorator.

        A second, different owner of a name is refused by `UserError`; the same one may register it again.
        """
        require(name, str, f"the name of a {self.kind}")
        # Whose line it was is the first question when two packages claim a name.
        caller = sys._getframe(1)
        owner = f"{os.path.relpath(caller.f_code.co_filename)}:{caller.f_lineno}"
        if target is not None:
            require(target, str, f"the target of {self.kind} '{name}'")
            if ":" not in target:
                raise UserError(
                    f"{self.kind} '{name}' must name 'package.module:Name' (got '{target}')"
                )
            self._add(name, Entry(target, owner))
            return None

        def decorate(thing: Thing) -> Thing:
            self._check_protocol(name, thing)
            if not hasattr(thing, "__module__"):
                raise UserError(
                    f"{self.kind} '{name}' must be a class or function (got {thing!r})"
                )
            target = f"{thing.__module__}:{getattr(thing, '__qualname__', name)}"
            self._add(name, Entry(target, owner, thing))
            return thing

        return decorate

    def _add(self, name: str, entry: Entry) -> None:
        present = self._entries.get(name)
        if present is not None and present.target != entry.target:
            first = f"{present.target} (registered by {present.owner})"
            second = f"{entry.target} (registered by {entry.owner})"
            raise UserError(
                f"{self.kind} '{name}' must have one owner, but is {first} and {second}: choose another name"
            )
        # A lazy entry stays when it is registered again; a decorated thing replaces it, since it is loaded.
        if present is None or entry.thing is not None:
            self._entries[name] = entry

    def _search(self) -> None:
        """Add the entry points of other packages, once."""
        if not self._searched:
            # Before the loop: loading an entry point may ask for names.
            self._searched = True
            for point in entry_points(self.group):
                owner = f"the entry points of {point.package}"
                self._add(point.name, Entry(point.target, owner))

    def _entry(self, name: str) -> Entry:
        require(name, str, f"the name of a {self.kind}")
        if name not in self:
            suggestion = self.suggest(name)
            hint = f"; did you mean '{suggestion}'?" if suggestion else ""
            raise UserError(f"unknown {self.kind} '{name}'{hint}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        if name not in self._entries:
            self._search()
        return name in self._entries

    def names(self, pattern: str = "*") -> list[str]:
        """Return the sorted names that match a wildcard pattern, such as `"video*"`."""
        self._search()
        return sorted(name for name in self._entries if fnmatchcase(name, pattern))

    def suggest(self, name: str) -> str | None:
        """Return the registered name nearest to `name`, or None."""
        return closest_name(name, self.names())

    def target(self, name: str) -> str:
        """Return the `"package.module:Name"` behind a name; raise `UserError`."""
        return self._entry(name).target

    def summary(self, name: str) -> str:
        """Return one sentence about the thing behind a name; raise `UserError`."""
        thing = self.load(name)
        # An object that is a value, such as a key map, is described by its title.
        doc = getattr(thing, "title", None) or thing.__doc__ or ""
        return str(doc.strip().split("\n\n")[0])

    def load(self, name: str) -> Any:
        """Return the thing behind a name, imported now if it was not; raise `UserError`."""
        entry = self._entry(name)
        if entry.thing is None:
            thing = import_target(entry.target, f"{self.kind} '{name}'")
            self._check_protocol(name, thing)
            entry.thing = thing
        return entry.thing

    def _check_protocol(self, name: str, thing: object) -> None:
        """Raise `UserError` if a thing lacks an attribute of its protocol (docs/extending.md)."""
        check_attributes(f"{self.kind} '{name}'", thing, self.requires)


def import_target(target: str, owner: str) -> Any:
    """Return the thing at `"package.module:Name"`; raise `UserError` that begins with its owner."""
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{owner} ({target}) cannot be imported: {error}") from error


def check_attributes(owner: str, thing: object, requires: Sequence[str]) -> None:
    """Raise `UserError` if a thing lacks one of the required attributes."""
    missing = [attribute for attribute in requires if not hasattr(thing, attribute)]
    if missing:
        raise UserError(
            f"{owner} must have {', '.join(requires)}, but lacks {', '.join(missing)}: see docs/extending.md"
        )


def closest_name(name: str, names: Iterable[str]) -> str | None:
    """Return the one of `names` that `name` probably means, or None."""
    for near in difflib.get_close_matches(name, list(names), CANDIDATES, SIMILAR):
        if _same_words(name, near):
            return near
    return None


def _same_words(name: str, near: str) -> bool:
    """Return whether two similar names may be meant as the same, word by word.

    Short words are abbreviations: `mlm_loss` and `kl_loss` are not misspelt names of `lm_loss`.
    """
    words, near_words = re.split(r"[_.]", name), re.split(r"[_.]", near)
    if len(words) == len(near_words) == 1:
        return True
    # A word too many or too few: the rest must be nearly the same.
    if len(words) != len(near_words):
        similarity = difflib.SequenceMatcher(None, name, near).ratio()
        return similarity >= SIMILAR_WITH_OTHER_WORDS
    for word, near_word in zip(words, near_words, strict=True):
        if max(len(word), len(near_word)) <= ABBREVIATION:
            is_longer = word.startswith(near_word) or near_word.startswith(word)
            if not is_longer and sorted(word.lower()) != sorted(near_word.lower()):
                return False
        elif difflib.SequenceMatcher(None, word, near_word).ratio() < SIMILAR:
            return False
    return True
