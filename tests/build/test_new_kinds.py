"""A kind of another package, masks and real-valued targets go through every command that reads a spec."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import Bool, Float
from kind_contract import CHECKS
from torch import Tensor
from torch.nn import functional as F
from typer.testing import CliRunner

import mplug2
from modules.streams import Tokens
from mplug2.build.dry_run import dry_run
from mplug2.build.eject import eject
from mplug2.build.smoke import smoke, tiny_batch
from mplug2.cli.app import app
from mplug2.network import Network
from registry import KINDS, OPERATIONS, Spec, SpecError, check, operation, parse_spec

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "extending" / "kind.md").read_text(encoding="utf-8")
SPEC = """
inputs: {sound: audio B S}
modules: {head: {use: class_head, width: 1, classes: 2, pool: mean}}
flow:
  heard: hear(sound)
  said: head(heard)
goals: {predict: {logits: said, sound: sound}}
"""


def blocks(language: str) -> list[str]:
    """Return the blocks of the page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


@operation(inputs={"sound": "audio B S"}, outputs="tokens B S 1")
def hear(sound: Any) -> Tokens:
    """Return the samples as hidden states of width 1."""
    positions = torch.arange(sound.samples.shape[1], device=sound.samples.device)
    return Tokens(sound.samples[..., None], positions < sound.lengths[:, None])


@pytest.fixture
def waves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package of the page, installed in a folder, with an operation that reads its kind."""
    for source in blocks("python"):
        file = tmp_path / source.splitlines()[0].removeprefix("# ")
        file.parent.mkdir(exist_ok=True)
        file.write_text(source)
    (entry_points,) = blocks("toml")
    info = tmp_path / "waves-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: waves\nVersion: 1.0\n")
    lines = entry_points.replace(
        'project.entry-points."mplug2.kinds"', "mplug2.kinds"
    ).replace('"', "")
    (info / "entry_points.txt").write_text(lines)
    for table in (KINDS, OPERATIONS):
        monkeypatch.setattr(table, "_entries", dict(table._entries))
    monkeypatch.setattr(KINDS, "_searched", False)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "waves"]:
        monkeypatch.delitem(sys.modules, name)
    OPERATIONS.register("hear")(hear)
    return tmp_path


def ejected(spec: Spec) -> Any:
    """Return the network of a spec, from its ejected source."""
    namespace: dict[str, Any] = {}
    exec(compile(eject(spec), "net.py", "exec"), namespace)
    return namespace["Spec"]()


def test_the_page_is_short() -> None:
    assert len(PAGE.splitlines()) <= 40
    assert sum(len(block.splitlines()) for block in blocks("python")) <= 30


@pytest.mark.usefixtures("waves")
def test_the_kind_of_the_page_keeps_the_contract() -> None:
    for contract in CHECKS:
        contract("audio")
    values = importlib.import_module("waves.values")
    short, long = (
        values.Audio(torch.ones(1, size), torch.tensor([size])) for size in (2, 3)
    )
    joined = values.AudioValues().concat([short, long])
    assert joined.samples.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert joined.lengths.tolist() == [2, 3]


@pytest.mark.usefixtures("waves")
def test_a_spec_over_the_kind_of_the_page_runs() -> None:
    spec = parse_spec(SPEC)
    report = check(spec)
    assert report.good
    assert str(report.types["sound"]) == "audio B S"
    assert "waves.values" not in sys.modules  # stages 1 to 3 need no torch half
    streams = {row.name: row.shape for row in dry_run(spec).streams}
    assert streams["sound"] == "audio B S"
    assert smoke(spec) == ""

    torch.manual_seed(0)
    net = mplug2.compose(spec).eval()
    batch = net.move(tiny_batch(net, "predict"))
    outputs = net(batch, "predict")
    assert outputs["logits"].shape == (2, 2)
    plain = ejected(spec).eval()
    plain.load_state_dict(net.state_dict())
    for one in (net, plain):
        result = one.bfloat16()(batch, "predict")
        assert result["sound"].samples.dtype == torch.bfloat16
        assert result["sound"].lengths.dtype == torch.long
        assert result["logits"].dtype == torch.bfloat16


def test_the_commands_know_the_kind_of_the_page(waves: Path) -> None:
    spec, picture = waves / "sound.yaml", waves / "sound.svg"
    spec.write_text(SPEC)
    runs = [
        (["list", "aud*"], "Waveforms and their lengths: audio B S."),
        (["check", str(spec), "--smoke"], "no mistakes (stages 1-5"),
        (["show", str(spec)], "audio B S"),
        (["draw", str(spec), "-o", str(picture)], ""),
        (["eject", str(spec), "-o", str(waves / "net.py")], ""),
    ]
    for words, expected in runs:
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        assert expected in done.output
    assert "audio B S" in picture.read_text()
    assert "from waves.values import AudioValues" in (waves / "net.py").read_text()


@operation(
    inputs={"logits": "logits B 1", "target": "scores B", "counts": "mask B"},
    outputs="scalar",
)
def masked_error(
    logits: Float[Tensor, "b 1"],
    target: Float[Tensor, " b"],
    counts: Bool[Tensor, " b"],
) -> Float[Tensor, ""]:
    """Return the mean squared error over the rows that count, in float32."""
    errors = F.mse_loss(logits[:, 0].float(), target, reduction="none")
    return errors[counts].mean() if not counts.is_meta else errors.mean()


REGRESSION = """
inputs: {sentence: text B L, score: scores B, counts: mask B}
modules:
  words: {use: text_embedding, width: 16, vocab_size: 20, max_positions: 32}
  head: {use: class_head, width: 16, classes: 1, pool: mean}
