"""The text of an answer as it grows, up to a limit."""

import time
from collections.abc import Callable
from typing import Final

from dataflow.model.reasoning import Shown
from shared import metrics

ANSWER_LIMIT_CHARS: Final = 200_000
"""No model writes longer answers, and the journal accepts messages of this length."""


class AnswerText:
    """The answer as it grows."""

    def __init__(self, on_text: Callable[[str], None], on_start_over: Callable[[], None]) -> None:
        self._on_text = on_text
        self._on_start_over = on_start_over
        self._pieces: list[str] = []
        self._started = time.monotonic()
        self._begun = False
        self.length = 0
        self.is_full = False
        """Whether the answer is longer than the limit, so that the remainder is not shown."""

    def add(self, shown: Shown) -> None:
        """Adds a piece and shows it."""
        if not self._begun:
            self._begun = True
            metrics.first_token_s.observe(time.monotonic() - self._started)
        if shown.starts_over:
            self._pieces.clear()
            self.length = 0
            self._on_start_over()
        text = shown.text[: ANSWER_LIMIT_CHARS - self.length]
        self.is_full = len(text) < len(shown.text)
        if text:
            self._pieces.append(text)
            self.length += len(text)
            self._on_text(text)

    @property
    def whole(self) -> str:
        """The text so far."""
        return "".join(self._pieces)
