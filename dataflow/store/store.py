"""What the dataflow stores, and what every kind of store must do with it.

A store is the one place in which conversations outlive a process. It must never let a process
write to a partition that another one has claimed since: the epoch of a claim is the fence.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from pydantic import TypeAdapter

from shared.follow import Position

POSITION: Final = TypeAdapter(Position)
START: Final = Position()
"""Before the first event."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Who holds a partition, and where its next holder goes on."""

    holder: str
    """The member that holds it; empty: nobody."""

    epoch: int
    """Grows with each claim. Writes of an older epoch are refused."""

    position: Position = START
    """The last event that the stored conversations know."""

    released_by: str = ""
    """The member that released it; empty: it was not released, or is held."""

    answering: frozenset[str] = frozenset()
    """Questions that `released_by` was still answering."""


@dataclass(frozen=True, slots=True)
class Row:
    """One conversation as it is stored. `has_work`: its next holder has to take it up at once."""

    user: str
    saved: bytes
    has_work: bool = False


@dataclass(frozen=True, slots=True)
class Write:
    """What has changed in a partition. Conversations and position are of the same moment."""

    partition: int
    epoch: int
    holder: str
    position: Position
    rows: tuple[Row, ...] = ()
    release: bool = False
    answering: frozenset[str] = frozenset()
    """With `release`, the questions that are still being answered here."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A part of what an older version had stored: positions, budgets, rows with their partition."""

    rows: list[tuple[int, Row]] = field(default_factory=list)
    positions: dict[int, Position] = field(default_factory=dict)
    places: dict[str, bytes] = field(default_factory=dict)


class CannotOpen(Exception):
    """A person has to act before the store can be opened."""


class StoreAway(Exception):
    """The store does not answer, or its disk is full: try again."""


class OtherPartitionCount(Exception):
    """The store was set up for another number of partitions: a person has to decide."""

    def __init__(self, stored: int, wanted: int) -> None:
        super().__init__(
            f"the stored conversations are in {stored} partitions, but the stream of events has "
            f"{wanted}. Use the NATS server that belongs to this store, or another store: with "
            "another number of partitions, users would be mixed up."
        )


class Store(Protocol):
    """A store. Call from the asyncio thread. Every call may be repeated if it has failed.

    All calls raise `StoreAway` while the store cannot be used.
    """

    name: str
    """For messages, without a password."""

    identity: str
    """Random, made with the store. Two stores never have the same."""

    async def open(self, partitions: int) -> None:
        """Makes the tables if they are missing.

        Raises:
            OtherPartitionCount: the store has another number of partitions.
        """

    async def claims(self) -> dict[int, Claim]:
        """The claims of all partitions."""

    async def claim(self, member: str, epochs: Mapping[int, int]) -> dict[int, Claim]:
        """Claims partitions that are still at these epochs; returns those that succeeded."""

    async def write(self, writes: Sequence[Write]) -> set[int]:
        """Writes all of it in one transaction, except for partitions that others have claimed.

        Returns the partitions that were refused. It may contain hundreds of conversations.
        """

    async def get(self, users: Collection[str]) -> dict[str, bytes]:
        """The stored conversations of these users."""

    async def with_work(self, partition: int) -> list[Row]:
        """The conversations of a partition that have work."""

    async def after(self, partition: int, user: str, limit: int) -> list[Row]:
        """The next conversations of a partition, in the order of the users' names."""

    async def change_place(self, budget: str, change: Callable[[bytes | None], bytes]) -> None:
        """Changes the stored budget of a place, which nobody else changes meanwhile.

        `change` must be quick, and may be called more than once.
        """

    async def import_older(self, older: Iterable[Imported]) -> bool:
        """Writes all of it in one transaction, unless the store was used already: then False.

        What comes later replaces what came before.
        """

    async def scrub(self) -> None:
        """Removes the bytes of overwritten conversations, as far as the store can."""

    async def close(self) -> None:
        """Closes all connections."""
