"""Measures of classes other than accuracy: F1 and Matthews' correlation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from mplug2.metrics.metric import Row, metric
from registry.errors import UserError

NO_CLASS = ""  # what an undecodable file counts as: no class has this name


def class_pairs(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Return the true and the predicted class of each row with an answer; `bad` rows predict no class."""
    pairs = []
    for row in rows:
        if row["answers"]:
            prediction = NO_CLASS if row.get("bad") else row["prediction"]
            pairs.append((row["answers"][0], prediction))
    return pairs


def f1_of(pairs: Sequence[tuple[str, str]], name: str) -> float:
    """Return ``2 tp / (2 tp + fp + fn)`` of one class; 0 if it is neither true nor predicted anywhere."""
    hits = num_true = num_predicted = 0
    for true, predicted in pairs:
        hits += true == name and predicted == name
        num_true += true == name
        num_predicted += predicted == name
    # 2 tp + fp + fn: a hit is among the true and among the predicted rows.
    total = num_true + num_predicted
    return 2 * hits / total if total else 0.0


@metric(
    inputs={"label": "logits B classes"},
    outputs={"label_f1": "scalar"},
    needs=["classes"],
)
def label_f1(rows: Sequence[Row]) -> dict[str, float]:
    """F1 of the second of two classes, as GLUE measures MRPC and QQP (the class of the value 1).

    NaN if no row has an answer. UserError if there are not two classes: `label_macro_f1` takes any number.
    """
    pairs = class_pairs(rows)
    if not pairs:
        return {"label_f1": math.nan}
    classes = rows[0].get("classes", ())
    if len(classes) != 2:
        raise UserError(
            f"label_f1 needs two classes (got {len(classes)}). Use label_macro_f1"
        )
    return {"label_f1": f1_of(pairs, classes[1])}


@metric(inputs={"label": "logits B classes"}, outputs={"label_macro_f1": "scalar"})
def label_macro_f1(rows: Sequence[Row]) -> dict[str, float]:
    """The mean F1 of all classes that are true or predicted somewhere; NaN if no row has an answer."""
    pairs = class_pairs(rows)
    names: set[str] = set()
    for pair in pairs:
        names.update(pair)
    # An undecodable file is a wrong prediction, but not one more class.
    names.discard(NO_CLASS)
    if not names:
        return {"label_macro_f1": math.nan}
    # An exact sum: its value does not depend on the order of the set.
    total = math.fsum(f1_of(pairs, name) for name in names)
    return {"label_macro_f1": total / len(names)}


@metric(inputs={"label": "logits B classes"}, outputs={"matthews": "scalar"})
def matthews(rows: Sequence[Row]) -> dict[str, float]:
    """Matthews' correlation of true and predicted classes, any number of them (Gorodkin 2004, as R_K).

    0 if all rows have one true class, or one predicted class. NaN if no row has an answer.
    """
    pairs = class_pairs(rows)
    if not pairs:
        return {"matthews": math.nan}
    true: Counter[str] = Counter()
    predicted: Counter[str] = Counter()
    hits = 0
    for true_name, predicted_name in pairs:
        true[true_name] += 1
        predicted[predicted_name] += 1
        hits += true_name == predicted_name
    num_rows = len(pairs)
    # What chance would hit, times the number of rows.
    common = sum(true[name] * predicted[name] for name in true)
    spread_true = num_rows**2 - sum(count**2 for count in true.values())
    spread_predicted = num_rows**2 - sum(count**2 for count in predicted.values())
    if not spread_true or not spread_predicted:
        return {"matthews": 0.0}
    covariance = hits * num_rows - common
    return {"matthews": covariance / math.sqrt(spread_true * spread_predicted)}
