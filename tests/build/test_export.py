"""Exported networks: the same outputs on other sizes, and files that load without mplug2."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_specs import ROOT, small
from typer.testing import CliRunner

import mplug2
from modules.search.beam import greedy_search
from mplug2.build import export as exporting
from mplug2.build.export import export, load_part
from mplug2.build.export_parts import Part, parts_of
from mplug2.cli.app import app
from mplug2.network import Network
from mplug2.weights.store import save_weights
from registry import UserError

CAPTION = ROOT / "configs_video" / "VideoCaption_shapes_tiny.yaml"
RETRIEVAL = ROOT / "configs_image" / "retrieval_shapes_tiny.yaml"
PAGE = (ROOT / "docs" / "export.md").read_text("utf-8")
ONNX = ("onnx", "onnxscript", "onnxruntime")
Run = Callable[..., list[torch.Tensor]]


@pytest.fixture(scope="module")
def writer() -> Network:
    torch.manual_seed(0)
    return mplug2.compose(small(CAPTION), initial=False).eval()


@pytest.fixture(scope="module")
def searcher() -> Network:
    torch.manual_seed(0)
    return mplug2.compose(small(RETRIEVAL), initial=False).eval()


def written_by(encode: Run, step: Run, video: torch.Tensor, words: int) -> torch.Tensor:
    """Write ``words`` words greedily, with nothing but two functions of tensors."""
    memory = encode(video)
    layers, rows, heads, _, size = memory[0].shape
    keys = values = torch.zeros(layers, rows, heads, 0, size)
    ids = torch.full((rows,), 101)
    texts = [ids]
    for _ in range(words):
        logits, keys, values = step(ids, *memory, keys, values)
        ids = logits.argmax(dim=-1)
        texts.append(ids)
    return torch.stack(texts, dim=1)


@torch.no_grad()
def assert_it_writes_as_the_network(net: Network, encode: Run, step: Run) -> None:
    video = torch.randn(3, 3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    memory = net({"video": video}, ("vision_hidden",))["vision_hidden"]
    decoder = net.get_module("decoder")
    expected = greedy_search(decoder, memory=memory, min_length=5, max_length=5)
    found = written_by(encode, step, video, 5)
    assert found.shape == (3, 6)
    for row, text in zip(found.tolist(), expected.ids[:, 0].tolist(), strict=True):
        # The search ends a text at the word that ends it.
        kept = [word for word in text if word]
        assert row[: len(kept)] == kept


def test_the_parts_of_a_writer_are_its_encoder_and_a_step(writer: Network) -> None:
    encoder, step = parts_of(writer)
    assert [part.name for part in (encoder, step)] == ["encoder", "decoder_step"]
    assert [port.name for port in encoder.inputs] == ["video"]
    assert_it_writes_as_the_network(writer, encoder.module, step.module)


@torch.no_grad()
def test_the_parts_of_a_searcher_are_its_two_sides(searcher: Network) -> None:
    vision, text = parts_of(searcher)
    assert [port.name for port in text.inputs] == ["caption", "caption_mask"]
    for part in (vision, text):
        outputs = part.module(*part.examples())
        assert len(outputs) == len(part.outputs)
        assert outputs[part.outputs.index(part.outputs[0])].shape[0] == 2


def test_weights_are_safetensors_with_a_description(
    searcher: Network, tmp_path: Path
) -> None:
    export(searcher, "safetensors", tmp_path / "out")
    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert names == ["export.json", "weights.safetensors"]
    described = json.loads((tmp_path / "out" / "export.json").read_text())
    image = {"name": "image", "dtype": "float32", "axes": ["B", 3, 16, 16]}
    assert described["parts"]["embed_vision"]["inputs"] == [image]
    with pytest.raises(UserError, match="--out must be a new or empty folder"):
        export(searcher, "safetensors", tmp_path / "out")


def test_outputs_that_differ_are_refused(writer: Network, tmp_path: Path) -> None:
    _, step = parts_of(writer)
    with torch.no_grad():
        exporting._compare(step, lambda tensors: list(step.module(*tensors)), tmp_path)
    with pytest.raises(UserError, match=r"logits must equal that of mplug2 to 0.0001"):
        exporting._compare(step, lambda tensors: shifted(step, tensors), tmp_path)


def shifted(part: Part, tensors: object) -> list[torch.Tensor]:
    with torch.no_grad():
        return [output + 0.001 for output in part.module(*tensors)]  # type: ignore[misc]


def test_without_the_packages_onnx_is_a_sentence(
    searcher: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r"onnx is missing.*mplug2\[export\]"):
        export(searcher, "onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def page_lines(net: Network, name: str) -> list[str]:
    """Return the lines of docs/export.md with the spec ``name``, which is written into the present folder."""
    net.spec.write(f"{name}.yaml")
    save_weights(net, Path("weights.safetensors"))
    lines = re.findall(r"^mplug2 (export my.*)$", PAGE, flags=re.MULTILINE)
    assert len(lines) == 3
    return [line.replace("my_captions", name) for line in lines]


def test_the_page_writes_weights(
    writer: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (line,) = (line for line in page_lines(writer, "w") if "--to safetensors" in line)
    done = CliRunner().invoke(app, line.split())
    assert done.exit_code == 0, done.output
    assert "exported_weights: encoder, decoder_step of w" in done.output
    assert (tmp_path / "exported_weights" / "weights.safetensors").is_file()


ALONE = """
import sys
class Blocked:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("mplug2", "modules", "registry"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
from pathlib import Path
import torch
path = sys.argv[1]
if path.endswith(".pt2"):
    inputs = torch.load(sys.argv[2], weights_only=True)
    found = torch.export.load(path).module()(*inputs)
else:
    import onnxruntime
    inputs = torch.load(sys.argv[2], weights_only=True)
    session = onnxruntime.InferenceSession(path)
    names = [each.name for each in session.get_inputs()]
    arrays = {name: tensor.numpy() for name, tensor in zip(names, inputs)}
    found = [torch.from_numpy(array) for array in session.run(None, arrays)]
torch.save(list(found), sys.argv[3])
assert not {"mplug2", "modules", "registry"} & set(sys.modules)
"""


@torch.no_grad()
def assert_it_loads_alone(part: Part, file: Path, folder: Path) -> None:
    example = part.examples(more=2, seed=5)
    torch.save(list(example), folder / "inputs.pt")
    files = [str(file), str(folder / "inputs.pt"), str(folder / "found.pt")]
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *files],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = part.module(*example)
    found = torch.load(folder / "found.pt", weights_only=True)
    for ours, theirs in zip(expected, found, strict=True):
        torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=0)


@pytest.mark.slow  # 30 s of processor time for each
@pytest.mark.parametrize("name", ["writer", "searcher"])
@pytest.mark.parametrize("target", ["torch-export", "onnx"])
def test_exported_files_agree_on_20_inputs_and_load_alone(
    request: pytest.FixtureRequest,
    target: exporting.Target,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if target == "onnx":
        for package in ONNX:
            pytest.importorskip(package, reason="an extra: mplug2[export]")
    net: Network = request.getfixturevalue(name)
    monkeypatch.chdir(tmp_path)
    (line,) = (line for line in page_lines(net, name) if f"--to {target} " in line)
    # In another process: the checks of shapes in tests do not know the symbols of torch.export.
    command = [sys.executable, "-m", "mplug2", *line.split()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert ", equal to mplug2" in done.stdout
    parts = parts_of(net)
    folder = tmp_path / ("exported_onnx" if target == "onnx" else "exported_torch")
    files = [folder / f"{part.name}{exporting.SUFFIXES[target]}" for part in parts]
    runs = [load_part(file) for file in files]
    for part, run in zip(parts, runs, strict=True):
        for number in range(20):
            # Other numbers of rows, and texts of other lengths.
            example = part.examples(more=number % 4, seed=number)
            with torch.no_grad():
                expected = part.module(*example)
            for ours, theirs in zip(expected, run(example), strict=True):
                torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=0)
    assert_it_loads_alone(parts[0], files[0], tmp_path)
    if name == "writer":
        encode, step = runs
        assert_it_writes_as_the_network(
            net, lambda *tensors: encode(tensors), lambda *tensors: step(tensors)
        )
        if target == "onnx":
            (example_of_page,) = re.findall(
                r"```python\n(.*?)```", PAGE, flags=re.DOTALL
            )
            exec(example_of_page, {})
            assert len(json.loads(capsys.readouterr().out)) == 5
