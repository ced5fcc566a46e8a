"""Words to token ids and back, as the released models were trained on them."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import AddedToken, normalizers, pre_tokenizers
from tokenizers import Tokenizer as WordPieces
from tokenizers.decoders import WordPiece as Joiner
from tokenizers.models import WordPiece

from registry import TOKENIZERS
from registry.errors import UserError
from registry.tokenizer_names import tokenizer_parts

if TYPE_CHECKING:
    from modules.streams import Text

SPECIAL_TOKENS = {
    "pad": "[PAD]",
    "unk": "[UNK]",
    "cls": "[CLS]",
    "sep": "[SEP]",
    "mask": "[MASK]",
}


class Tokenizer:
    """BERT word pieces: ``"[CLS] x"`` without a trailing [SEP]; a literal ``[SEP]`` inside a text is one
    token.

    Built on ``tokenizers`` alone, which imports in 0.01 s where all of transformers takes seconds.
    """

    def __init__(
        self,
        vocabulary: dict[str, int],
        *,
        lower: bool = True,
        source: str = "vocabulary",
    ) -> None:
        missing = [
            token for token in SPECIAL_TOKENS.values() if token not in vocabulary
        ]
        if missing:
            raise UserError(
                f"{source}: a BERT vocabulary must hold {', '.join(missing)}, but does not"
            )
        self.source, self.lower = source, lower
        # The list of `recorded_texts` while it is open.
        self._recorded: list[str] | None = None
        # The largest id decides: a vocabulary may have gaps.
        self.vocab_size = max(vocabulary.values()) + 1
        self.pad, self.unk, self.cls, self.sep, self.mask = (
            vocabulary[token] for token in SPECIAL_TOKENS.values()
        )
        # A piece that continues a word begins with ##.
        self._begins_word = np.ones(self.vocab_size, dtype=bool)
        for token, number in vocabulary.items():
            if token.startswith("##"):
                self._begins_word[number] = False
        model = WordPiece(
            vocabulary, unk_token=SPECIAL_TOKENS["unk"], max_input_chars_per_word=100
        )
        self._pieces = WordPieces(model)
        self._pieces.normalizer = normalizers.BertNormalizer(lowercase=lower)
        self._pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        self._pieces.decoder = Joiner(cleanup=True)
        # Unless they are registered, "man[SEP]" would be split into man, [, sep, ].
        special_tokens = []
        for token in SPECIAL_TOKENS.values():
            special_tokens.append(AddedToken(token, special=True, normalized=False))
        self._pieces.add_special_tokens(special_tokens)

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of all tokens in the order of their ids, and of whether texts are lowered before."""
        tokens = self._pieces.get_vocab(with_added_tokens=False)
        ordered = sorted(tokens, key=tokens.__getitem__)
        content = "\n".join([f"lower: {self.lower}", *ordered])
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()

    @classmethod
    def load(cls, source: str | Path) -> Tokenizer:
        """Read the tokenizer that a spec names: ``KIND`` or ``KIND:FILE`` of a registered kind, else BERT's.

        UserError saying what to give instead when there is none.
        """
        kind, file = tokenizer_parts(str(source))
        tokenizer: Tokenizer = TOKENIZERS.load(kind).read(file)
        return tokenizer

    @classmethod
    def read(cls, source: str) -> Tokenizer:
        """Read a vocabulary: a ``vocab.txt``, a folder that holds one, or a Hugging Face name (network or
        cache).

        UserError saying what to give instead when there is none.
        """
        path = Path(source)
        if path.is_dir():
            return cls._from_folder(path)
        if path.is_file():
            return cls(_read_vocabulary(path), source=str(path))
        # A name of the Hub has at most one slash; anything else was meant as a path.
        looks_like_path = source.startswith((".", "/", "~")) or source.count("/") > 1
        if path.suffix == ".txt" or looks_like_path:
            raise UserError(
                f"the vocabulary {path} does not exist (a relative path starts from the folder where the "
                f"command runs, {Path.cwd()}); give the path of a vocab.txt, or a Hugging Face name such as "
                "bert-base-uncased (`mplug2 data make-shapes` writes one next to the shapes clips)"
            )
        return cls(
            _read_vocabulary(_from_hub(source)),
            # By the usual names: bert-base-cased keeps capitals.
            lower="uncased" in source or "cased" not in source,
            source=source,
        )

    @classmethod
    def _from_folder(cls, folder: Path) -> Tokenizer:
        path = folder / "vocab.txt"
        if not path.is_file():
            raise UserError(
                f"the tokenizer folder {folder} must hold a vocab.txt (BERT word pieces), but does not"
            )
        return cls(
            _read_vocabulary(path),
            lower=_lowers(folder / "tokenizer_config.json"),
            source=str(folder),
        )

    def encode(self, text: str, max_tokens: int | None = None) -> list[int]:
        """Return the ids of ``"[CLS] text"``, cut to ``max_tokens``."""
        return [self.cls, *self.pieces(text)][:max_tokens]

    def __call__(self, texts: Iterable[str], max_tokens: int | None = None) -> Text:
        """Return the texts as `Text` (ids int64 [B L], mask bool [B L]), padded to the longest of them."""
        return self.pad_rows([self.encode(text, max_tokens) for text in texts])

    def encode_with_sep(self, texts: Iterable[str], max_tokens: int) -> Text:
        """Return the texts as `Text`, each with a [SEP] at its end: longer ones are cut before it, so that
        ``max_tokens`` hold it, too."""
        rows = [[*self.encode(text, max_tokens - 1), self.sep] for text in texts]
        return self.pad_rows(rows)

    def pieces(self, text: str) -> list[int]:
        """Return the ids of a text alone, without [CLS]."""
        if self._recorded is not None:
            self._recorded.append(text)
        return list(self._pieces.encode(text, add_special_tokens=False).ids)

    @contextlib.contextmanager
    def recorded_texts(self) -> Iterator[list[str]]:
        """Yield a list that gets every text that is encoded while the context is open."""
        texts: list[str] = []
        self._recorded = texts
        try:
            yield texts
        finally:
            self._recorded = None

    def count_unknown(self, text: str) -> tuple[int, list[str]]:
        """Return the number of words of a text, and those that become [UNK]."""
        encoded = self._pieces.encode(text, add_special_tokens=False)
        unknown = []
        for number, (begin, end) in zip(encoded.ids, encoded.offsets, strict=True):
            if number == self.unk:
                unknown.append(text[begin:end])
        return int(self._begins_word[encoded.ids].sum()), unknown

    def pad_rows(
        self,
        rows: Sequence[Sequence[int]],
        segments: Sequence[Sequence[int]] | None = None,
    ) -> Text:
        """Return rows of ids as `Text` with word starts, padded to the longest of them.

        ``segments``: the segment of each id; None if all of them are in segment 0.
        """
        import torch

        from modules.streams import Text

        longest = max(map(len, rows), default=0)
        # (rows, tokens), as are the mask and the segments
        ids = torch.full((len(rows), longest), self.pad, dtype=torch.long)
        mask = torch.zeros_like(ids, dtype=torch.bool)
        segment_ids = None if segments is None else torch.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
            mask[index, : len(row)] = True
            if segment_ids is not None and segments is not None:
                segment_ids[index, : len(row)] = torch.tensor(segments[index])
        begins_word = torch.from_numpy(self._begins_word)
        return Text(ids, mask, segment_ids, begins_word[ids] & mask)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of generated ids up to the first [SEP], special tokens dropped."""
        numbers = [int(number) for number in ids]
        # What follows the first [SEP] was generated after the end of the text.
        if self.sep in numbers:
            numbers = numbers[: numbers.index(self.sep)]
        return self.decode_released(numbers)

    def decode_released(self, ids: Sequence[int]) -> str:
        """Return the text as the released code does: special tokens are cut out of it, what follows a [SEP]
        stays."""
        text = self._pieces.decode([int(i) for i in ids], skip_special_tokens=False)
        for token in ("pad", "cls", "sep"):
            # Cut out of the text and not of the ids: the spaces around them stay, as released.
            text = text.replace(SPECIAL_TOKENS[token], "")
        return text.strip()

    def tokens(self, ids: Sequence[int]) -> list[str | None]:
        """Return the word pieces of ``ids``, special tokens included."""
        return [self._pieces.id_to_token(int(i)) for i in ids]


def _lowers(settings: Path) -> bool:
    """Return whether a tokenizer lowers its text, by its settings; default: true."""
    if not settings.is_file():
        return True
    try:
        content = json.loads(settings.read_text(encoding="utf-8"))
        lower = content.get("do_lower_case", True)
    except (OSError, ValueError, RecursionError, AttributeError) as error:
        raise UserError(
            f"{settings} must be a JSON object, but cannot be read as one ({error})"
        ) from None
    if not isinstance(lower, bool):
        raise UserError(
            f"{settings}: do_lower_case must be true or false, but is {json.dumps(lower)}"
        )
    return lower


def _read_vocabulary(path: Path) -> dict[str, int]:
    try:
        # Split at no other line ends: some of them are tokens.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"the vocabulary {path} cannot be read as text ({error}); it must hold one token per line"
        ) from None
    # After the end of the last line there is no token.
    if not lines[-1]:
        lines.pop()
    return {line: index for index, line in enumerate(lines)}


def _from_hub(name: str) -> Path:
    # A dependency of transformers; imported here because most users give a path.
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        # Asks no network, which may not be there.
        cached = try_to_load_from_cache(name, "vocab.txt")
        if isinstance(cached, str):
            return Path(cached)
        return Path(hf_hub_download(name, "vocab.txt"))
    except (OSError, RuntimeError, HfHubHTTPError, HFValidationError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"the tokenizer {name!r} is neither a file or folder here nor could it be downloaded from the "
            f"Hugging Face Hub ({type(error).__name__}: {reason}); give the path of a vocab.txt"
        ) from None
