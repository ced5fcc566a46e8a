"""Reading: YAML with positions, `extends`, merging, overrides."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from registry import SpecError, parse_spec
from registry.yaml.merge import FILES, read_tree
from registry.yaml.parse import LARGEST, parse
from registry.yaml.tree import DEEPEST, Node, Source, scalar


def write(folder: Path, **files: str) -> Path:
    """Write `name="text"` as name.yaml, and return the first."""
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / f"{next(iter(files))}.yaml"


def fails(text: str) -> str:
    """Return the first line of the error that a text gives."""
    with pytest.raises(SpecError) as caught:
        parse(Source("x.yaml", text))
    return str(caught.value).splitlines()[0]


def at(root: Node, *keys: str | int) -> str:
    for key in keys:
        root = root.value[key]
    return str(root.place).rsplit("/", 1)[-1]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("-2.5E+3", -2500.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("12", 12),
        ("-0", 0),
        ("~", None),
        ("", None),
        ("Null", None),
        ("True", True),
        ("false", False),
        ("yes", "yes"),
        ("off", "off"),
        ("1e999", "1e999"),
        (".nan", ".nan"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("12:30", "12:30"),
    ],
)
def test_scalar(text: str, value: object) -> None:
    found = scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_quotes_make_a_string() -> None:
    assert parse(Source("x", "a: '1e-5'\nb: \"true\"")).plain() == {
        "a": "1e-5",
        "b": "true",
    }


def test_every_leaf_knows_its_place() -> None:
    root = parse(Source("x.yaml", "a: {b: [1, 'two']}\nc:\n  d: three\n"))
    assert at(root, "a", "b", 1) == "x.yaml:1:12"
    assert at(root, "c", "d") == "x.yaml:3:6"
    assert str(root.value["c"].value["d"].key) == "x.yaml:3:3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: [1\nb: 2\n",
            "x.yaml:2:2: not valid YAML: expected ',' or ']', but got ':' "
            "(while parsing a flow sequence, which begins at 1:4)",
        ),
        ("a: b: c", "x.yaml:1:5: not valid YAML: mapping values are not allowed here"),
        ("a: 1\na: 2", "x.yaml:2:1: duplicate key 'a' (first at x.yaml:1:1)"),
        ("a: {b: 1, b: 2}", "x.yaml:1:11: duplicate key 'b' (first at x.yaml:1:5)"),
        ("a: *b", "x.yaml:1:4: '*b' is a YAML alias, which specs do not have"),
        ("*b : 1", "x.yaml:1:1: '*b' is a YAML alias, which specs do not have"),
        ("a: &b 1", "x.yaml:1:4: '&b' is a YAML anchor, which specs do not have"),
        ("a: &b {c: 1}", "x.yaml:1:4: '&b' is a YAML anchor, which specs do not have"),
        (
            "a: !!python/object:x 1",
            "x.yaml:1:4: 'tag:yaml.org,2002:python/object:x' is a YAML tag, which specs do not have",
        ),
        (
            "a: 1\n---\nb: 2",
            "x.yaml:2:1: a spec must be one YAML document, but a second one begins here",
        ),
        (
            "a: 1\nb\x01: 2",
            "x.yaml:2:2: not valid YAML: unacceptable character #x0001: special characters",
        ),
        (
            'a: "\\ud800"',
            "x.yaml:1:4: a text must be complete characters, but '\\ud800' has half a one",
        ),
        (
            '"\\udc00": 1',
            "x.yaml:1:1: a text must be complete characters, but '\\udc00' has half a one",
        ),
        ("[1]: 2", "x.yaml:1:1: a key must be one word, but is a mapping or a list"),
        (
            "a: " + "[" * 99,
            f"x.yaml:1:{DEEPEST + 4}: a spec must be nested at most {DEEPEST} deep",
        ),
        (
            "#" * (LARGEST + 1),
            f"x.yaml:1:1: a spec must have at most {LARGEST} characters",
        ),
    ],
)
def test_unreadable(text: str, message: str) -> None:
    assert fails(text).startswith(message)


def test_all_duplicate_keys_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        parse(Source("x", "a: 1\na: 2\nb: {c: 1, c: 1}"))
    assert len(caught.value.problems) == 2


def test_the_message_shows_the_line_and_a_hint_to_paste() -> None:
    with pytest.raises(SpecError) as caught:
        parse(Source("x.yaml", "train:\n  no_decay: [*bias]\n"))
    assert str(caught.value) == (
        "x.yaml:2:14: '*bias' is a YAML alias, which specs do not have\n"
        "       2 |   no_decay: [*bias]\n"
        "         |              ^\n"
        "    hint: a pattern must be quoted: '*bias'"
    )


def test_extends_merges_and_keeps_places(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        top="extends: middle.yaml\ntrain: {lr: 1.0}\n"
        "modules: {a: {width: 3}, b: {use: y}, c: }\nfreeze: [z]\n",
        middle="extends: base.yaml\ntrain:\n  lr: 2.0\n  batch_size: 2\n",
        base="train: {lr: 3.0, batch_size: 3, zero: 3}\nfreeze: [x, y]\n"
        "modules: {a: {use: x, width: 1, depth: 1}, b: {use: x, width: 1}, c: {use: x}}\n",
    )
    root = read_tree(path)
    assert root.plain() == {
        "train": {"lr": 1.0, "batch_size": 2, "zero": 3},
        "freeze": ["z"],
        "modules": {"a": {"use": "x", "width": 3, "depth": 1}, "b": {"use": "y"}},
    }
    assert at(root, "train", "lr") == "top.yaml:2:13"
    assert at(root, "train", "batch_size") == "middle.yaml:4:15"
    assert at(root, "train", "zero") == "base.yaml:1:39"
    assert at(root, "modules", "a", "width") == "top.yaml:3:22"
    assert at(root, "modules", "a", "depth") == "base.yaml:3:40"


def test_extends_takes_a_list_and_folders(tmp_path: Path) -> None:
    (tmp_path / "_base_").mkdir()
    write(
        tmp_path / "_base_",
        one="train: {lr: 1, batch_size: 1}\n",
        two="extends: one.yaml\ntrain: {lr: 2}\n",
    )
    path = write(tmp_path, top="extends: [_base_/one.yaml, _base_/two.yaml]\n")
    root = read_tree(path)
    assert root.plain() == {"train": {"lr": 2, "batch_size": 1}}
    assert (
        str(root.value["train"].value["lr"].place) == f"{tmp_path}/_base_/two.yaml:2:13"
    )


def test_extends_in_a_circle_is_named(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        a="extends: b.yaml\n",
        b="train: {}\nextends: [c.yaml]\n",
        c="extends: a.yaml\n",
    )
    with pytest.raises(SpecError) as caught:
        read_tree(path)
    problem = caught.value.problems[0]
    assert str(problem.place) == f"{tmp_path}/c.yaml:1:10"
    names = " -> ".join(f"{tmp_path}/{one}.yaml" for one in "abca")
    assert problem.message == f"`extends` has a cycle: {names}"


def test_missing_files_are_all_named_where_they_are_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, a="extends: [basis.yaml, far/none.yaml]\n", base="{}")
    with pytest.raises(SpecError) as caught:
        read_tree(path)
    first, second = caught.value.problems
    assert str(first.place) == f"{path}:1:11"
    assert first.message == f"no such file: {tmp_path}/basis.yaml"
    assert first.hint == "did you mean 'base.yaml'?"
    assert second.hint == f"there is no folder '{tmp_path}/far'"
    with pytest.raises(SpecError, match=r"none\.yaml: no such file"):
        read_tree(tmp_path / "none.yaml")


@pytest.mark.parametrize("extends", ["3", "{a: b}", "[[a]]"])
def test_extends_must_name_files(tmp_path: Path, extends: str) -> None:
    with pytest.raises(SpecError, match="extends must be a path"):
        read_tree(write(tmp_path, a=f"extends: {extends}\n"))


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(SpecError, match=r"a\.yaml:2:4: a spec must be UTF-8 text"):
        read_tree(tmp_path / "a.yaml")
    with pytest.raises(SpecError, match="is a folder"):
        read_tree(tmp_path)


def test_overrides_set_exactly_what_they_name(tmp_path: Path) -> None:
    path = write(tmp_path, a="modules: {vision: {use: x, width: 1}}\ntrain: {lr: 1}\n")
    root = read_tree(
        path,
        [
            "modules.vision.use=y",
            "train.lr=1e-4",
            "data.train.path=a=b",
            "train.betas=[1, 2]",
            "init.*=x",
        ],
    )
    assert root.plain() == {
        "modules": {"vision": {"use": "y", "width": 1}},
        "train": {"lr": 1e-4, "betas": [1, 2]},
        "data": {"train": {"path": "a=b"}},
        "init": {"*": "x"},
    }
    assert at(root, "modules", "vision", "use") == "command line: modules.vision.use=y"
    assert at(root, "train", "betas", 1) == "command line: train.betas=[1, 2]"
    assert at(root, "modules", "vision", "width") == "a.yaml:1:35"


def test_an_override_replaces_a_whole_module_or_deletes(tmp_path: Path) -> None:
    path = write(tmp_path, a="modules: {vision: {use: x, width: 1}, text: {use: x}}\n")
    root = read_tree(path, ["modules.vision={use: y}", "modules.text="])
    assert root.plain() == {"modules": {"vision": {"use": "y"}}}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.lr", "command line: train.lr: an override must be KEY.KEY=VALUE"),
        ("=3", "command line: =3: an override must be KEY.KEY=VALUE"),
        ("a..b=3", "command line: a..b=3: an override must be KEY.KEY=VALUE"),
        ("train.lr=[1", "command line: train.lr=[1: not valid YAML: "),
        (
            "train.lr.vision=1",
            "command line: train.lr.vision=1: 'train.lr' is 1 (set at ",
        ),
        (
            "extends=b.yaml",
            "command line: extends=b.yaml: an override cannot set what a spec extends",
        ),
        (
            "extends.0=b.yaml",
            "command line: extends.0=b.yaml: an override cannot set what a spec extends",
        ),
    ],
)
def test_wrong_override(tmp_path: Path, override: str, message: str) -> None:
    path = write(tmp_path, a="train: {lr: 1}\n")
    with pytest.raises(SpecError) as caught:
        read_tree(path, [override])
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/data/my #1 run", "/data/my #1 run"),
        ("# hi", "# hi"),
        ("'a #1' ", "a #1"),
        ("[a #1, b]", ["a #1", "b"]),
        ("{a #1: b #2}", {"a #1": "b #2"}),
        ("1e-4 # slow", "1e-4 # slow"),
        ("C#", "C#"),
    ],
)
def test_an_override_has_no_comments(
    tmp_path: Path, value: str, expected: object
) -> None:
    root = read_tree(write(tmp_path, a="{}\n"), [f"train.output_dir={value}"])
    assert root.plain() == {"train": {"output_dir": expected}}


@pytest.mark.parametrize(
    "last", ["train: {lr: 1}\n", "train: [\n", "extends: [no.yaml, no.yaml]\n"]
)
def test_a_file_that_many_extend_is_read_once(tmp_path: Path, last: str) -> None:
    files = {f"c{i}": f"extends: [c{i + 1}.yaml, c{i + 1}.yaml]\n" for i in range(40)}
    path = write(tmp_path, **files, c40=last)
    try:
        assert read_tree(path).plain() == {"train": {"lr": 1}}
    except SpecError as error:
        assert len(error.problems) in (1, 2)


def test_a_spec_comes_from_so_many_files(tmp_path: Path) -> None:
    chain = {f"c{i}": f"extends: c{i + 1}.yaml\n" for i in range(FILES)}
    path = write(tmp_path, **chain, **{f"c{FILES}": "{}\n"})
    with pytest.raises(SpecError, match=f"a spec must come from at most {FILES} files"):
        read_tree(path)
    assert read_tree(tmp_path / "c1.yaml").plain() == {}


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(SpecError, match=r"pipe\.yaml is no regular file"):
        read_tree(write(tmp_path, a="extends: pipe.yaml\n"))
    with pytest.raises(SpecError, match="no such file"):
        read_tree(write(tmp_path, b=f"extends: {'b' * 300}/x.yaml\n"))


def test_what_a_terminal_would_obey_is_escaped(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec('"a\\e[31mb": 1\ninputs: {"x\\e[2J y": text B}\n')
    assert "\x1b" not in str(caught.value)
    assert r"'x\x1b[2J y'" in str(caught.value)
    with pytest.raises(SpecError) as caught:
        read_tree(write(tmp_path, a="a: \x1b[31mred\n"), ["b=\udcff"])
    assert "\x1b" not in str(caught.value)
    assert "| a: \ufffd[31mred" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("private.txt", "PASSWORD=[correct horse }\n"),
        (".env", "inputs: secret horse\n"),
        ("notes.yaml", "the correct horse\n"),
    ],
)
def test_nothing_of_a_file_that_is_no_spec_is_quoted(
    tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    child = tmp_path / "child.yaml"
    child.write_text(f"train: {{epochs: 1}}\nextends: {name}\n")
    with pytest.raises(SpecError, match="`extends` must name a spec") as caught:
        read_tree(child)
    assert str(caught.value).startswith(f"{child}:2:10: ")
    assert "horse" not in str(caught.value)
