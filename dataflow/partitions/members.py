"""Which members of the dataflow are alive, by the beats that each of them sends over NATS.

No clock is compared with another one's: silence is counted in own beats that came back, so that
nobody grows old while NATS is away. Pure.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

DEAD_AFTER: Final = 6
"""Beats of its own that a member hears without hearing from another one: 3 s."""


@dataclass(slots=True)
class Members:
    """Who was heard, and when, counted in beats."""

    me: str
    beats: int = 0
    heard: dict[str, int] = field(default_factory=dict)
    leaving: set[str] = field(default_factory=set)
    """Members that take no partitions any more, and may still be answering."""

    def hear(self, member: str, *, leaving: bool) -> bool:
        """Notes a beat; returns whether others have to take over, or share, because of it."""
        is_news = not self.is_heard(member) or (leaving and member not in self.leaving)
        if leaving:
            self.leaving.add(member)
        self.heard[member] = self.beats
        if member == self.me:
            self.beats += 1
        return is_news

    def expect(self, member: str) -> None:
        """Gives a member that holds a partition its time to be heard."""
        self.heard.setdefault(member, self.beats)

    def bury(self, member: str) -> None:
        """Notes that a member is known to be dead."""
        self.heard[member] = self.beats - DEAD_AFTER

    def is_heard(self, member: str) -> bool:
        """Whether a member was heard lately, even if it is leaving."""
        at = self.heard.get(member)
        return at is not None and self.beats - at < DEAD_AFTER

    def live(self) -> list[str]:
        """The members that can hold partitions, in one order everywhere."""
        return sorted(m for m in self.heard if self.is_heard(m) and m not in self.leaving)

    def drop_dead(self, but: Collection[str]) -> None:
        """Forgets members that are dead and hold nothing."""
        for member in [m for m in self.heard if not self.is_heard(m) and m not in but]:
            del self.heard[member]
            self.leaving.discard(member)


def quota(partitions: int, live: list[str], member: str) -> int:
    """How many partitions a live member should hold: as many as the others, or one more."""
    share, rest = divmod(partitions, len(live))
    return share + (live.index(member) < rest)
