"""Shows how far a rehearsal is: a bar in a terminal, a line now and then in a log."""

from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINES: Final = 10
"""How many lines a whole rehearsal prints if standard error is not a terminal."""

MICRO: Final = 1_000_000


class RehearsalProgress:
    """Prints the progress on standard error."""

    def __init__(self, total: int, done: int) -> None:
        self._total = total
        self._done = done
        self._bar = Progress(
            TextColumn("rehearsing"), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[dollars]}"), TextColumn("left"), TimeRemainingColumn(),
            console=Console(stderr=True), transient=True,
        )  # fmt: skip
        self._is_terminal = self._bar.console.is_terminal
        self._task = self._bar.add_task("", total=total, completed=done, dollars="")
        if self._is_terminal:
            self._bar.start()

    def finished(self, spent_microdollars: int) -> None:
        """Shows that one more question is finished."""
        self._done += 1
        dollars = f"${spent_microdollars / MICRO:.4f}"
        if self._is_terminal:
            self._bar.update(self._task, completed=self._done, dollars=dollars)
        elif self._done * LINES // self._total != (self._done - 1) * LINES // self._total:
            click.echo(f"{self._done} of {self._total} questions, {dollars}", err=True)

    def close(self) -> None:
        """Removes the bar."""
        self._bar.stop()
