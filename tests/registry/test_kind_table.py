"""The table of kinds: names, owners, entry points, and no second list of kinds anywhere."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import registry.kinds
from registry import KINDS, Kind, UserError, parse_spec, read_port
from registry.kinds import KindTable

ROOT = Path(__file__).parents[2]
HALVES = (
    "registry/kinds.py",
    "modules/kinds.py",
    "modules/padded_kinds.py",
)  # the only files that may list kinds
LISTED = 3  # so many names in one place are a list of kinds


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> KindTable:
    """The table, restored after the test; entry points are searched again."""
    monkeypatch.setattr(KINDS, "_entries", dict(KINDS._entries))
    monkeypatch.setattr(KINDS, "_searched", False)
    return KINDS


def offer(folder: Path, source: str) -> None:
    """Install a package `offering` whose entry point `pose` is `offered_kinds:POSE`."""
    info = folder / "offering-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: offering\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text(
        "[mplug2.kinds]\npose = offered_kinds:POSE\n"
    )
    (folder / "offered_kinds.py").write_text(source)


def test_a_name_has_one_owner(table: KindTable) -> None:
    with pytest.raises(UserError) as caught:
        table.add(Kind("tokens", "Something else: tokens B.", "somewhere:Else"))
    message = str(caught.value)
    assert message.startswith(
        "kind 'tokens' must have one owner, but is registry.kinds:tokens (registered by"
    )
    assert "test_kind_table:tokens" in message


def test_a_near_miss_is_suggested(table: KindTable) -> None:
    with pytest.raises(UserError, match="unknown kind 'token'; did you mean 'tokens'"):
        table["token"]


@pytest.mark.parametrize("name", ["Pose", "a|b", "a b", ""])
def test_a_name_that_no_port_can_write_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="a kind must be named by a lower-case word"):
        Kind(name, "A thing.", "a:B")


def test_a_kind_of_streams_needs_a_torch_half(table: KindTable) -> None:
    with pytest.raises(UserError, match="kind 'pose' must name its torch half"):
        Kind("pose", "A thing: pose B.")
    table.add(Kind("pose", "A thing: pose B.", "fractions:Fraction"))
    with pytest.raises(
        UserError,
        match="the torch half of kind 'pose' must have value_class.* but lacks",
    ):
        table.half("pose")
    table.add(Kind("pose", "A thing: pose B.", "fractions:Gone"))
    with pytest.raises(
        UserError,
        match=r"the torch half of kind 'pose' \(fractions:Gone\) cannot be imported",
    ):
        table.half("pose")
    with pytest.raises(UserError, match="'module' is a kind of ports only"):
        table.half("module")


def test_another_package_adds_a_kind(
    table: KindTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(
        tmp_path,
        'from registry import Kind\nPOSE = Kind("pose", "A pose: pose B J 2.", "no:Half")\n',
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert str(read_port("pose B J 2")) == "pose B J 2"
    assert "pose" in table.names()
    assert table.summary("pose") == "A pose: pose B J 2."


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("POSE = 3\n", "kind 'pose' must be a registry.Kind .got int"),
        (
            "from registry import KINDS\nPOSE = KINDS['text']\n",
            "but its `name` is 'text'",
        ),
        (
            "import no_such_package\n",
            "kind 'pose' .offered_kinds:POSE. cannot be imported: No module named",
        ),
    ],
)
def test_an_entry_point_that_is_not_a_kind_is_refused(
    source: str,
    message: str,
    table: KindTable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer(tmp_path, source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "offered_kinds", raising=False)
    assert "pose" in table
    with pytest.raises(UserError, match=message):
        parse_spec("inputs: {x: pose B}\n")


def test_kinds_without_axes_and_kinds_of_ports_only() -> None:
    with pytest.raises(ValueError, match="kind 'scalar' has no axes, but has 'B'"):
        read_port("scalar B")
    problems = []
    try:
        parse_spec("inputs: {x: module}\n")
    except UserError as error:
        problems = str(error).splitlines()
    assert "'module' is a kind of ports only, not of streams" in problems[0]


def constants(node: ast.expr | None) -> set[str]:
    """Return the names of kinds that a container displays, with those of containers directly inside it."""
    match node:
        case ast.Tuple() | ast.List() | ast.Set():
            return set().union(*(constants(item) for item in node.elts))
        case ast.Dict():
            return set().union(*(constants(key) for key in node.keys))
        case ast.Starred():
            return constants(node.value)
        case ast.Constant(value=str(text)):
            return {text} & set(KINDS.names())
    return set()


def compared(node: ast.AST) -> set[str]:
    """Return the names of kinds that a function or a `match` compares something with."""
    names: set[str] = set()
    for part in ast.walk(node):
        if (
            isinstance(part, ast.Compare)
            and ast.unparse(part.left).split(".")[-1] == "kind"
        ):
            for other in part.comparators:
                names |= constants(other)
        elif isinstance(part, ast.MatchValue):
            names |= constants(part.value)
    return names


def listed(source: str) -> list[tuple[int, set[str]]]:
    """Return the lines that list kinds, and what they list."""
    places = []
    for node in ast.walk(ast.parse(source)):
        names: set[str] = set()
        if isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict):
            names = constants(node)
        elif isinstance(node, ast.FunctionDef | ast.Match):
            names = compared(node)
        if len(names) >= LISTED:
            places.append((getattr(node, "lineno", 0), names))
    return places


def test_no_other_file_lists_kinds() -> None:
    places = []
    for floor in ("registry", "modules", "mplug2"):
        for file in sorted((ROOT / floor).rglob("*.py")):
            path = file.relative_to(ROOT).as_posix()
            if path not in HALVES:
                places += [
                    (path, *place) for place in listed(file.read_text(encoding="utf-8"))
                ]
    assert not places


@pytest.mark.parametrize(
    "source",
    [
        'CAST = ("frames", "image", "vector")',
        'ALL = (*("frames", "image"), "vector")',
        'FORMS = {"text": 1, "tokens": 2, "strings": 3}',
        'match kind:\n case "text": pass\n case "index" | "labels": pass',
        'def f(kind):\n if kind == "text": return 1\n if x.kind in ("index", "labels"): return 2',
    ],
)
def test_the_scan_sees_lists_of_kinds(source: str) -> None:
    assert listed(source)


def test_the_table_needs_no_torch() -> None:
    code = (
        "import sys, registry\n"
        "kinds = [registry.KINDS[name] for name in registry.KINDS.names()]\n"
        "sys.exit(bool({'torch', 'numpy', 'modules'} & set(sys.modules)) or len(kinds) < 17)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env=environment)


def test_every_kind_says_what_it_is() -> None:
    for name in KINDS.names():
        assert KINDS[name].meaning.endswith(".")
        assert registry.kinds.KINDS.summary(name) == KINDS[name].meaning
