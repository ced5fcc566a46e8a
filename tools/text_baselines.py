"""Perplexities of counted n-grams on the texts of a language modelling spec, to compare networks with.

python tools/text_baselines.py configs_text/clm_bytes_tiny.yaml --order 3 data.text_file=FILE

Counts the tokens of the training split, and measures those of the split that the spec evaluates: every token
but the first of each text ([CLS]). Interpolated Kneser-Ney smoothing (Chen and Goodman 1998, section 2.7).
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mplug2.data.build import build_source
from registry import Spec, UserError, check, read_spec
from registry.sources import SHORT_SOURCE

Context = tuple[int, ...]


class KneserNey:
    """Probabilities of the next token after up to ``order - 1`` tokens, from the counts of texts.

    The longest contexts count tokens; shorter ones count how many different tokens came before. What the
    shortest one discounts is divided equally among all ``vocab_size`` tokens.
    """

    def __init__(
        self, texts: Iterable[Sequence[int]], order: int, vocab_size: int
    ) -> None:
        self.order, self.vocab_size = order, vocab_size
        self.levels: list[dict[Context, Counter[int]]] = [
            defaultdict(Counter) for _ in range(order)
        ]
        for ids in texts:
            for position in range(1, len(ids)):
                context = tuple(ids[max(position - order + 1, 0) : position])
                self._count(context, ids[position])
        self.discounts = [_discount(level) for level in self.levels]
        # Summed once: the counter of the empty context has an entry for every token of the vocabulary.
        self.totals = [
            {context: counter.total() for context, counter in level.items()}
            for level in self.levels
        ]

    def _count(self, context: Context, token: int) -> None:
        """Count a token at its longest context, and at shorter ones if it is new after that."""
        while True:
            counter = self.levels[len(context)][context]
            counter[token] += 1
            if counter[token] > 1 or not context:
                return
            context = context[1:]

    def probability(self, context: Context, token: int) -> float:
        """Return the probability of a token after the last tokens of ``context``."""
        value = 1 / self.vocab_size
        for length in range(min(len(context), self.order - 1) + 1):
            suffix = context[len(context) - length :]
            counter = self.levels[length].get(suffix)
            if counter is None:
                break
            total, discount = self.totals[length][suffix], self.discounts[length]
            direct = max(counter[token] - discount, 0.0) / total
            value = direct + discount * len(counter) / total * value
        return value


def _discount(level: dict[Context, Counter[int]]) -> float:
    """Return ``n1 / (n1 + 2 n2)`` of the numbers of n-grams that were counted once and twice."""
    numbers = Counter(count for counter in level.values() for count in counter.values())
    return numbers[1] / (numbers[1] + 2 * numbers[2]) if numbers[1] else 0.5


def mean_loss(model: KneserNey, texts: Iterable[Sequence[int]]) -> float:
    """Return the mean of ``-log P`` over all tokens but the first of each text, in nats."""
    total, num_tokens = 0.0, 0
    for ids in texts:
        for position in range(1, len(ids)):
            context = tuple(ids[max(position - model.order + 1, 0) : position])
            total -= math.log(model.probability(context, ids[position]))
        num_tokens += max(len(ids) - 1, 0)
    return total / num_tokens if num_tokens else math.nan


def texts_of(spec: Spec, split: str) -> Iterator[list[int]]:
    """Yield the token ids of each text of a split, as the network reads them."""
    source = build_source(spec, check(spec).raise_if_bad().types, SHORT_SOURCE, split)
    for item in source.items:
        yield source.task.template.encode(item.fields)


def main(arguments: list[str] | None = None) -> int:
    """Print the perplexity of each order; 2 for a user's mistake."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("spec", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--order", type=int, default=2, help="the longest n-grams (2)")
    chosen = parser.parse_intermixed_args(arguments)
    try:
        spec = read_spec(chosen.spec, chosen.overrides)
        vocab_size = build_source(
            spec, check(spec).types, SHORT_SOURCE, "train"
        ).task.tokenizer.vocab_size
        for order in range(1, chosen.order + 1):
            loss = mean_loss(
                KneserNey(texts_of(spec, "train"), order, vocab_size),
                texts_of(spec, spec.eval["split"]),
            )
            print(
                f"order {order}: perplexity {math.exp(loss):.2f}, {loss:.4f} nats a token"
            )
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
