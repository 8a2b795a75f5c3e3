"""The command line of a rehearsal as values. Pure."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """A model as the command line names it."""

    model: str
    base_url: str | None
    api_key_env: str | None


@dataclass(frozen=True, slots=True)
class Options:
    """The command line. `prompt` replaces the system prompt.

    `dollars` is 0 without a limit; None: the default limit, if the prices are known.
    """

    candidate: TargetOptions
    judge: TargetOptions | None
    prompt: str | None
    last: int
    dollars: float | None
    minutes: float
    parallel: int
    folder: Path
