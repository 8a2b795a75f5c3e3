"""One partition in this process, and the news of it for the worker. Values only."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from dataflow.heard import Arrived
from dataflow.partitions.reader import Read
from dataflow.store.store import Row, Write
from shared.follow import Position


@dataclass(slots=True, eq=False)
class HeldPartition:
    """One partition from its claim to its end. Claimed again, it is another object.

    The worker's thread owns it, except for the reader, its events, `until_written`
    and `is_over`.
    """

    number: int
    epoch: int
    position: Position
    """Of the last event that was taken."""

    stored: Position
    """The position that the store has."""

    events: deque[Read] = field(default_factory=deque)
    reader: asyncio.Task[None] | None = None
    until_written: dict[str, list[asyncio.Future[bool]]] = field(default_factory=dict)
    """Those who wait for the next write of a user's conversation."""

    is_over: bool = False
    """Set by the asyncio thread: another process has it, or it is released."""

    users: set[str] = field(default_factory=set)
    """Those whose conversations are in memory."""

    loading: dict[str, list[Arrived]] = field(default_factory=dict)
    """Events whose user's conversation is being read from the store."""

    changed: set[str] = field(default_factory=set)
    """Users whose conversations have to be written."""

    unsaved: frozenset[str] = frozenset()
    """Users whose conversations are being written."""

    is_due: bool = False
    """It is to be written as soon as no event waits for a conversation."""

    is_given: bool = False
    """Its next write releases it; no more events are taken."""

    is_leaving: bool = False
    """That write has begun: what its users hear from now on is for the next holder."""


@dataclass(frozen=True, slots=True)
class Gained:
    """The partition is held. `answered_elsewhere`: questions that its last holder still answers."""

    held: HeldPartition
    with_work: list[Row]
    answered_elsewhere: frozenset[str]


@dataclass(frozen=True, slots=True)
class Given:
    """The partition is to be released."""

    held: HeldPartition


@dataclass(frozen=True, slots=True)
class Over:
    """Another process has the partition."""

    held: HeldPartition


@dataclass(frozen=True, slots=True)
class Found:
    """The stored conversations of these users, as far as they have one."""

    held: HeldPartition
    users: list[str]
    saved: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class MayBeTooOld:
    """The stored conversations of these users have turns that may be too old."""

    held: HeldPartition
    users: list[str]


@dataclass(frozen=True, slots=True)
class Written:
    """A write has ended. Partitions that were lost or released meanwhile are over."""

    writes: list[tuple[HeldPartition, Write]]


OfPartition = Gained | Given | Over | Found | MayBeTooOld
News = OfPartition | Written
