"""Masked words: which tokens a network must fill in."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from modules.negatives import BITS, uniform
from modules.packing import part_starts, positions_in_text
from modules.sizes import check_rate, check_sizes
from modules.streams import Text

SPECIAL = (0, 101, 102)  # BERT's padding, [CLS] and [SEP]
NO_LABEL = -100  # of a token that is not to be filled in


class WordMasking(nn.Module):
    """Hide a ``fraction`` of the tokens, and return what was there: BERT's masked words (arXiv 1810.04805).

    Of the chosen tokens 8 in 10 become ``mask_token_id``, 1 in 10 a token drawn from the vocabulary, and 1 in
    10 stays. Padding and ``special_token_ids`` (BERT's padding, [CLS] and [SEP]) are never chosen. With
    ``whole_words`` all pieces of a word are chosen together; of a text without ``word_start`` each token is a
    word. Labels are the ids that were there, and -100 elsewhere.

    Draws follow from ``seed``, the tokens of a row and the number of steps, which is a buffer: the number of
    ranks and the other rows of a batch do not change them, a resumed run draws the same ones, and dropout's
    random numbers are not used. Each forward pass in training is a step; evaluation draws as at step 0.
    """

    inputs = {"text": "text B L"}
    outputs = {"text": "text B L", "labels": "labels B L"}

    reads_packed = True
    weightless = True  # a network and its average must fill in the same words
    # Weights of another run start at the first draw again.
    run_state_buffers = ("step",)
    step: Int[Tensor, " 1"]

    def __init__(
        self,
        vocab_size: int,
        fraction: float = 0.15,
        mask_token_id: int = 103,
        special_token_ids: list[int] | None = None,
        whole_words: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_sizes(vocab_size=vocab_size)
        check_rate(fraction=fraction)
        self.vocab_size, self.mask_token_id = vocab_size, mask_token_id
        self.fraction = fraction
        if special_token_ids is None:
            special_token_ids = list(SPECIAL)
        self.special_token_ids = special_token_ids
        self.whole_words, self.seed = whole_words, seed
        self.register_buffer("step", torch.zeros(1, dtype=torch.long))

    def draw(
        self, salt: int, text_keys: Int[Tensor, "b l"], places: Int[Tensor, "b l"]
    ) -> Float[Tensor, "b l"]:
        """Return a number from [0, 1) for each place of each text."""
        step = self.step if self.training else torch.zeros_like(self.step)
        # Two rounds of the hash: one number for a text, then one for each of its places.
        numbers = uniform(self.seed, salt, step, text_keys) * BITS
        return uniform(self.seed, salt, step, numbers.long() ^ places)

    def chosen(self, text: Text, text_keys: Int[Tensor, "b l"]) -> Bool[Tensor, "b l"]:
        """Return which tokens are to be filled in."""
        usable = text.mask
        for special in self.special_token_ids:
            usable = usable & (text.ids != special)
        places = positions_in_text(text)
        # One draw for each word: all its tokens have the same place.
        if self.whole_words and text.word_start is not None:
            places = _word_numbers(text, text.word_start.long())
        return usable & (self.draw(0, text_keys, places) < self.fraction)

    def forward(self, text: Text) -> dict[str, Text | Tensor]:
        """Choose, replace, and return the labels; each forward pass in training is a step."""
        text_keys, places = _text_keys(text), positions_in_text(text)
        chosen = self.chosen(text, text_keys)
        # Another salt for each decision: which token, what happens to it, and with which id.
        action = self.draw(1, text_keys, places)
        random_ids = (self.draw(2, text_keys, places) * self.vocab_size).long()
        ids = text.ids.masked_fill(chosen & (action < 0.8), self.mask_token_id)
        # Between 0.8 and 0.9 the token stays, but has a label.
        ids = torch.where(chosen & (action >= 0.9), random_ids, ids)
        # Only a pass that trains is a step: a search in the same iteration must not advance the draws.
        if self.training and torch.is_grad_enabled():
            self.step.add_(1)
        labels = text.ids.masked_fill(~chosen, NO_LABEL)
        return {"text": text._replace(ids=ids), "labels": labels}


def _word_numbers(text: Text, begins_word: Int[Tensor, "b l"]) -> Int[Tensor, "b l"]:
    """Return the number of each token's word in its text."""
    numbers = begins_word.cumsum(dim=1)
    if text.parts is None:
        return numbers
    # Words of the texts before this one in its row.
    words_before = (numbers - begins_word).gather(1, part_starts(text.parts))
    return numbers - words_before


def _text_keys(text: Text) -> Int[Tensor, "b l"]:
    """Return for each token a number that follows from the tokens of its text and their order, but neither
    from padding nor from other texts in its row."""
    step = torch.zeros(1, dtype=torch.long, device=text.ids.device)
    places = positions_in_text(text)
    # One number for each pair of a token and its place; padding adds 0.
    pairs = text.ids * (1 << 16) + places
    numbers = (uniform(0, 0, step, pairs) * BITS).long() * text.mask
    parts = torch.zeros_like(text.ids) if text.parts is None else text.parts
    sums = torch.zeros_like(numbers).scatter_add(1, parts, numbers)
    # (b, texts) -> (b, l): each token gets the key of its text.
    return (sums & BITS).gather(1, parts)
