"""The entries of `init`: which one gives a module its weights, and what must exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry import Registries, check, parse_spec
from registry.checks.initial import is_name, missing_files, owners


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["*", "vision"], {"vision": "vision", "visual": "*", "text": "*"}),
        (["vision", "*"], {"vision": "vision", "visual": "*", "text": "*"}),
        (["vis*", "*", "visu*"], {"vision": "vis*", "visual": "visu*", "text": "*"}),
        (["text"], {"text": "text"}),
        (["vis*", "??s*"], {"vision": "vis*", "visual": "vis*"}),
        (["vis*", "*vis"], {"vision": "vis*", "visual": "vis*"}),
        (
            ["!text", "text", "visual"],
            {"vision": "!text", "visual": "visual", "text": "text"},
        ),
    ],
)
def test_the_most_exact_pattern_gives_the_weights(
    patterns: list[str], expected: dict[str, str]
) -> None:
    assert owners(patterns, ["vision", "visual", "text"]) == expected


def test_names_and_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: Registries
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    (tmp_path / "bert-base").mkdir()
    for name in ("bert-base-uncased", "ViT-L-14", "openai/clip-vit-base-patch16"):
        assert is_name("clip", name, names), name
        assert not is_name("checkpoint", name, names), name
    for path in (
        "bert-base",
        "weights/bert",
        "/a/b",
        "./bert",
        "../bert",
        "a/b/c",
        "clip.pt",
        "x/y.pth",
    ):
        assert not is_name("clip", path, names), path


def test_what_is_named_must_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: str, names: Registries
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "base.pth").touch()
    spec = parse_spec(good.replace("clip:ViT-B-16", "clip:weights/bass.pth"))
    assert check(spec, names).good, "only where files are asked for"
    found = {one.message: one.hint for one in check(spec, names, files=True).problems}
    assert found == {
        "init must name what exists, but there is no 'weights/bass.pth'": (
            "did you mean 'clip:weights/base.pth'?"
        ),
        "init must name what exists, but there is no 'pretrain'": (
            "'mplug2:' takes file; paths begin where the command runs"
        ),
    }
    (tmp_path / "pretrain").touch()
    assert missing_files(parse_spec(good), names) == []
    (far,) = missing_files(
        parse_spec(good.replace("'mplug2:pretrain'", "'checkpoint:no/where/x'")), names
    )
    assert far.hint.startswith("there is no folder 'no/where' here")
