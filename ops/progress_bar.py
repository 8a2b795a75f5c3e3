"""Shows how far work is, on standard error: a bar in a terminal, a line now and then in a log."""

from types import TracebackType
from typing import Final, Self

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINES: Final = 10
"""How many lines all of the work prints if standard error is not a terminal."""


class ProgressBar:
    """A bar that disappears at the end. Use it as a context."""

    def __init__(self, name: str, *, total: int | None = None, done: int = 0) -> None:
        """`total`: None if it is known later."""
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(name, total=total, completed=done, figures="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def advance(self, count: int) -> None:
        """Shows that these many more are done; in a log, nothing."""
        self._bar.update(self._task, advance=count)

    def show(self, done: int, total: int, figures: str, *, line: str) -> None:
        """Shows how many are done, and figures; `line` is for a log, which gets some of them."""
        if not self._bar.disable:
            self._bar.update(self._task, completed=done, total=total, figures=figures)
        elif done * LINES // total != (done - 1) * LINES // total:
            click.echo(line, err=True)
