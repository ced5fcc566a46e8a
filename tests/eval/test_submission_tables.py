"""`mplug2 eval --submission` for texts: the tables that GLUE's server takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from small_specs import ROOT
from typer.testing import CliRunner

import mplug2
from mplug2.cli.app import app
from mplug2.data.shapes.questions import vocabulary
from mplug2.eval.results import TableResults
from mplug2.weights.store import save_weights


def written(folder: Path, predictions: list[Any], results: TableResults) -> str:
    rows = [
        {"question_id": 7 + number, "prediction": value}
        for number, value in enumerate(predictions)
    ]
    (folder / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert results.write(folder / "p.jsonl", folder / "r.tsv") == len(rows)
    return (folder / "r.tsv").read_text()


def test_classes_are_written_by_their_values_in_the_data(tmp_path: Path) -> None:
    table = written(tmp_path, ["bad", "good"], TableResults({"bad": "0", "good": "1"}))
    assert table == "index\tprediction\n7\t0\n8\t1\n"
    assert (
        written(tmp_path, ["entailment"], TableResults({}))
        == "index\tprediction\n7\tentailment\n"
    )


def test_numbers_are_cut_to_their_range(tmp_path: Path) -> None:
    table = written(tmp_path, [-1.0, 2.34567, 7], TableResults({}, [0.0, 5.0]))
    assert table == "index\tprediction\n7\t0.000\n8\t2.346\n9\t5.000\n"
    assert written(tmp_path, [7.0], TableResults({})) == "index\tprediction\n7\t7.000\n"


def test_a_test_set_becomes_a_submission(tmp_path: Path) -> None:
    words = vocabulary()
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    (tmp_path / "test.tsv").write_text("index\tsentence\n12\ta circle\n3\ta red ring\n")
    spec = ROOT / "configs_text/cola_tiny.yaml"
    settings = [
        f"data.tokenizer={tmp_path}/vocab.txt",
        f"data.test.path={tmp_path}/test.tsv",
    ]
    settings += [f"modules.text_embedding.vocab_size={len(words)}", "data.workers=0"]
    torch.manual_seed(0)
    save_weights(
        mplug2.compose(mplug2.read_spec(spec, settings)),
        tmp_path / "weights.safetensors",
    )
    out = tmp_path / "CoLA.tsv"
    options = ["-c", str(tmp_path), "--split", "test", "--submission", str(out)]
    done = CliRunner().invoke(app, ["eval", str(spec), *settings, *options])
    assert done.exit_code == 0, done.output
    assert f"results: 2 predictions in {out}" in done.output
    header, *lines = out.read_text().splitlines()
    assert header == "index\tprediction"
    assert [line.split("\t")[0] for line in lines] == ["3", "12"]
    assert {line.split("\t")[1] for line in lines} <= {"0", "1"}
