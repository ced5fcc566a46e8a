"""A spec as a value in Python: read it, build it from mappings, derive others from it, write it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from registry.errors import UserError, require
from registry.language.renames import Renames
from registry.yaml.merge import override
from registry.yaml.plain import KeyPath, override_value, tree_of
from registry.yaml.tree import Node

if TYPE_CHECKING:
    from registry.language.spec import Spec

Override = str | Mapping[str, Any]


@dataclass(frozen=True)
class SpecTools:
    """The functions that a spec as a value needs, and that are defined in terms of `Spec` themselves."""

    read: Callable[[str | os.PathLike[str]], Spec]
    of_tree: Callable[[Node, str, Renames], Spec]
    text: Callable[[Spec], str]
    check: Callable[[Spec], Any]  # raises `SpecError`


class SpecValue:
    """What `Spec` can do as a value. A spec never changes: `with_` returns another one."""

    # Set by `registry/__init__.py`: an import from here of what imports `Spec` would be a cycle.
    tools: ClassVar[SpecTools]

    @staticmethod
    def read(path: str | os.PathLike[str], overrides: Sequence[Override] = ()) -> Spec:
        """Return the checked spec in a file; see `with_` for the overrides."""
        require(overrides, Sequence, "overrides (a list of KEY=VALUE, or of mappings)")
        if isinstance(overrides, str):
            raise UserError(
                f"overrides must be a list of KEY=VALUE (got the text '{overrides}')"
            )
        spec = SpecValue.tools.read(path)
        if overrides:
            return spec.with_(*overrides)
        SpecValue.tools.check(spec)
        return spec

    @staticmethod
    def from_dict(sections: Mapping[str, Any], name: str = "spec") -> Spec:
        """Return the checked spec that plain mappings, lists and scalars describe, as YAML would.

        Raises `SpecError` with key paths (`modules.vision.width`) as places. ``name`` is that of the spec, of
        its run folder, for example.
        """
        spec = SpecValue.tools.of_tree(tree_of(sections, name), name, Renames())
        SpecValue.tools.check(spec)
        return spec

    def with_(self, *overrides: Override) -> Spec:
        """Return a checked spec with some values set: by texts such as ``"train.lr=1e-4"``, or by mappings.

        A mapping has key paths and plain values: ``{"modules.fusion.depth": 3}``. The value None deletes what
        was set. A mapping as a value is merged, as in a file that extends another. Raises `SpecError`.
        """
        spec = cast("Spec", self)
        tree, renames = spec.tree, Renames()
        for entry in overrides:
            if isinstance(entry, str):
                tree = override(tree, entry, renames.apply)
                continue
            require(entry, Mapping, "an override (KEY=VALUE, or a mapping)")
            for path, value in entry.items():
                tree = override_value(tree, KeyPath(path), value, renames.apply)
        changed = SpecValue.tools.of_tree(tree, spec.path, renames)
        SpecValue.tools.check(changed)
        return changed

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the resolved spec as YAML, with all defaults; `read` returns an equal one."""
        require(path, (str, os.PathLike), "path")
        text = SpecValue.tools.text(cast("Spec", self))
        try:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise UserError(
                f"{os.fspath(path)} cannot be written ({error.strerror})"
            ) from None
