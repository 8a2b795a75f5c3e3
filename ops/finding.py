"""What the checks of `threadwax doctor` look at, and what they find."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from shared.bus import Bus
from shared.settings import Settings

Grade = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `fail` means that people get no answers; `advice` is what to do."""

    grade: Grade
    subject: str
    what: str
    advice: str = ""


@dataclass(slots=True)
class Patient:
    """What the checks look at: the settings, and the bus once it was reached."""

    settings: Settings
    bus: Bus | None = field(default=None)


Check = Callable[[Patient], Awaitable[list[Finding]]]
