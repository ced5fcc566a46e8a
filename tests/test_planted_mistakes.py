"""Every mistake that a check must catch, one a file: position and first line of the message.

Each file extends a good one, BASE. `«` marks the place, and is taken out.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mplug2.cli.app import app
from registry import KEY_MAPS
from registry.checks.initial import source_form

BASE = Path(__file__).parent / "planted" / "base.yaml"
WEIGHT_SOURCES = ", ".join(f"'{name}:{source_form(name)}'" for name in KEY_MAPS.names())

MISTAKES = {
    "YAML syntax": (
        "flow: {a: «: b}\n",
        "not valid YAML: expected the node content, but found ':' "
        "(while parsing a flow node, which begins at 2:11)",
    ),
    "line torn by a comma": (
        "flow: {guess: «beam_search(@decoder, memory=memory)}\n",
        "not a call that can be read: '(' was never closed",
    ),
    "duplicate key": (
        "train: {lr: 1e-3}\n«train: {lr: 1e-4}\n",
        "duplicate key 'train' (first at FILE:2:1)",
    ),
    "unknown section": ("«trian: {lr: 1e-3}\n", "unknown section 'trian'"),
    "unknown key": ("train: {«learning: 1e-3}\n", "unknown key of 'train': 'learning'"),
    "unknown module": (
        "modules: {text: {use: «text_encodr, width: 96, depth: 1}}\n",
        "unknown module 'text_encodr'",
    ),
    "unknown argument": (
        "modules: {text: {«dept: 3}}\n",
        "unknown argument of 'text_encoder': 'dept'",
    ),
    "unknown port": (
        "flow:\n  logits: decoder(answer, «memry=evidence)\n",
        "unknown port or option 'memry' of decoder",
    ),
    "unknown stream": ("flow:\n  read: text(«spokn)\n", "unknown stream 'spokn'"),
    "unknown goal": ("eval: {goal: «predit}\n", "unknown goal 'predit'"),
    "unknown metric": ("eval: {metrics: [«acuracy]}\n", "unknown metric 'acuracy'"),
    "unknown loss": (
        "flow:\n  loss: «lm_los(logits, target=answer)\n",
        "unknown module or operation 'lm_los'",
    ),
    "missing argument": (
        "modules:\n  «text: {use: text_encoder, width: 96}\n",
        "module 'text' (text_encoder) must set 'depth', but does not",
    ),
    "missing port": (
        "flow:\n  both: «fusion(text=asked)\ngoals: {embed: {seen: seen}}\n",
        "port 'vision' of fusion must be filled, but is not",
    ),
    "decoder without its memory": (
        "flow:\n  logits: decoder(answer)\n",
        "BASE:27:3: stream 'evidence' is computed and never used",
    ),
    "wrong kind": (
        "flow:\n  patches: vision(«question)\n",
        "wrong kind: port 'video' of vision takes frames B 3 frames size size "
        "| image B 3 size size, but stream 'question' is text Q L",
    ),
    "width mismatch through a chain": (
        "modules: {decoder: {width: 64}}\n",
        "BASE:28:36: width mismatch: port 'memory' of decoder must be width 64 (set at FILE:2:28), "
        "but stream 'evidence' has 96 there (set at BASE:15:35)",
    ),
    "frame mismatch": (
        "inputs: {video: frames V 3 8 H W}\n",
        "BASE:19:20: frames mismatch: port 'video' of vision must be frames 6 (set at BASE:11:81), "
        "but stream 'video' has 8 there (set at FILE:2:17)",
    ),
    "vocabulary mismatch": (
        "modules:\n  other: {use: text_decoder, width: 96, depth: 1, vocab_size: 300, max_positions: 32}\n"
        "momentum: {decay: "
        "0.9}\n"
        "flow:\n  more: other(answer, memory=evidence)\n"
        "  loss: lm_loss(logits, target=answer, teacher=«more, alpha=0.4, weight=answer_weight, "
        "question_index=question_index)\n",
        "vocab mismatch: port 'teacher' of lm_loss must be vocab 256 (set at BASE:16:67), "
        "but stream 'more' has 300 there (set at FILE:3:63)",
    ),
    "cycle": (
        "flow:\n  asked: «universal(again, route='text')\n  again: text(asked)\n"
        "  read: concat(spoken, spoken)\n"
        "goals: {embed: {read: read}}\n",
        "the flow has a cycle: asked <- again <- asked",
    ),
    "stream never used": (
        "flow:\n  «more: text(spoken)\n",
        "stream 'more' is computed and never used",
    ),
    "module never called": (
        "modules:\n  «more: {use: text_encoder, width: 96, depth: 1}\n",
        "module 'more' is built and never called",
    ),
    "input never used": (
        "inputs:\n  «again: text Q L\n",
        "input 'again' is declared and never used",
    ),
    "freeze pattern": (
        "freeze: [text, «tekst]\n",
        "'tekst' matches nothing: there is no module 'tekst'",
    ),
    "freeze pattern inside a module": (
        "freeze: [text, «vision.stam]\n",
        "freeze pattern 'vision.stam' must match a parameter, but matches none",
    ),
    "init pattern": (
        "init: {«tekst: 'bert:x'}\n",
        "init pattern 'tekst' must match a module, but matches none",
    ),
    "init pattern that never counts": (
        "init: {text: 'bert:x', «tex*: 'bert:x'}\n",
        "init pattern 'tex*' gives no module its weights: more exact patterns take them all",
    ),
    "unknown source of weights": (
        "init: {text: «'brt:x'}\n",
        f"init source must be one of {WEIGHT_SOURCES}, but is 'brt:x'",
    ),
    "lr pattern": (
        "train: {lr: {default: 1e-3, «tekst: 1e-4}}\n",
        "'tekst' matches nothing: there is no module 'tekst'",
    ),
    "lr pattern inside a module": (
        "train: {lr: {default: 1e-3, «vision.blok: 1e-4}}\n",
        "lr pattern 'vision.blok' must match a parameter, but matches none",
    ),
    "goal without outputs": (
        "goals:\n  «embed: {}\n",
        "goal 'embed' must have outputs, but has none",
    ),
    "ema without momentum": (
        "flow:\n  loss: lm_loss(logits, target=answer, teacher=«ema(logits), alpha=0.4)\n",
        "ema(logits) needs averaged weights, but there is no section 'momentum'",
    ),
    "tie of different shapes": (
        "tie: {«words.word.weight: decoder.embedding.position.weight}\n",
        "tied weights must have one shape, but words.word.weight is [256, 96] and "
        "decoder.embedding.position.weight is [16, 96]",
    ),
    "tie of nothing": (
        "tie: {words.word.weight: «decoder.word.weight}\n",
        "tie must name two weights, but 'decoder.word.weight' is not a weight",
    ),
    "input that the data lacks": (
        "inputs:\n  «region: regions V N 4\ngoals: {embed: {region: region}}\n",
        "task 'question_answer' (set at BASE:36:14) supplies no 'region'",
    ),
    "metric that does not fit": (
        "goals: {predict: {answer: logits, guess: guess}}\neval: {metrics: [«accuracy]}\n",
        "metric 'accuracy' measures 'answer' as sequences, but stream 'logits' (goal 'predict') "
        "is logits A La 256",
    ),
    "module raises": (
        "modules: {«vision: {patch: 15}}\n",
        "vision: size must be a multiple of patch, but size is 48 and patch is 15",
    ),
}


def first_line(file: Path) -> str:
    done = CliRunner().invoke(app, ["check", str(file)])
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
    assert done.output.splitlines()[-1] == f"{file}: 1 mistake", done.output
    # what the spec names and this folder lacks is a note, before the mistakes
    mistakes = [
        line for line in done.output.splitlines() if not line.startswith("note: ")
    ]
    return mistakes[0]


@pytest.mark.parametrize("name", MISTAKES)
def test_planted(name: str, tmp_path: Path) -> None:
    body, message = MISTAKES[name]
    text, file = f"extends: {BASE}\n{body}", tmp_path / "mine.yaml"
    before = text[: text.find("«")]
    file.write_text(text.replace("«", ""))
    if "«" in text:
        message = f"FILE:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}: {message}"
    line = first_line(file).replace(str(file), "FILE").replace(str(BASE), "BASE")
    # a place in the same file is named without its folder
    assert (
        line.replace("at mine.yaml:", "at FILE:").replace("at base.yaml:", "at BASE:")
        == message
    )


@pytest.mark.parametrize(
    ("init", "column", "missing"),
    [
        ("{text: 'checkpoint:no/weights.safetensors'}", 14, "no/weights.safetensors"),
        ("{vision: 'clip:ViT-L-14.pt'}", 16, "ViT-L-14.pt"),
    ],
)
def test_a_missing_file_of_weights_is_a_note_and_a_mistake_of_a_run(
    init: str,
    column: int,
    missing: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # where the file is missing
    file = tmp_path / "mine.yaml"
    file.write_text(f"extends: {BASE}\ninit: {init}\n")
    message = (
        f"{file}:2:{column}: init must name what exists, but there is no '{missing}'"
    )
    alone = CliRunner().invoke(app, ["check", str(file)])
    assert alone.exit_code == 0, alone.output
    assert f"note: {message} (not checked)" in alone.output.splitlines()
    run = CliRunner().invoke(app, ["check", "--run", str(file)])
    assert run.exit_code == 2, run.output
    assert message in run.output.splitlines()


def test_a_missing_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"extends: [{BASE}, {BASE.parent}/bass.yaml]\n")
    line = first_line(file)
    assert line == (
        f"{file}:1:{len(str(BASE)) + 13}: no such file: {BASE.parent}/bass.yaml"
    )


def test_an_extends_loop(tmp_path: Path) -> None:
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    one.write_text("extends: other.yaml\n")
    other.write_text("train: {lr: 1e-3}\nextends: one.yaml\n")
    assert (
        first_line(one)
        == f"{other}:2:10: `extends` has a cycle: {one} -> {other} -> {one}"
    )


def test_an_override_is_a_place() -> None:
    done = CliRunner().invoke(
        app, ["check", str(BASE), "inputs.video=frames V 3 9 H W"]
    )
    assert done.exit_code == 2
    assert (
        "set at command line: inputs.video=frames V 3 9 H W"
        in done.output.splitlines()[0]
    )
