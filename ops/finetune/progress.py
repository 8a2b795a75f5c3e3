"""Shows how far a training is, with its loss and speed."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ops.progress_bar import ProgressBar

_SMOOTHING: Final = 0.9


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a training: its number from 1, how many there are, its loss and tokens."""

    number: int
    total: int
    loss: float
    tokens: int


class TrainingProgress(ProgressBar):
    """Shows steps with their loss and speed."""

    def __init__(self, name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(name)
        self._name = name
        self._clock = clock
        self._began = clock()
        self._first = 0
        self._tokens = 0
        self._loss: float | None = None

    def step(self, step: Step) -> None:
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
        left_s = took_s / (step.number - self._first + 1) * (step.total - step.number)
        text = f"{self._name}: step {step.number} of {step.total}, {figures}, {left_s:.0f} s left"
        self.show(step.number, step.total, figures, line=text.replace("  ", ", "))
