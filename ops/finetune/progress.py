"""Shows how far a training is: a bar in a terminal, a line now and then in a log."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINES: Final = 10
"""How many lines a whole training prints if standard error is not a terminal."""

_SMOOTHING: Final = 0.9


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a training: its number from 1, how many there are, its loss and tokens."""

    number: int
    total: int
    loss: float
    tokens: int


class TrainingProgress:
    """Prints the progress on standard error. Use it as a context."""

    def __init__(self, name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._began = clock()
        self._first = 0
        self._tokens = 0
        self._loss: float | None = None
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = None if not self._bar.console.is_terminal else self._bar.add_task(
            name, figures="", total=None
        )  # fmt: skip

    def __enter__(self) -> Self:
        if self._task is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def show(self, step: Step) -> None:
        """Shows that a step is done."""
        self._first = self._first or step.number
        self._tokens += step.tokens
        self._loss = (
            step.loss
            if self._loss is None
            else _SMOOTHING * self._loss + (1 - _SMOOTHING) * step.loss
        )
        took_s = max(self._clock() - self._began, 1e-9)
        figures = f"loss {self._loss:.3f}  {self._tokens / took_s:.0f} tokens/s"
        if self._task is not None:
            self._bar.update(self._task, completed=step.number, total=step.total, figures=figures)
        elif step.number * LINES // step.total != (step.number - 1) * LINES // step.total:
            left_s = took_s / (step.number - self._first + 1) * (step.total - step.number)
            text = (
                f"{self._name}: step {step.number} of {step.total}, {figures}, {left_s:.0f} s left"
            )
            click.echo(text.replace("  ", ", "), err=True)
