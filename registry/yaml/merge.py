"""Specs from files: `extends`, the rules of merging, command-line overrides; every leaf keeps its place."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from registry.errors import Location, Problem, SpecError, UserError, require
from registry.spec_folders import find_shipped, near_names
from registry.yaml.parse import LARGEST, parse
from registry.yaml.tree import Node, Source

SUFFIXES = (".yaml", ".yml")  # of a spec that others extend
FILES = 64  # that one spec may come from
# A file's tree and what it extends: the tree in new words.
Modernize = Callable[[Node, Node | None], Node]
HASH = "\ue000"  # replaces # while an override is read, which has no comments


def unchanged(root: Node, base: Node | None) -> Node:
    """Return the tree of a file as it was read."""
    return root


def read_tree(
    path: str | os.PathLike[str],
    overrides: Sequence[str] = (),
    modernize: Modernize = unchanged,
) -> Node:
    """Return the merged tree of a spec file, all that it extends, and `overrides` ("train.lr=1e-4") on top.

    Mappings merge by key; a module entry that has `use` replaces the inherited one, one without it edits it;
    an empty value deletes; lists replace; a definition keeps the parameters of its parent unless its key has
    its own. An override sets what it names and nothing else; `#` in it does not begin a
    comment. A path without a file
    may name a shipped spec. `modernize` replaces old words in the tree of each file, before it is merged.
    """
    require(path, (str, os.PathLike), "the path of a spec")
    require(overrides, Sequence, "overrides (a list of KEY=VALUE)")
    # A text is a sequence, too: of its letters.
    if isinstance(overrides, str):
        message = f"overrides must be a list of KEY=VALUE (got the text '{overrides}')"
        raise UserError(message)
    file, shown = Path(path), str(path)
    # A file here comes before a shipped spec of the same name.
    if not os.path.exists(file):
        shipped = find_shipped(shown, Location(shown))
        if shipped is not None:
            file, shown = shipped, str(shipped)
    root = _load(file, shown, None, (), _Files(modernize))
    problems: list[Problem] = []
    for text in overrides:
        require(text, str, "an override (KEY=VALUE)")
        try:
            root = override(root, text, modernize)
        except SpecError as error:
            problems.extend(error.problems)
    if problems:
        raise SpecError(problems)
    return root


class _Files(dict[Path, Node | SpecError]):
    """The trees of the files that were read: each is read once, whoever extends it."""

    def __init__(self, modernize: Modernize) -> None:
        super().__init__()
        self.modernize = modernize


def _load(
    path: Path,
    shown: str,
    asked: Location | None,
    chain: tuple[tuple[Path, str], ...],
    files: _Files,
) -> Node:
    """Return the tree of one file, merged over all that it extends; `chain` holds the files that led here."""
    place = asked or Location(shown)
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        raise SpecError.at(place, f"no such file: {shown}", _neighbour(path)) from None
    if real in [file for file, _ in chain]:
        names = " -> ".join([name for _, name in chain] + [shown])
        message = f"`extends` has a cycle: {names}"
        raise SpecError.at(place, message, "remove one of these `extends`")
    if real not in files:
        if len(files) + len(chain) >= FILES:
            message = (
                f"a spec must come from at most {FILES} files, but here is one more"
            )
            raise SpecError.at(place, message)
        try:
            files[real] = _merged(path, real, shown, place, chain, files)
        except SpecError as error:
            # Kept: a file that two others extend is read once, also with mistakes in it.
            files[real] = error
    if isinstance(tree := files[real], SpecError):
        raise tree
    return tree


def _merged(
    path: Path,
    real: Path,
    shown: str,
    place: Location,
    chain: tuple[tuple[Path, str], ...],
    files: _Files,
) -> Node:
    """Return the tree of a file that was not read before."""
    if not real.is_file():  # a pipe might never end
        what = "a folder" if real.is_dir() else "no regular file"
        raise SpecError.at(place, f"a spec must be a YAML file, but {shown} is {what}")
    if chain and real.suffix not in SUFFIXES:
        # The messages of the parser quote lines: nothing of another file may be shown.
        suffixes = " or ".join(SUFFIXES)
        message = f"`extends` must name a spec ({suffixes}), but names {shown}"
        raise SpecError.at(place, message)
    root = parse(Source(shown, _text(real, place)))
    if root.value is None:
        root.value = {}
    if not isinstance(root.value, dict):
        # Of an extended file only its name may be shown, at the line that names it.
        if chain:
            message = (
                f"`extends` must name a spec, but {shown} is not a mapping of sections"
            )
            raise SpecError.at(place, message)
        message = "a spec must be a mapping of sections, such as `inputs: {...}`"
        raise SpecError.at(root.place, message)
    parents = root.value.pop("extends", None)
    merged: Node | None = None
    problems: list[Problem] = []
    for parent in _parents(parents):
        name = os.path.normpath(os.path.join(os.path.dirname(shown), parent.value))
        file = path.parent / parent.value
        try:
            if not os.path.exists(file):
                shipped = find_shipped(parent.value, parent.place)
                if shipped is not None:
                    file, name = shipped, str(shipped)
            other = _load(file, name, parent.place, (*chain, (real, shown)), files)
        except SpecError as error:
            problems.extend(error.problems)
        else:
            merged = other if merged is None else merge(merged, other)
    if problems:
        raise SpecError(problems)
    root = files.modernize(root, merged)
    return root if merged is None else merge(merged, root)


def _text(path: Path, place: Location) -> str:
    """Return the text of a file, at most a little more than the largest spec."""
    try:
        with open(path, "rb") as stream:
            # Four bytes a character at most; a file that is larger is refused by `parse`.
            content = stream.read(4 * LARGEST + 1)
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - before.rfind(b"\n")
        # With a line, the place is that of an `extends` in another file.
        file = place.file if not place.line else str(path)
        message = "a spec must be UTF-8 text, but here it is not"
        raise SpecError.at(Location(file, line, column), message) from None
    except OSError as error:
        raise SpecError.at(
            place, f"cannot read {path.name}: {error.strerror}"
        ) from None


def _parents(node: Node | None) -> list[Node]:
    """Return the nodes that name the files to extend."""
    if node is None or node.value is None:
        return []
    nodes = node.value if isinstance(node.value, list) else [node]
    problems = []
    for parent in nodes:
        if not isinstance(parent.value, str):
            message = "extends must be a path or a list of paths"
            problems.append(Problem(parent.place, message))
    if problems:
        raise SpecError(problems)
    return nodes


def _neighbour(path: Path) -> str:
    """Return the hint that names a file of nearly that name in the same folder."""
    import difflib

    if not os.path.isdir(path.parent):
        return f"there is no folder '{path.parent}'" if str(path.parent) != "." else ""
    try:
        names = [name for name in os.listdir(path.parent) if name.endswith(SUFFIXES)]
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, names, 1) or near_names(path.name)
    return f"did you mean '{near[0]}'?" if near else ""


def merge(base: Node, over: Node, path: tuple[str, ...] = ()) -> Node:
    """Return `base` with `over` on top, by the rules of `extends`; both are at `path` in the spec."""
    if not isinstance(base.value, dict) or not isinstance(over.value, dict):
        return over
    # Arguments of one class mean nothing to another.
    if len(path) == 2 and path[0] == "modules" and "use" in over.value:
        return over
    merged = dict(base.value)
    deleted = {**base.deleted, **over.deleted}
    inherited = _keys_by_name(merged, path)
    renamed: dict[str, str] = {}
    for key, node in over.value.items():
        name = _bare(key)
        present = inherited.get(name) or key
        if present not in merged:
            merged[key] = node
            # Set again after it was deleted.
            deleted.pop(name, None)
        elif node.value is None:
            del merged[present]
            deleted[name] = node.key or node.place
        else:
            merged[present] = merge(merged[present], node, (*path, name))
            # The parameters of a definition replace the inherited ones; a key without any keeps them.
            if present != key and "(" in key:
                renamed[present] = key
    # In place: a definition keeps its position among the others.
    if renamed:
        merged = {renamed.get(key, key): node for key, node in merged.items()}
    return Node(merged, over.place, over.key, over.source, over.span, deleted)


def _bare(key: str) -> str:
    """Return the name in a key: that of a definition is followed by its parameters."""
    return key.partition("(")[0].strip() or key


def _keys_by_name(mapping: dict[str, Node], path: tuple[str, ...]) -> dict[str, str]:
    """Return the key of each definition by its name; other sections have no such names."""
    return {_bare(key): key for key in mapping} if path == ("define",) else {}


def override(root: Node, text: str, modernize: Modernize = unchanged) -> Node:
    """Return the tree with one `path.to.key=value` set; the value is YAML."""
    place = Location("command line", text=text)
    name, equals, value = text.partition("=")
    keys = tuple(name.strip().split("."))
    if not equals or not all(keys):
        message = "an override must be KEY.KEY=VALUE"
        raise SpecError.at(place, message, "for example `train.lr=1e-4`")
    # Overrides are applied to the merged tree.
    if keys[0] == "extends":
        hint = "write a file with `extends: FILE`, and name that one"
        raise SpecError.at(place, "an override cannot set what a spec extends", hint)
    node = parse(Source("command line", value.replace("#", HASH), inline=text))
    return set_modern(root, keys, _placed(node, place), place, modernize)


def set_modern(
    root: Node, keys: tuple[str, ...], node: Node, place: Location, modernize: Modernize
) -> Node:
    """Return `root` with `node` at `keys` below it; old words in the keys and in the value are replaced."""
    # As a spec of one entry, so that the words are found as in a file.
    entry = node
    for key in reversed(keys):
        entry.key = place
        entry = Node({key: entry}, place)
    entry = modernize(entry, root)
    path = []
    for _ in keys:
        ((key, entry),) = entry.value.items()
        path.append(key)
    return set_value(root, tuple(path), entry, place)


def _placed(node: Node, place: Location) -> Node:
    """Return the tree of an override's value with the complete override as the place of every node."""
    value = node.value
    if isinstance(value, str):
        value = value.replace(HASH, "#")
    elif isinstance(value, dict):
        entries = {}
        for key, item in value.items():
            entries[key.replace(HASH, "#")] = _placed(item, place)
        value = entries
    elif isinstance(value, list):
        value = [_placed(item, place) for item in value]
    return Node(value, place, place if node.key else None)


