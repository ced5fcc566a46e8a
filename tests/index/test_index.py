"""An index is built once, brought up to date, searched, and refused where it does not fit."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from typer.testing import CliRunner

from mplug2.build.compose import compose
from mplug2.cli.app import app
from mplug2.data.media.image import read_image, resize
from mplug2.data.media.transforms import eval_transform
from mplug2.index import build, open_index
from mplug2.index.files import weights_fingerprint
from mplug2.weights.store import save_weights
from registry import UserError, read_spec

SPEC = """
inputs: {{image: image B 3 H W, caption: text B L}}
modules:
  vision: {{use: image_vit, width: 32, depth: 1, heads: 2, patch: 8, size: 16}}
  words: {{use: text_embedding, width: 32, vocab_size: 50, max_positions: 16}}
  to_v: {{use: feature_head, width_in: 32, width: 8}}
  to_t: {{use: feature_head, width_in: 32, width: 8, pool: mean}}
flow: {{visual: vision(image), asked: words(caption), v: to_v(visual), t: to_t(asked)}}
goals: {{embed_vision: {{v: v}}, embed_text: {{t: t}}}}
data: {{kind: retrieval, tokenizer: {vocabulary}, workers: 0}}
eval: {{metrics: [recall], batch_size: 2}}
"""
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "blue", "square"]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A spec, two checkpoints and a folder with five images, one broken, in it."""
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (tmp_path / "find.yaml").write_text(SPEC.format(vocabulary=tmp_path / "vocab.txt"))
    for seed in (0, 1):
        torch.manual_seed(seed)
        save_weights(
            compose(read_spec(tmp_path / "find.yaml")), tmp_path / f"{seed}.safetensors"
        )
    (tmp_path / "media" / "deep").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.jpg", "c.png", "deep/d.png")):
        draw(tmp_path / "media" / name, number)
    (tmp_path / "media" / "broken.png").write_bytes(b"\x89PNG no more")
    (tmp_path / "media" / "notes.txt").write_text("no image")
    return tmp_path


