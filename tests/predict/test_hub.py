"""`mplug2 push` and `mplug2.load("hf://...")` against a local server with the hub's HTTP API."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
from askable import everything
from fake_hub import FakeHub, fake_hub
from typer.testing import CliRunner

import mplug2
from mplug2.cli.app import app
from mplug2.predict.hub import parse_name
from mplug2.predict.result import Result
from mplug2.runtime.manifest import file_entry
from registry import SpecError, UserError, read_spec

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "sharing.md").read_text("utf-8")
NAME = "someone/shapes-entailment"
# huggingface_hub uploads by an argument that its HTTP library has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a finished run."""
    with everything(tmp_path_factory.mktemp("pushed")) as folder:
        data = ["data.train={path: /secret/place/train.jsonl, media: .}"]
        checkpoint = folder / "runs" / "entailment" / "best"
        read_spec(folder / "entailment.yaml", data).write(checkpoint / "spec.yaml")
        state = {
            "step": 6,
            "loaders": {},
            "agree": {},
            "metrics": {"label_accuracy": 0.75},
        }
        (checkpoint / "state.json").write_text(json.dumps(state))
        yield folder


@pytest.fixture(scope="module")
def pushed(made: Path) -> Iterator[FakeHub]:
    """A hub with the network of that run, pushed by the command."""
    with fake_hub() as hub, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", hub.endpoint)
        patch.setenv("HF_TOKEN", "hf_of_a_test")
        # A server without Xet storage: users set HF_HUB_DISABLE_XET=1.
        patch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        run = str(made / "runs" / "entailment")
        done = CliRunner().invoke(app, ["push", run, NAME, "--private"])
        assert done.exit_code == 0, done.output
        assert done.stdout == (
            f'{hub.endpoint}/{NAME}: uploaded. Use it: mplug2.load("hf://{NAME}")\n'
        )
        yield hub


@pytest.fixture
def hub(
    pushed: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FakeHub]:
    """The hub, with an empty cache on this side; what a test changes there is undone."""
    monkeypatch.setattr(
        huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache")
    )
    files = dict(pushed.repositories[NAME])
    yield pushed
    pushed.repositories[NAME] = files
    pushed.truncated.clear()
    pushed.sizes.clear()


def replace(hub: FakeHub, tmp_path: Path, name: str, content: bytes) -> None:
    """Replace a file of the repository together with its entry in the manifest, as an attacker can."""
    files = hub.repositories[NAME]
    files[name] = content
    manifest = json.loads(files["manifest.json"])
    (tmp_path / "file").write_bytes(content)
    manifest["files"][name] = file_entry(tmp_path / "file")
    files["manifest.json"] = json.dumps(manifest).encode()


def test_what_was_pushed_answers_as_the_run_does(made: Path, hub: FakeHub) -> None:
    assert sorted(hub.repositories[NAME]) == [
        "README.md",
        "manifest.json",
        "spec.yaml",
        "vocab.txt",
        "vocabularies.json",
        "weights.safetensors",
    ]
    assert hub.private[NAME]
    net = mplug2.load(f"hf://{NAME}", top=3)
    found = net(made / "still0.png", question="it is red")
    expected = mplug2.load(made / "runs" / "entailment", top=3)(
        made / "still0.png", question="it is red"
    )
    assert isinstance(found, Result)
    assert isinstance(expected, Result)
    assert found.guesses == expected.guesses


def test_the_second_time_files_come_from_the_cache_of_the_same_commit(
    hub: FakeHub,
) -> None:
    first = mplug2.load(f"hf://{NAME}")
    hub.requests.clear()
    second = mplug2.load(f"hf://{NAME}@main")
    assert second.checkpoint == first.checkpoint
    assert first.checkpoint.name == hub.commit(NAME)
    assert {line.rsplit("/", 1)[1] for line in hub.requests} == {"manifest.json"}


def test_the_card_tells_use_data_and_results_and_no_folder_of_the_machine(
    made: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = hub.repositories[NAME]["README.md"].decode()
    assert card.startswith(
        "---\nlibrary_name: mplug2\ntags: [mplug2, text_label]\n---\n"
    )
    assert "reads an image and a text (`sentence`) and gives a class" in card
    assert "| data | text_label | train | `train.jsonl` |" in card
    assert "| label_accuracy | 0.7500 | one run: no interval |" in card
    everything_shared = b"".join(hub.repositories[NAME].values())
    assert b"/secret" not in everything_shared
    assert str(made).encode() not in everything_shared
    (usage,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    (made / "photo.jpg").write_bytes((made / "still0.png").read_bytes())
    monkeypatch.chdir(made)
    scope: dict[str, object] = {}
    exec(usage.replace("your text", "it is red"), scope)
    assert isinstance(scope["result"], Result)


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "sub/vocab.txt",
        ".bashrc",
        "run.py",
        "weights.bin",
        "a\\b.txt",
        "vocab.txt\n.json",
    ],
)
def test_hostile_file_names_are_refused_before_they_are_requested(
    hub: FakeHub, tmp_path: Path, name: str
) -> None:
    replace(hub, tmp_path, name, b"x")
    hub.requests.clear()
    with pytest.raises(UserError, match="must list plain file names"):
        mplug2.load(f"hf://{NAME}")
    assert {line.rsplit("/", 1)[1] for line in hub.requests} == {"manifest.json"}


