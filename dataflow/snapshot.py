"""A conversation at rest: what the recovery store holds of a user.

Pure. A store outlives upgrades: a new field needs a default, and `tests/unit/snapshots` pins each
version.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from pydantic import AwareDatetime, TypeAdapter

from dataflow.turns import Turn
from shared.messages import Ask, Edited, Outcome


@dataclass(slots=True)
class Pending:
    """A question without a reply, as its conversation takes it further. `order`: 0 until asked.

    `replaces` is the question, as asked first, whose answer this one takes the place of;
    `forgotten` leaves no turn. `ends` is the outcome of one that the model is not to be asked, or
    not any more, and `words` its text: without them a crash would turn it into an answer. `edit` is
    the newest one, which its reply may have come before. `at_once`: it is settled out of turn, so
    that no later reply waits for it.
    """

    ask: Ask
    replayed: bool
    asked: bool = False
    order: int = 0
    replaces: str | None = None
    forgotten: bool = False
    ends: Outcome | None = None
    words: str = ""
    edit: Edited | None = None
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class Latest:
    """The last question of a thread whose reply is in the journal."""

    prompt_id: str
    answered_at: AwareDatetime


@dataclass(frozen=True, slots=True)
class Cut:
    """Where the requests of a thread begin: at the turn of the order `first`."""

    first: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A conversation at rest: what a snapshot holds. New fields need a default.

    The order is that in which they are written: `quiet_user` reads the first two. `latest` holds by
    thread the last question whose reply is in the journal, and `cuts` where its requests begin if
    that is not its first turn. `unanswered` are the ids of questions that ended without an answer.
    """

    user: str = ""
    pending: tuple[Pending, ...]
    turns: tuple[Turn, ...]
    settled: tuple[str, ...]
    next_order: int
    ratio: float
    latest: dict[str, Latest] = field(default_factory=dict)
    unanswered: tuple[str, ...] = ()
    cuts: dict[str, Cut] = field(default_factory=dict)
    v: int = 2
    """Snapshots that leave out what has its default do not say it; those before them say 1."""

    def dump(self) -> bytes:
        """The snapshot as JSON. What has its default is left out: most turns are only words."""
        return SAVED.dump_json(self, exclude_defaults=True)


SAVED: Final = TypeAdapter(Saved)

_QUIET: Final = re.compile(rb'\{"user":"([^"\\]+)","pending":\[\],')


def quiet_user(snapshot: bytes) -> str | None:
    """Whose conversation it is, if it begins with the user and says that nothing is pending.

    So a restart need not read all that 100,000 people ever said before it answers the first.
    """
    found = _QUIET.match(snapshot)
    return found and found[1].decode()
