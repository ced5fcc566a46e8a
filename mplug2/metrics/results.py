"""Result files that evaluation servers take."""

from __future__ import annotations

import json
from pathlib import Path

from mplug2.data.annotations import fields, read_rows
from mplug2.data.writing import whole
from registry.errors import UserError

_FORM = "a prediction must be a JSON object with 'question_id' and 'prediction'"


def write_answers(predictions: Path, path: Path) -> int:
    """Write ``[{"question_id": int, "answer": str}]``, as VQA's server takes it, from the predictions that
    `mplug2 eval --out` wrote; return how many."""
    found = []
    for where, row in read_rows(predictions, _FORM):
        fields(row, where, _FORM, "question_id", "prediction")
        number = row["question_id"]
        if isinstance(number, bool) or not isinstance(number, int):
            raise UserError(
                f"{where}: a result file needs whole numbers as question ids, but this one is {number!r}"
            )
        if not isinstance(row["prediction"], str):
            raise UserError(
                f"{where}: a result file needs answers in words, but this prediction is {row['prediction']!r}"
            )
        found.append({"question_id": number, "answer": row["prediction"]})
    with whole(path) as file:
        json.dump(found, file, ensure_ascii=False)
    return len(found)
