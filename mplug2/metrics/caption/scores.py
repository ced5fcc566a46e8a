"""All caption metrics at once: tokens once, n-grams once, every score from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mplug2.metrics.caption import java
from mplug2.metrics.caption.bleu import bleu
from mplug2.metrics.caption.cider import CiderD, Frequencies
from mplug2.metrics.caption.ngrams import ngrams
from mplug2.metrics.caption.ptb import tokenize
from mplug2.metrics.caption.rouge import rouge_l

NAMES = (
    "BLEU-1",
    "BLEU-2",
    "BLEU-3",
    "BLEU-4",
    "METEOR",
    "ROUGE-L",
    "CIDEr",
    "CIDEr-D",
    "SPICE",
)
ONE_ITEM = (
    "it is always 0 for one item, whose n-grams all occur in every item: document frequencies of other "
    "captions (--frequencies) are needed"
)


@dataclass(frozen=True)
class Scores:
    """The values by name, None for one that is missing; and by name why it is, or why it means nothing."""

    values: dict[str, float | None]
    reasons: dict[str, str] = field(default_factory=dict)


def caption_scores(
    candidates: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    frequencies: Frequencies | None = None,
    *,
    tokenized: bool = False,
    with_java: bool = True,
) -> Scores:
    """Score one caption an id against all references of that id, as the COCO caption tools do.

    The captions are plain text, or, where ``tokenized``, tokens separated by blanks, which are not changed.
    BLEU, METEOR, ROUGE-L and SPICE go from 0 to 1, CIDEr from 0 to 10. ``CIDEr`` is what the COCO tools call
    so: CIDEr-D with document frequencies from these references. ``CIDEr-D`` is the same unless
    ``frequencies`` gives those of other captions, as self-critical training does. ``with_java`` false leaves
    METEOR and SPICE out.
    """
    # Tokens once for all metrics: tokenizing takes longer than most of them.
    read = str if tokenized else tokenize
    generated, human = {}, {}
    for key, texts in references.items():
        generated[key] = read(candidates[key])
        human[key] = [read(text) for text in texts]
    values: dict[str, float | None] = dict.fromkeys(NAMES)
    values |= java_free(list(generated.values()), list(human.values()), frequencies)
    reasons = {}
    if len(references) == 1:
        names = ("CIDEr", "CIDEr-D") if frequencies is None else ("CIDEr",)
        reasons.update(dict.fromkeys(names, ONE_ITEM))
    for name, compute in (("METEOR", java.meteor), ("SPICE", java.spice)):
        try:
            if not with_java:
                raise java.Unavailable("left out, as asked for")
            values[name] = compute(generated, human)
        except java.Unavailable as reason:
            reasons[name] = str(reason)
    return Scores(values, reasons)


def java_free(
    candidates: Sequence[str],
    references: Sequence[Sequence[str]],
    frequencies: Frequencies | None = None,
) -> dict[str, float]:
    """BLEU, ROUGE-L, CIDEr and CIDEr-D of at least one item; both are PTB tokens with blanks between."""
    grams, reference_grams, rouge_values = [], [], []
    for text, reference_texts in zip(candidates, references, strict=True):
        words = text.split()
        reference_words = [reference.split() for reference in reference_texts]
        grams.append(ngrams(words))
        reference_grams.append([ngrams(reference) for reference in reference_words])
        rouge_values.append(rouge_l(words, reference_words))
    values = {}
    for order, value in enumerate(bleu(grams, reference_grams), start=1):
        values[f"BLEU-{order}"] = value
    values["ROUGE-L"] = _mean(rouge_values)
    values["CIDEr"] = _mean(CiderD.of_grams(reference_grams).score_grams(grams))
    values["CIDEr-D"] = values["CIDEr"]
    if frequencies is not None:
        scorer = CiderD.of_grams(reference_grams, frequencies)
        values["CIDEr-D"] = _mean(scorer.score_grams(grams))
    return values


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
