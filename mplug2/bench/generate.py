"""Compare cached generation with plain decoding, alternately in one process: equal texts, and the speed-up.

Plain decoding exists only here: it processes the complete prefix of every beam again for every token, each
beam with its own copy of the memory; candidates are scored in the same way.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from modules.attention import causal_mask
from modules.decoder import TextDecoder
from modules.search.beam import beam_search
from modules.search.rank import rank_answers
from modules.streams import Text, Tokens
from registry import UserError

START, END, VOCAB_SIZE = 101, 102, 30522  # of the vocabulary bert-base-uncased
Clock = Literal["wall", "processor"]


@dataclass(frozen=True)
class Sizes:
    """What is decoded: by default a caption of 20 words and 32 answers at base size, 8 frames of 224 px."""

    width: int = 768
    depth: int = 12
    memory: int = 1569
    batch: int = 2
    beams: int = 5
    length: int = 20
    candidates: int = 32
    words: int = 4  # ids of a candidate, [CLS] and [SEP] counted


@dataclass(frozen=True)
class Figure:
    """One task: seconds of each round and FLOPs, of the engine and of plain decoding."""

    task: str
    engine: list[float]
    plain: list[float]
    engine_flops: int
    plain_flops: int

    @property
    def ratio(self) -> float:
        """How many times faster the engine is: the median over the rounds."""
        return median(
            slow / fast for slow, fast in zip(self.plain, self.engine, strict=True)
        )

    @property
    def floor(self) -> float:
        """How many times less the engine computes."""
        return self.plain_flops / self.engine_flops


def plain_logits(
    decoder: TextDecoder, ids: Tensor, memory: Tensor, last_only: bool
) -> Tensor:
    """Scores after the last or after each of ``ids`` [rows length]; every row has its copy of the memory."""
    x: Tensor = decoder.embedding.embed(ids)
    mask = causal_mask(ids.shape[1], ids.device)
    for layer in decoder.layers:
        x = layer(x, mask, memory)
    logits: Tensor = decoder.head(
        x[:, -1:] if last_only else x, decoder.embedding.word.weight
    )
    return logits


@torch.no_grad()
def plain_beams(decoder: TextDecoder, memory: Tensor, sizes: Sizes) -> Tensor:
    """Beam search over texts of exactly ``length`` words, best first [batch beams length + 1]."""
    batch, beams = len(memory), sizes.beams
    tiled = memory.repeat_interleave(beams, dim=0)
    texts = torch.full((batch, beams, 1), START, dtype=torch.long, device=memory.device)
    total = torch.full((batch, beams), -torch.inf, device=memory.device)
    total[:, 0] = 0.0
    for _ in range(sizes.length):
        logits = plain_logits(decoder, texts.flatten(0, 1), tiled, last_only=True)
        words = F.log_softmax(logits[:, 0].float(), dim=-1).unflatten(0, (batch, beams))
        words[..., END] = -torch.inf
        # the penalty for length divides all beams of a step by the same number: it changes no choice
        total, choice = (total[..., None] + words).flatten(1).topk(beams)
        origin = (choice // words.shape[-1])[..., None].expand(texts.shape)
        texts = torch.cat(
            [texts.gather(1, origin), (choice % words.shape[-1])[..., None]], dim=2
        )
    return texts


@torch.no_grad()
def plain_rank(decoder: TextDecoder, memory: Tensor, candidates: Tensor) -> Tensor:
    """The candidates' order for every sample [batch candidates]."""
    batch, count = len(memory), len(candidates)
    ids = candidates.repeat(batch, 1)
    logits = plain_logits(
        decoder, ids[:, :-1], memory.repeat_interleave(count, dim=0), last_only=False
    )
    losses = F.cross_entropy(
        logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
    )
    return losses.view(batch, count, -1).sum(dim=-1).sort(dim=-1).indices


