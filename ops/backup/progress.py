"""One line on a terminal that changes while long work goes on; finished steps stay."""

import sys
import time
from typing import Final

import click

EVERY_S: Final = 0.2
MIB: Final = 1 << 20


class Interrupted(Exception):
    """A signal has stopped the work."""


class Progress:
    """Writes to standard error, and ends the work at its next step once it is to stop.

    A cancellation alone is not enough: `asyncio.wait_for`, which nats-py uses, can lose it
    (`shared/tasks.py`).
    """

    def __init__(self) -> None:
        self._visible = sys.stderr.isatty()
        self._step = ""
        self._bytes = 0
        self._shown_at_s = 0.0
        self._stopped = False

    def stop(self) -> None:
        """Has the next step raise `Interrupted`."""
        self._stopped = True

    def begin(self, step: str) -> None:
        """Begins a step."""
        self._step, self._bytes, self._shown_at_s = step, 0, 0.0
        self.add(0)

    def add(self, size: int) -> None:
        """Counts bytes of the step.

        Raises:
            Interrupted: the work is to stop.
        """
        if self._stopped:
            raise Interrupted
        self._bytes += size
        if self._visible and time.monotonic() - self._shown_at_s > EVERY_S:
            self._shown_at_s = time.monotonic()
            click.echo(f"\r\033[K{self._step} {self._bytes / MIB:.1f} MiB", nl=False, err=True)

    def done(self, text: str) -> None:
        """Ends a step with a line that stays."""
        click.echo(f"\r\033[K{text}" if self._visible else text, err=True)
