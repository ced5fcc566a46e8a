"""Declarations: read from source, equal to the live ones, and judged against values."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from registry import Declaration, Registries, UserError, operation
from registry.language.annotations import accepts
from registry.language.declaration import REQUIRED


def test_nothing_is_imported(names: Registries) -> None:
    for name in names.modules.names():
        names.modules.declaration(name)
    assert "fake_parts" not in sys.modules
    assert "fake_base" not in sys.modules


def test_a_class(names: Registries) -> None:
    found = names.modules.declaration("video_vit")
    assert {name: str(port) for name, port in found.inputs.items()} == {
        "video": "frames B 3 frames size size"
    }
    assert found.nameless
    assert str(found.outputs[""]) == "tokens B N width"  # of the base class
    assert found.doc == "Frames to tokens."
    assert found.file.endswith("fake_parts.py")
    assert found.arguments["width"].required
    assert found.arguments["frames"].default == 8
    assert found.arguments["temporal"].choices == ("local", "none")
    assert not found.options


def test_a_base_class_in_another_file(names: Registries) -> None:
    assert list(names.modules.declaration("text_encoder").arguments) == [
        "width",
        "depth",
    ]


def test_an_operation(names: Registries) -> None:
    found = names.operations.declaration("lm_loss")
    assert found.inputs["teacher"].optional
    assert not found.inputs["target"].optional
    assert found.off == {"teacher": "alpha"}
    assert list(found.options) == ["alpha"]
    assert names.operations.declaration("concat").inputs["parts"].variadic


def test_source_and_live_object_say_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "living.py").write_text(
        "from typing import Literal\n"
        "from registry import operation\n"
        "class Thing:\n"
        '    """One thing. More of it."""\n'
        '    inputs = {"a?": "tokens B L width"}\n'
        '    outputs = "vector B width"\n'
        "    def __init__(self, width: int, mode: Literal['x', 'y'] = 'x', depth: int | None = None): ...\n"
        "    def forward(self, a, *, flag: bool = False): ...\n"
        '@operation(inputs={"*a": "scalar"}, outputs="scalar", off={"a": "k"})\n'
        "def act(*a, k: float = 0.5):\n"
        '    """Act."""\n'
    )
    (tmp_path / "shown.py").write_text("from living import Thing, act as do\n")
    monkeypatch.syspath_prepend(tmp_path)
    read = [Declaration.read(f"shown:{name}") for name in ("Thing", "do")]
    assert "living" not in sys.modules
    import living

    for declaration, live in zip(
        read, map(Declaration.of, (living.Thing, living.act)), strict=True
    ):
        for part in ("inputs", "outputs", "off", "doc", "options"):
            assert getattr(declaration, part) == getattr(live, part)
        assert list(declaration.arguments) == list(live.arguments)
        for name, parameter in declaration.arguments.items():
            assert parameter.default == live.arguments[name].default
            assert parameter.choices == live.arguments[name].choices


def test_arguments_of_base_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ground.py").write_text(
        "from typing import Any, Generic, TypeVar\n"
        "One = TypeVar('One')\n"
        "class Ground(Generic[One]):\n"
        '    inputs = {"a": "scalar"}\n'
        '    outputs = "scalar"\n'
        "    def __init__(self, path: str, size: int = 1, *, deep: str = 'g') -> None: ...\n"
        "class Left(Ground[One]):\n"
        "    def __init__(self, left: int = 2, size: int = 2, **settings: Any) -> None: ...\n"
        "class Right(Ground[One]):\n"
        "    def __init__(self, size: int = 3, right: int = 3, **settings: Any) -> None: ...\n"
    )
    (tmp_path / "house.py").write_text(
        "from ground import Ground, Left, Right\n"
        "class One(Left[int]):\n"
        "    def __init__(self, own: int, left: int = 5, **settings) -> None: ...\n"
        "class Silent(One): ...\n"
        "class Both(Left[int], Right[int]):\n"
        "    def __init__(self, **settings) -> None: ...\n"
        "class Closed(Left[int]):\n"
        "    def __init__(self, own: int = 4) -> None: ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    names = ("One", "Silent", "Both", "Closed")
    read = [Declaration.read(f"house:{name}") for name in names]
    assert "house" not in sys.modules
    assert {name: one.default for name, one in read[0].arguments.items()} == {
        "own": REQUIRED,
        "left": 5,
        "size": 2,
        "path": REQUIRED,
        "deep": "g",
    }
    assert read[1].arguments == read[0].arguments
    assert list(read[2].arguments) == ["left", "size", "right", "path", "deep"]
    assert list(read[3].arguments) == ["own"]
    import house

    for name, declaration in zip(names, read, strict=True):
        live = Declaration.of(getattr(house, name))
        assert list(declaration.arguments.items()) == list(live.arguments.items())
        assert declaration.inputs == live.inputs


def test_operation_leaves_the_function_alone() -> None:
    def act(a: Any) -> Any:
        return a

    assert operation(inputs={"a": "scalar"}, outputs="scalar")(act) is act
    assert Declaration.of(act).inputs["a"].kind == "scalar"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("fake_parts", "a target must read 'package.module:Name'"),
        ("fake_parts:Nothing", "defines no 'Nothing'"),
        ("no_such_package.x:Thing", "there is no module 'no_such_package.x'"),
        ("fake_parts:Unreadable", "`inputs` must be a literal"),
    ],
)
def test_unreadable(target: str, message: str, names: Registries) -> None:
    with pytest.raises(UserError, match=message):
        Declaration.read(target)


def test_wrong_ports_are_a_users_error() -> None:
    def act(a: Any) -> Any:
        return a

    for wrong in ("tensor B", "scalar B", "tokens B L-1", "tokens 0"):
        with pytest.raises(UserError, match="the declared ports cannot be read"):
            Declaration.of(operation(inputs={"a": wrong}, outputs="scalar")(act))


YES: list[tuple[str, Any]] = [
    ("int", 3),
    ("float", 3),
    ("float", 0.5),
    ("int | None", None),
    ("Optional[int]", None),
    ("Union[int, str]", "a"),
    ("typing.Literal['a', 1]", 1),
    ("list[int]", [1, 2]),
    ("Sequence[str]", []),
    ("tuple[float, float]", [0.5, 1]),
    ("tuple[int, ...]", [1, 2, 3]),
    ("dict[str, float]", {"a": 1}),
    ("list", [object()]),
    ("Path", "anything"),
    ("'int'", 3),
    ("", object()),
    ("not python", 3),
]
NO: list[tuple[str, Any]] = [
    ("int", True),
    ("int", 1.5),
    ("int", "3"),
    ("float", "1e-5"),
    ("bool", 1),
    ("str", 3),
    ("int", None),
    ("Literal['a', 1]", True),
    ("Literal['a']", "b"),
    ("list[int]", [1, "a"]),
    ("list[int]", 3),
    ("tuple[float, float]", [0.5]),
    ("dict[str, float]", {"a": "b"}),
    ("dict", []),
    ("'int'", "3"),
]


@pytest.mark.parametrize(("annotation", "value"), YES)
def test_fits(annotation: str, value: Any) -> None:
    assert accepts(annotation, value)


@pytest.mark.parametrize(("annotation", "value"), NO)
def test_does_not_fit(annotation: str, value: Any) -> None:
    assert not accepts(annotation, value)


def test_live_literal_annotations_have_choices() -> None:
    class Thing:
        def __init__(self, mode: Literal["a", "b"] = "a") -> None: ...

    assert Declaration.of(Thing).arguments["mode"].choices == ("a", "b")
