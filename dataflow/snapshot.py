"""A conversation as it is stored, in JSON.

Pure. A store outlives upgrades and downgrades. Field names are the keys of the JSON, so none may be
renamed or removed, and a new one needs a default. `tests/unit/snapshots` pins each version.
"""

from dataclasses import dataclass, field
from typing import Final

from pydantic import AwareDatetime, TypeAdapter

from dataflow.budget import Ledger
from dataflow.pending import Ending, Pending
from dataflow.question_queue import LatestReply
from dataflow.thread_starts import ThreadStart
from dataflow.turn import Turn
from shared.messages import Ask, Edited, Forget
from shared.replies import BackgroundCall, Outcome


@dataclass(slots=True)  # not frozen, which would make each of them slower
class StoredQuestion:
    """A pending question without its state: a restart puts every question back into its queue.

    `ends` and `words` are the outcome and the text of its ending. Only older versions read
    `replayed`: this one always checks the journal after a restart. `at_once` means `out_of_turn`.
    """

    ask: Ask
    replayed: bool
    order: int = 0
    replaces: str | None = None
    forgotten: bool = False
    ends: Outcome | None = None
    words: str = ""
    edit: Edited | None = None
    at_once: bool = False

    @classmethod
    def of(cls, pending: Pending) -> "StoredQuestion":
        """The stored form of a pending question."""
        ending = pending.ending
        return cls(
            pending.ask,
            pending.check_journal,
            pending.order,
            pending.replaces,
            pending.forgotten,
            None if ending is None else ending.outcome,
            "" if ending is None else ending.text,
            pending.edit,
            pending.out_of_turn,
        )

    def restored(self) -> Pending:
        """The pending question after a restart: a call that was in progress is made again."""
        ending = None if self.ends is None else Ending(self.ends, self.words)
        return Pending(
            self.ask,
            check_journal=True,
            state="waiting" if ending is None else "ended",
            ending=ending,
            order=self.order,
            replaces=self.replaces,
            forgotten=self.forgotten,
            edit=self.edit,
            out_of_turn=self.at_once,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A whole conversation.

    `settled` are ids of questions that have their reply, and `unanswered` those of them that ended
    without an answer. `latest` and `cuts` hold the latest reply and the start by thread. `calls`
    are model calls that a reply has yet to report. `erasing` are requests to be forgotten that are
    not carried out yet. Questions said until `forgotten_at` are never asked again. `budget` is what
    the person has used. `links` are this person's accounts on other platforms.
    """

    user: str = ""
    erasing: tuple[Forget, ...] = ()
    pending: tuple[StoredQuestion, ...]
    turns: tuple[Turn, ...]
    settled: tuple[str, ...]
    next_order: int
    ratio: float
    latest: dict[str, LatestReply] = field(default_factory=dict)
    unanswered: tuple[str, ...] = ()
    cuts: dict[str, ThreadStart] = field(default_factory=dict)
    calls: tuple[BackgroundCall, ...] = ()
    forgotten_at: AwareDatetime | None = None
    budget: Ledger | None = None
    links: tuple[str, ...] = ()
    v: int = 2
    """Written only by version 1, whose snapshots include default values."""

    def dump(self) -> bytes:
        """The JSON without default values: most turns consist of texts only."""
        return SNAPSHOT.dump_json(self, exclude_defaults=True)


SNAPSHOT: Final = TypeAdapter(Snapshot)
