"""A spec as a value in Python: read it, build it from mappings, derive others from it, write it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from registry.errors import UserError
from registry.yaml.merge import override
from registry.yaml.plain import KeyPath, override_value, tree_of

if TYPE_CHECKING:
    from registry.language.spec import Spec

Override = str | Mapping[str, Any]


class SpecValue:
    """What `Spec` can do as a value. A spec never changes: `with_` returns another one."""

    @staticmethod
    def read(path: str | os.PathLike[str], overrides: Sequence[Override] = ()) -> Spec:
        """Return the checked spec in a file; see `with_` for the overrides."""
        from registry.language.spec import read_spec

        spec = read_spec(path)
        return spec.with_(*overrides) if overrides else _checked(spec)

    @staticmethod
    def from_dict(sections: Mapping[str, Any], name: str = "spec") -> Spec:
        """Return the checked spec that plain mappings, lists and scalars describe, as YAML would.

        Raises `SpecError` with key paths (`modules.vision.width`) as places. ``name`` is that of the spec, of
        its run folder, for example.
        """
        from registry.language.spec import spec_of_tree

        return _checked(spec_of_tree(tree_of(sections, name), name))

    def with_(self, *overrides: Override) -> Spec:
        """Return a checked spec with some values set: by texts such as ``"train.lr=1e-4"``, or by mappings.

        A mapping has key paths and plain values: ``{"modules.fusion.depth": 3}``. The value None deletes what
        was set. A mapping as a value is merged, as in a file that extends another. Raises `SpecError`.
        """
        from registry.language.spec import spec_of_tree

        spec = cast("Spec", self)
        tree = spec.tree
        for entry in overrides:
            if isinstance(entry, str):
                tree = override(tree, entry)
                continue
            for path, value in entry.items():
                tree = override_value(tree, KeyPath(path), value)
        return _checked(spec_of_tree(tree, spec.path))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the resolved spec as YAML, with all defaults; `read` returns an equal one."""
        from registry.language.spec import write_spec

        text = write_spec(cast("Spec", self))
        try:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise UserError(f"{os.fspath(path)} cannot be written ({error.strerror})") from None


def _checked(spec: Spec) -> Spec:
    """Return a spec in which stages 2 and 3 of the checks find nothing; raise `SpecError` otherwise."""
    from registry.checks.check import check  # The checks read specs.

    check(spec).raise_if_bad()
    return spec
