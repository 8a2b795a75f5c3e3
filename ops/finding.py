"""What the checks of `threadwax doctor` take and return.

Contains no check, so that `ops.doctor` and the files of checks can both import it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from shared.bus import Bus
from shared.settings import Settings

Grade = Literal["ok", "warn", "fail"]
"""`fail` means that people get no answers."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; `advice` says what to do."""

    grade: Grade
    subject: str
    what: str
    advice: str = ""


@dataclass(slots=True)
class CheckContext:
    """The input of every check: the settings, and the bus once a check has connected to it."""

    settings: Settings
    bus: Bus | None = field(default=None)


Check = Callable[[CheckContext], Awaitable[list[Finding]]]