def draw(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def make(world: Path, weights: int = 0, **more: int) -> tuple[int, int, int, list[str]]:
    found = build(
        world / "find.yaml",
        world / f"{weights}.safetensors",
        world / "media",
        world / "index",
        **more,
    )
    return found.files, found.embedded, found.gone, sorted(found.broken)


def test_only_what_is_new_or_changed_is_read_again(world: Path) -> None:
    assert make(world) == (4, 4, 0, ["broken.png"])
    assert make(world) == (4, 0, 0, ["broken.png"])
    draw(world / "media" / "a.png", 9)
    os.utime(world / "media" / "a.png", ns=(1, 1))
    draw(world / "media" / "e.png", 10)
    (world / "media" / "b.jpg").unlink()
    assert make(world) == (4, 2, 2, ["broken.png"])
    draw(world / "media" / "broken.png", 11)
    assert make(world) == (5, 1, 1, [])
    names = [file.name for file in open_index(world / "index").files]
    assert names == ["a.png", "broken.png", "c.png", "e.png", "deep/d.png"]
    suffixes = sorted(path.suffix for path in (world / "index").iterdir())
    assert suffixes == ["", ".json", ".safetensors", ".yaml"]


def test_it_finds_what_the_network_says(world: Path) -> None:
    make(world)
    index = open_index(world / "index")
    net = index.embedder.net
    names = ["a.png", "b.jpg", "c.png", "deep/d.png"]
    with torch.no_grad():
        pixels = [
            eval_transform(
                resize(read_image(world / "media" / name), 16, 16)[None], 16
            )[:, 0]
            for name in names
        ]
        seen = F.normalize(
            net({"image": torch.stack(pixels)}, goal="embed_vision")["v"], dim=1
        )
        ids = index.embedder.tokenizer(["a red square"])
        asked = F.normalize(net({"caption": ids}, goal="embed_text")["t"], dim=1)
    wanted = sorted(zip((asked @ seen.T)[0].tolist(), names, strict=True), reverse=True)
    found = index.text("A red square!", top=3)
    assert [one.name for one in found] == [name for _, name in wanted[:3]]
    assert [one.score for one in found] == pytest.approx(
        [score for score, _ in wanted[:3]], abs=1e-5
    )
    assert all(one.path.is_file() for one in found)
    assert len(index.text("red", top=99)) == 4
    like = index.file(world / "media" / "c.png", top=1)[0]
    assert (like.name, like.score) == ("c.png", pytest.approx(1, abs=1e-5))


def test_what_was_done_is_kept_when_a_build_stops(world: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(
            world / "find.yaml",
            world / "0.safetensors",
            world / "media",
            world / "index",
            on_progress=stop,
            every=0,
        )
    files, embedded, _, _ = make(world)
    assert files == 4
    assert 0 < embedded < 4


def test_another_network_is_refused(world: Path) -> None:
    make(world)
    with pytest.raises(UserError, match="was made with other weights"):
        make(world, weights=1)
    with pytest.raises(UserError, match=r"was made with other weights \(fingerprint"):
        open_index(world / "index", world / "1.safetensors")
    changed = (world / "find.yaml").read_text().replace("pool: mean", "pool: first")
    (world / "find.yaml").write_text(changed)
    with pytest.raises(UserError, match="was made with another spec"):
        make(world)
    (world / "index" / "spec.yaml").write_text(changed)
    with pytest.raises(UserError, match="was made with another spec"):
        open_index(world / "index")
    assert weights_fingerprint(world / "0.safetensors") != weights_fingerprint(
        world / "1.safetensors"
    )


def test_what_is_no_index_is_refused(world: Path) -> None:
    with pytest.raises(UserError, match="must be an index"):
        open_index(world / "media")
    with pytest.raises(UserError, match="must be a new folder or an index"):
        build(
            world / "find.yaml",
            world / "0.safetensors",
            world / "media",
            world / "media",
        )
    make(world)
    file = world / "index" / "index.json"
    whole = file.read_text()
    row = json.loads(whole)
    for damage in (
        whole[:50],
        "[]",
        "{}",
        json.dumps({**row, "features": "../0.safetensors"}),
    ):
        file.write_text(damage)
        with pytest.raises(UserError, match="is damaged"):
            open_index(world / "index")
    file.write_text(json.dumps({**row, "files": row["files"][1:]}))
    with pytest.raises(UserError, match="4 vectors are there for 3 files"):
        open_index(world / "index")


def test_an_index_moves_with_its_folder(world: Path) -> None:
    make(world)
    (world / "moved").mkdir()
    for name in ("index", "media", "0.safetensors"):
        (world / name).rename(world / "moved" / name)
    assert open_index(world / "moved" / "index").text("blue", top=1)[0].path.is_file()


def run(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["index", *map(str, words)])
    assert done.exit_code == code, done.output
    return done.output


def test_from_the_command_line(world: Path) -> None:
    given = (
        "-c",
        world / "0.safetensors",
        "--media",
        world / "media",
        "-o",
        world / "index",
    )
    said = run("build", world / "find.yaml", *given)
    assert "4 files, 4 of them new" in said
    assert "cannot be read: broken.png" in said
    rows = run(
        "search",
        world / "index",
        "a red square",
        "--top",
        2,
        "--json",
        "--sheet",
        world / "s.html",
    )
    assert [set(json.loads(row)) for row in rows.splitlines()] == [
        {"file", "score"}
    ] * 2
    page = (world / "s.html").read_text()
    assert page.count("<article>") == 2 and "a red square" in page
    assert "a.png" in run(
        "search", world / "index", "--image", world / "media" / "a.png", "--top", 1
    )
    assert "holds images" in run("search", world / "index", "--video", "x.mp4", code=2)
    assert "must have one query" in run("search", world / "index", code=2)
    said = run(
        "search", world / "index", "--image", world / "media" / "broken.png", code=2
    )
    assert "is not an image that can be read" in said


def test_it_is_searched_from_any_folder(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    (world / "find.yaml").write_text(SPEC.format(vocabulary="vocab.txt"))
    make(world)
    before = open_index("index").text("red")
    monkeypatch.chdir(world / "media")
    assert open_index("../index").text("red") == before
    (world / "vocab.txt").unlink()
    assert open_index("../index").text("red") == before


@pytest.mark.parametrize("place", ["find.yaml", "find.yaml/deep", "circle"])
def test_a_place_that_cannot_be_written_is_refused_before_anything_is_loaded(
    world: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (world / "circle").symlink_to("circle")
    monkeypatch.setattr(
        "mplug2.index.builder.load", lambda *_: pytest.fail("a network was loaded")
    )
    with pytest.raises(
        UserError, match="must be a folder, but is a file|cannot be written"
    ):
        build(
            world / "find.yaml", world / "0.safetensors", world / "media", world / place
        )


def test_links_to_nothing_or_in_a_circle_are_broken_files(world: Path) -> None:
    (world / "media" / "gone.png").symlink_to("missing.png")
    (world / "media" / "circle.png").symlink_to("circle.png")
    assert make(world) == (4, 4, 0, ["broken.png", "circle.png", "gone.png"])
    assert make(world) == (4, 0, 0, ["broken.png", "circle.png", "gone.png"])


def test_a_full_disk_leaves_what_was_there_and_no_hindrance(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("mplug2.index.files.write_safetensors", full)
        with pytest.raises(
            UserError,
            match="cannot be written .No space left on device.; what was there",
        ):
            make(world)
    assert not list((world / "index").iterdir())
    (world / "index" / "features-0.safetensors").write_bytes(
        b"of a build that was killed"
    )
    assert make(world) == (4, 4, 0, ["broken.png"])
    assert len(list((world / "index").glob("features-*"))) == 1
    with monkeypatch.context() as patch:
        patch.setattr("mplug2.index.files.write_safetensors", full)
        with pytest.raises(UserError, match="No space left"):
            make(world)
    assert len(open_index(world / "index")) == 4


FILE = {"name": "a.png", "size": 1, "changed": 1}
DAMAGES: list[tuple[str, dict[str, Any], torch.Tensor | None]] = [
    (
        "does not lie in the media folder",
        {"files": [FILE | {"name": "../a.png"}] * 4},
        None,
    ),
    (
        "does not lie in the media folder",
        {"files": [FILE | {"name": "/etc/passwd"}] * 4},
        None,
    ),
    (
        "does not lie in the media folder",
        {"files": [FILE | {"name": "a\0b"}] * 4},
        None,
    ),
    ("is not a text", {"files": [FILE | {"name": 5}] * 4}, None),
    ("is not an integer", {"files": [FILE | {"size": 1.5}] * 4}, None),
    ("", {"files": [[]]}, None),
    ("", {"files": {"a": 1}}, None),
    ("'checkpoint' is not a text", {"checkpoint": 5}, None),
    ("is an index of videos", {"kind": "video"}, None),
    ("not the name of a file", {"features": ".."}, None),
    ("not the name of a file", {"features": 5}, None),
    ("must be finite float32", {}, torch.ones(4, 8).half()),
    ("must be finite float32", {}, torch.full((4, 8), torch.nan)),
    ("must be finite float32", {}, torch.ones(4)),
    ("of another width", {}, torch.ones(4, 3)),
]


def test_what_an_index_says_is_judged(world: Path) -> None:
    make(world)
    file = world / "index" / "index.json"
    row = json.loads(file.read_text())
    features = world / "index" / row["features"]
    whole = features.read_bytes()
    for said, change, vectors in DAMAGES:
        file.write_text(json.dumps(row | change))
        features.write_bytes(whole)
        if vectors is not None:
            save_file({"features": vectors}, features)
        with pytest.raises(UserError, match=f"is damaged.*{said}"):
            open_index(world / "index").text("red")
    file.write_text("[" * 100000)
    with pytest.raises(UserError, match="is damaged"):
        open_index(world / "index")


def test_what_is_no_number_is_neither_kept_nor_asked(world: Path) -> None:
    # Finite, but large.
    bad = {
        name: value * 1e36 for name, value in load_file(world / "0.safetensors").items()
    }
    save_file(bad, world / "0.safetensors")
    found = build(
        world / "find.yaml", world / "0.safetensors", world / "media", world / "index"
    )
    assert found.files == 0 and "numbers that are not finite" in found.broken["a.png"]
    with pytest.raises(UserError, match="of the query has NaN or infinite values"):
        open_index(world / "index").text("red")


def test_what_is_no_query_is_refused(world: Path) -> None:
    make(world)
    index = open_index(world / "index")
    for query, said in (
        ("?!", "at least one word"),
        ("caf\udce9", "valid text"),
        (5, "must be a text"),
    ):
        with pytest.raises(UserError, match=said):
            index.text(query)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="top must be at least 1, but is 0"):
        index.text("red", 0)


def test_a_query_longer_than_the_network_reads_is_refused(world: Path) -> None:
    make(world)
    with pytest.raises(
        UserError, match="input 'caption' must be at most 16 tokens long"
    ):
        open_index(world / "index").text("red " * 20)