def set_value(
    root: Node,
    keys: tuple[str, ...],
    node: Node,
    place: Location,
    path: tuple[str, ...] = (),
) -> Node:
    """Return `root` with `node` at `keys` below it; a mapping merges, unlike `use` of a module entry."""
    if not keys:
        return merge(root, node, path)
    if not isinstance(root.value, dict):
        message = f"'{'.'.join(path)}' is {root.plain()!r} (set at {root.place}), so it has no key '{keys[0]}'"
        raise SpecError.at(place, message)
    changed = dict(root.value)
    deleted = dict(root.deleted)
    name = _keys_by_name(changed, path).get(_bare(keys[0])) or keys[0]
    below = changed.get(name)
    if len(keys) == 1 and node.value is None and below is not None:
        del changed[name]
        deleted[_bare(name)] = place
    elif below is None or below.value is None:
        for key in reversed(keys[1:]):
            node = Node({key: node}, place, place)
            node.value[key].key = place
        changed[name] = Node(node.value, place, place)
        deleted.pop(_bare(name), None)
    else:
        edited = set_value(below, keys[1:], node, place, (*path, _bare(name)))
        edited.key = below.key if isinstance(below.value, dict) else place
        changed[name] = edited
        if name != keys[0] and "(" in keys[0]:
            renamed = {name: keys[0]}
            changed = {renamed.get(key, key): node for key, node in changed.items()}
    return Node(changed, root.place, root.key, root.source, root.span, deleted)