def test_half_a_download_is_refused_and_the_next_one_is_complete(hub: FakeHub) -> None:
    hub.truncated.add("vocab.txt")
    with pytest.raises(UserError, match="the hub cannot be used"):
        mplug2.load(f"hf://{NAME}")
    hub.truncated.clear()
    assert mplug2.load(f"hf://{NAME}").net.spec.name == "spec"


def test_a_file_of_another_size_or_content_is_refused(hub: FakeHub) -> None:
    files = hub.repositories[NAME]
    weights = files["weights.safetensors"]
    files["weights.safetensors"] = weights + b"0"
    with pytest.raises(
        UserError, match=r"must have \d+ bytes by its manifest, but has"
    ):
        mplug2.load(f"hf://{NAME}")
    files["weights.safetensors"] = weights[:-1] + bytes([weights[-1] ^ 1])
    with pytest.raises(UserError, match="its SHA-256 is not that of manifest.json"):
        mplug2.load(f"hf://{NAME}")


@pytest.mark.parametrize("name", ["spec.yaml", "vocab.txt", "manifest.json"])
def test_files_larger_than_they_may_be_are_not_requested(
    hub: FakeHub, tmp_path: Path, name: str
) -> None:
    if name == "manifest.json":
        hub.sizes[name] = 2 << 20
    else:
        manifest = json.loads(hub.repositories[NAME]["manifest.json"])
        manifest["files"][name]["bytes"] = hub.sizes[name] = 65 << 20
        hub.repositories[NAME]["manifest.json"] = json.dumps(manifest).encode()
    hub.requests.clear()
    with pytest.raises(UserError, match="must have at most"):
        mplug2.load(f"hf://{NAME}")
    downloaded = [line for line in hub.requests if line.startswith("GET")]
    assert not any(line.endswith(name) for line in downloaded)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "tokenizer: vocab.txt",
            "tokenizer: /etc/passwd",
            "must name a file of its folder",
        ),
        (
            "tokenizer: vocab.txt",
            "tokenizer: ../vocab.txt",
            "must name a file of its folder",
        ),
        (
            "tokenizer: vocab.txt",
            "tokenizer: bert-base-uncased",
            "a file of its folder",
        ),
        ("data:\n", "data:\n  prompt: /etc/passwd\n", "file outside of its folder"),
        ("data:\n", "data:\n  prompt: a/../../x\n", "file outside of its folder"),
        ("data:\n", "data:\n  train: {path: x.jsonl}\n", "must not name data"),
        ("data:\n", "data:\n  media: x\n", "must not set data.media"),
        (
            "data:\n",
            "init: {'*': 'bert:x'}\ndata:\n",
            "must not have the section 'init'",
        ),
        ("inputs:\n", "extends: x.yaml\ninputs:\n", "cannot extend a file"),
        (
            "data:\n",
            "train: {optimizer: 'subprocess:Popen'}\ndata:\n",
            "must not set train.optimizer",
        ),
    ],
)
def test_a_spec_stays_inside_its_folder(
    hub: FakeHub, tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = hub.repositories[NAME]["spec.yaml"].decode()
    if "optimizer" in new:
        text = re.sub(r"^train:\n(  .*\n)+", "", text, flags=re.MULTILINE)
    assert old in text
    replace(hub, tmp_path, "spec.yaml", text.replace(old, new).encode())
    with pytest.raises(SpecError, match=message):
        mplug2.load(f"hf://{NAME}")


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"[]",
        b"[" * 200_000,
        b'{"version": 1, "files": {"spec.yaml": "sha256"}}',
        b'{"version": 1, "files": {"spec.yaml": {"sha256": 1, "bytes": -1}}}',
        b'{"version": 1, "files": {}}',
        b'{"version": 9, "files": {}}',
    ],
)
def test_any_other_manifest_is_a_mistake(hub: FakeHub, manifest: bytes) -> None:
    hub.repositories[NAME]["manifest.json"] = manifest
    with pytest.raises(UserError, match=r"manifest.json(:| must)"):
        mplug2.load(f"hf://{NAME}")


def test_a_repository_without_a_shared_network_is_said(hub: FakeHub) -> None:
    with pytest.raises(UserError, match="hf://someone/nothing: the hub cannot be used"):
        mplug2.load("hf://someone/nothing")
    del hub.repositories[NAME]["manifest.json"]
    with pytest.raises(UserError, match="the hub cannot be used .*Entry"):
        mplug2.load(f"hf://{NAME}")


@pytest.mark.parametrize(
    "name",
    ["hf://x", "hf://../x", "hf://a/b/c", "hf://a/b@../c", "hf://a/b@", "hf:///etc/x"],
)
def test_names_of_the_hub_are_judged(name: str) -> None:
    with pytest.raises(UserError, match="must be hf://owner/name"):
        parse_name(name)


def test_the_commands_of_the_page_run(
    made: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`my-name/my-qa` of the page is pushed from the run of this test."""
    monkeypatch.chdir(made)
    (made / "clip.mp4").write_bytes((made / "still0.png").read_bytes())
    lines = re.findall(r"^mplug2 (push .*)$", PAGE, flags=re.MULTILINE)
    assert len(lines) == 1
    words = lines[0].replace("runs/my_qa", "runs/entailment").split()
    assert CliRunner().invoke(app, words).exit_code == 0
    examples = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        revision = hub.commit("my-name/my-qa")
        exec(example.replace("0a1b2c3", revision), {})


def test_a_server_that_is_not_there_is_a_sentence(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="the hub cannot be used .*HF_ENDPOINT"):
        mplug2.load(f"hf://{NAME}")