def bench(
    sizes: Sizes,
    rounds: int = 1,
    clock: Clock = "wall",
    on_progress: Callable[[str], object] = lambda done: None,
) -> list[Figure]:
    """Measure both tasks ``rounds`` times, engine and plain decoding alternately; UserError if their results
    differ.

    ``clock='processor'`` counts the seconds that processors worked for this process, and not those that it
    waited for them: for a machine that does other work, with one thread (threads that wait count, too).
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = []
    for task, (engine, plain) in _tasks(sizes, device).items():
        engine()  # the first call pays for what is set up once
        times: dict[str, list[float]] = {"engine": [], "plain": []}
        for turn in range(rounds):
            results = {}
            for name, run in (("engine", engine), ("plain", plain)):
                on_progress(f"{task}, round {turn + 1} of {rounds}: {name}")
                results[name], seconds = _timed(run, device, clock)
                times[name].append(seconds)
            if not torch.equal(results["engine"], results["plain"]):
                raise UserError(
                    f"{task}: the engine's result must be that of plain decoding, but differs"
                )
        found.append(
            Figure(task, times["engine"], times["plain"], *_flops(task, sizes))
        )
    return found


def _decoder(sizes: Sizes) -> TextDecoder:
    """Return a decoder with BERT's vocabulary and room for the generated texts."""
    max_positions = max(64, sizes.length + 1)
    return TextDecoder(
        sizes.width, sizes.depth, vocab_size=VOCAB_SIZE, max_positions=max_positions
    ).eval()


def _tasks(
    sizes: Sizes, device: str
) -> dict[str, tuple[Callable[[], Tensor], Callable[[], Tensor]]]:
    """For each task the engine's call and the plain one, over the same random weights and inputs."""
    torch.manual_seed(0)
    with torch.device(device):
        decoder = _decoder(sizes)
        memory = torch.randn(sizes.batch, sizes.memory, sizes.width)
        ids = torch.randint(1000, 30000, (sizes.candidates, sizes.words))
    ids[:, 0], ids[:, -1] = START, END
    text = Text(ids, torch.ones_like(ids, dtype=torch.bool))

    def search() -> Tensor:
        found = beam_search(
            decoder,
            Tokens(memory),
            num_beams=sizes.beams,
            num_return_sequences=sizes.beams,
            min_length=sizes.length,
            max_length=sizes.length,
        )
        return found.ids

    def ranked() -> Tensor:
        choice: Tensor = rank_answers(
            decoder, Tokens(memory), text, top_k=sizes.candidates
        )["choice"]
        return choice

    return {
        "beam search": (search, lambda: plain_beams(decoder, memory, sizes)),
        "ranking": (ranked, lambda: plain_rank(decoder, memory, ids)),
    }


def _timed(
    run: Callable[[], Tensor], device: str, clock: Clock
) -> tuple[Tensor, float]:
    now = time.perf_counter if clock == "wall" else time.process_time
    start = now()
    result = run()
    if device == "cuda":
        torch.cuda.synchronize()
    return result, now() - start


def _flops(task: str, sizes: Sizes) -> tuple[int, int]:
    """The FLOPs of matrix products and attention in the engine and in plain decoding (meta device)."""
    with torch.device("meta"):
        decoder = _decoder(sizes)
        memory = torch.empty(sizes.batch, sizes.memory, sizes.width)
        ids = torch.empty(sizes.candidates, sizes.words, dtype=torch.long)
    text = Text(ids, ids.bool())
    dry: Any = rank_answers if task == "ranking" else beam_search
    counts = []
    for plain in (False, True):
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            if not plain and task == "ranking":
                dry.dry_run(decoder, Tokens(memory), text, top_k=sizes.candidates)
            elif not plain:
                dry.dry_run(
                    decoder,
                    Tokens(memory),
                    num_beams=sizes.beams,
                    max_length=sizes.length,
                )
            elif task == "ranking":
                plain_rank(decoder, memory, ids)
            else:
                plain_beams(decoder, memory, sizes)
        counts.append(counter.get_total_flops())
    return counts[0], counts[1]


def lines(figures: list[Figure]) -> list[tuple[str, str, str, str, str, str, str]]:
    """Rows for a table: task, seconds and TFLOP of each, times faster, and times fewer FLOPs."""
    return [
        (
            f.task,
            f"{median(f.engine):.2f}",
            f"{median(f.plain):.2f}",
            f"{f.engine_flops / 1e12:.3f}",
            f"{f.plain_flops / 1e12:.3f}",
            f"{f.ratio:.1f}",
            f"{f.floor:.1f}",
        )
        for f in figures
    ]
