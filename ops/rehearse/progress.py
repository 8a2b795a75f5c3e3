"""Shows how far a rehearsal is, and what it has cost."""

from typing import Final

from ops.progress_bar import ProgressBar

MICRO: Final = 1_000_000


class RehearsalProgress(ProgressBar):
    """Counts the questions that are finished."""

    def __init__(self, total: int, done: int) -> None:
        super().__init__("rehearsing", total=total, done=done)
        self._total = total
        self._done = done

    def finished(self, spent_microdollars: int) -> None:
        """Shows that one more question is finished."""
        self._done += 1
        dollars = f"${spent_microdollars / MICRO:.4f}"
        line = f"{self._done} of {self._total} questions, {dollars}"
        self.show(self._done, self._total, dollars, line=line)