flow:
  read: words(sentence)
  guess: head(read)
  loss: masked_error(guess, target=score, counts=counts)
goals: {train: {loss: loss}, predict: {guess: guess, score: score, counts: counts}}
"""


@pytest.fixture
def regression(monkeypatch: pytest.MonkeyPatch) -> Spec:
    """A spec with a real-valued target and a mask."""
    monkeypatch.setattr(OPERATIONS, "_entries", dict(OPERATIONS._entries))
    OPERATIONS.register("masked_error")(masked_error)
    return parse_spec(REGRESSION)


def test_a_regression_is_checked_and_learns(regression: Spec) -> None:
    dry_run(regression)
    assert smoke(regression) == ""
    torch.manual_seed(0)
    net = mplug2.compose(regression).train()
    batch = tiny_batch(net, "train")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = net(batch, "train")["loss"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_real_valued_target_keeps_full_precision(
    regression: Spec, dtype: torch.dtype
) -> None:
    net = mplug2.compose(regression).to(dtype).train()
    batch = tiny_batch(net, "train")
    batch["score"] = batch["score"].double()  # as numpy makes it
    plain = ejected(regression).to(dtype).train()
    for one in (net, plain):
        outputs = one(batch | {}, "predict")
        assert outputs["score"].dtype == torch.promote_types(dtype, torch.float32)
        assert outputs["counts"].dtype == torch.bool
        assert outputs["guess"].dtype == dtype


def test_what_comes_out_must_be_of_the_kind_also_for_masks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @operation(inputs={"text": "text B L"}, outputs="mask B L")
    def short_mask(text: Any) -> Tensor:
        """Return a mask of one row."""
        return text.mask[0]

    monkeypatch.setattr(OPERATIONS, "_entries", dict(OPERATIONS._entries))
    OPERATIONS.register("short_mask")(short_mask)
    spec = parse_spec(
        "inputs: {q: text B L}\nflow: {m: short_mask(q)}\ngoals: {out: {m: m}}\n"
    )
    with pytest.raises(
        SpecError, match=r"'m' is declared as mask B L, but comes out as \[16\]"
    ):
        dry_run(spec)


def test_streams_that_are_no_inputs_move_with_the_batch(regression: Spec) -> None:
    net: Network = mplug2.compose(regression)
    batch = tiny_batch(net, "train") | {"read": Tokens(torch.ones(2, 3, 16))}
    moved = net.to("meta").move(batch)
    assert moved["read"].values.is_meta and moved["sentence"].ids.is_meta
