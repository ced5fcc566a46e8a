"""Parts for specs in tests: declarations that are read from this source, and never imported."""

from __future__ import annotations

from typing import Any, Literal

from fake_base import Layered

from registry import operation

raise RuntimeError("declarations are read, never imported")


class Base:
    outputs = "tokens B N width"


class VideoViT(Base):
    """Frames to tokens. And more that no table shows."""

    inputs = {"video": "frames B 3 frames size size"}

    def __init__(
        self,
        width: int,
        depth: int = 12,
        heads: int | None = None,
        frames: int = 8,
        size: int = 224,
        temporal: Literal["local", "none"] = "local",
        ratios: tuple[float, float] = (0.5, 1.0),
        scale: float = float("inf"),
    ) -> None: ...

    def forward(self, video: Any) -> Any: ...


class TextEmbedding:
    """Words to tokens."""

    inputs = {"text": "text B L"}
    outputs = "tokens B L width"

    def __init__(self, width: int, vocab_size: int = 30522) -> None: ...


class TextEncoder(Layered):
    """Tokens read in context."""

    inputs = {"tokens": "tokens B L width"}
    outputs = "tokens B L width"


class Universal:
    """Shared layers with two routes."""

    inputs = {"tokens": "tokens B N width"}
    outputs = "tokens B N width"

    def __init__(self, width: int, depth: int = 2) -> None: ...

    def forward(self, tokens: Any, *, route: Literal["vision", "text"]) -> Any: ...


class Fusion:
    """Text and vision attend to each other."""

    inputs = {"text": "tokens B L width", "vision": "tokens B M width"}
    outputs = {"text": "tokens B L width", "vision": "tokens B M width"}

    def __init__(self, width: int) -> None: ...


class TextDecoder:
    """Next-word logits."""

    inputs = {"text": "text A L", "memory": "tokens A M width"}
    outputs = "logits A L vocab_size"

    def __init__(self, width: int, vocab_size: int = 30522) -> None: ...


class WordDropout:
    """Draws words to hide, and has no weights."""

    inputs = {"text": "text B L"}
    outputs = "text B L"
    weightless = True

    def __init__(self) -> None: ...

    def forward(self, text): ...


class Pool:
    """Every so many tokens."""

    inputs = {"tokens": "tokens B N width"}
    outputs = "tokens B M width"

    def __init__(self, stride: int) -> None: ...


class Head:
    """Classes of the first token."""

    inputs = {"tokens": "tokens B N width"}
    outputs = "logits B classes"

    def __init__(self, width: int, classes: int) -> None: ...


class Project:
    """Another width."""

    inputs = {"tokens": "tokens B N width_in"}
    outputs = "tokens B N width"

    def __init__(self, width_in: int, width: int) -> None: ...


class Backbone:
    """Videos or images to tokens, and what is read on request."""

    inputs = {"media": "frames B 3 T size size | image B 3 size size"}
    outputs = {
        "": "tokens B N width",
        "early?": "tokens B N width",
        "late?": "tokens B M width",
    }
    off = {"early": "early", "late": "late"}

    def __init__(
        self, width: int, size: int = 48, early: int | None = None
    ) -> None: ...

    def forward(
        self, media: Any, *, late: bool = False, requested: frozenset[str] = frozenset()
    ) -> Any: ...


@operation(
    inputs={
        "tokens": "tokens B N width",
        "**parts": "tokens B length _ | text B length",
    },
    outputs={"**parts": "tokens B length width"},
)
def split(tokens: Any, *, scale: float = 1.0, **parts: Any) -> Any:
    """Cut into parts."""


@operation(inputs={"*parts": "tokens B _ width"}, outputs="tokens B N width")
def concat(*parts: Any) -> Any:
    """Lay streams end to end."""


@operation(
    inputs={"tokens": "tokens B N width", "index": "index A -> B"},
    outputs="tokens A N width",
)
def take(tokens: Any, index: Any) -> Any:
    """Repeat rows."""


@operation(
    inputs={
        "logits": "logits A L vocab",
        "target": "text A L",
        "weight?": "weight A",
        "teacher?": "logits A L vocab",
    },
    outputs="scalar",
    off={"teacher": "alpha"},
)
def lm_loss(
    logits: Any,
    target: Any,
    weight: Any = None,
    teacher: Any = None,
    *,
    alpha: float = 0.0,
) -> Any:
    """Cross-entropy."""


@operation(
    inputs={"logits": "logits B classes", "target": "labels B"}, outputs="scalar"
)
def cross_entropy(logits: Any, target: Any) -> Any:
    """Cross-entropy of classes."""


@operation(
    inputs={"decoder": "module", "memory": "tokens B M width"},
    outputs="sequences B num_return_sequences",
)
def beam_search(
    decoder: Any, memory: Any, *, num_beams: int = 5, max_length: int = 10
) -> Any:
    """Write."""


class VideoQA:
    """Clips with questions and answers."""

    outputs = {
        "video": "frames V 3 T H W",
        "question": "text Q L",
        "video_index": "index Q -> V",
        "answer": "text A La",
        "question_index": "index A -> Q",
        "answer_weight": "weight A",
    }

    def __init__(
        self,
        path: str,
        media: str,
        *,
        questions_per_clip: int = 1,
        split: str,
        types: Any,
    ) -> None: ...


class Labelled:
    """Tokens with labels."""

    outputs = {"x": "tokens B N width", "label": "labels B"}
    class_names = {"label": "labels"}

    def __init__(
        self, path: str, *, labels: Any = None, split: str, types: Any
    ) -> None: ...


class Accuracy:
    """Exact match."""

    inputs = {"answer": "sequences Q n"}


class TopOne:
    """Class accuracy."""

    inputs = {"answer": "logits Q C"}


class Unreadable:
    """Ports that are no literal."""

    inputs = ports("text")
