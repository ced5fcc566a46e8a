"""Texts as a network reads captions: cleaned, with a template, and cut, as set for the source of a spec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mplug2.data.template import TextTemplate
from mplug2.data.text import Tokenizer
from mplug2.data.text_cleaning import clean_caption
from registry import TASKS
from registry.goal_source import goal_arguments, source_of_goal

if TYPE_CHECKING:
    from modules.streams import Text
    from registry import Spec


class CaptionReader:
    """Reads texts as the task reads captions that supplies those of a goal, such as `embed_text`."""

    def __init__(self, spec: Spec, goal: str, tokenizer: Tokenizer) -> None:
        self.spec, self.goal, self.tokenizer = spec, goal, tokenizer

    def __call__(self, texts: Sequence[str]) -> Text:
        """Return the token ids of texts, a row each."""
        if self._setting("caption_text", "cleaned") == "cleaned":
            max_words = int(self._setting("caption_words", 30))
            texts = [clean_caption(text, max_words) for text in texts]
        max_tokens = int(self._setting("caption_tokens", 40))
        template = goal_arguments(self.spec, self.goal).get("template")
        if template is None:
            return self.tokenizer(texts, max_tokens)
        filled = TextTemplate(template, self.tokenizer, max_tokens)
        return self.tokenizer.pad_rows(
            [filled.encode({"caption": text}) for text in texts]
        )

    def _setting(self, name: str, default: str | int) -> str | int:
        """Return an argument of the task that supplies captions, or else its default."""
        value = goal_arguments(self.spec, self.goal).get(name)
        if isinstance(value, (str, int)):
            return value
        origin = source_of_goal(self.spec, self.goal)
        if origin is None or origin.source.task is None:
            return default
        declared = TASKS.declaration(origin.source.task).arguments
        declared_default = declared[name].default if name in declared else None
        return declared_default if isinstance(declared_default, (str, int)) else default
