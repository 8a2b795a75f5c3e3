"""A conversation at rest: what the recovery store holds of a user.

Pure. A store outlives upgrades: a new field needs a default, and `tests/unit/snapshots` pins each
version.
"""

from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter

from dataflow.request import Turn
from shared.messages import Ask, Outcome


@dataclass(frozen=True, slots=True)
class Pending:
    """A question without a reply. `order` is 0 until it is asked.

    `replaces` is the question, as asked first, whose answer this one takes the place of;
    `forgotten` leaves no turn. `ends` is the outcome of one that the model is not to be asked, or
    not any more, and `words` its text: without them a crash would turn it into an answer.
    """

    ask: Ask
    replayed: bool
    asked: bool = False
    order: int = 0
    replaces: str | None = None
    forgotten: bool = False
    ends: Outcome | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Saved:
    """A conversation at rest: what a snapshot holds. New fields need a default."""

    turns: tuple[Turn, ...]
    pending: tuple[Pending, ...]
    settled: tuple[str, ...]
    next_order: int
    ratio: float
    user: str = ""
    v: int = 1


SAVED: Final = TypeAdapter(Saved)
