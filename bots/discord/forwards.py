"""Recent forwards: Discord sends the comment on a forward as a message of its own.

Pure. It must never keep more than a few messages, nor combine messages from different people or
channels.
"""

from typing import Final

from bots.discord.events import Received
from bots.discord.rich_message import forwards_of
from shared.recent import RecentMap

TOGETHER_MS: Final = 10_000
"""The comment follows at once; a later message is something else."""

KEPT: Final = 100
_TIME_SHIFT: Final = 22


class Forwards:
    """The latest forward of each person in each channel."""

    def __init__(self) -> None:
        self._latest: RecentMap[tuple[int, int], Received] = RecentMap(KEPT)

    def note(self, received: Received) -> None:
        """Remember a message that was not for the bot, if it is a forward."""
        key = _key(received)
        self._latest.pop(key, None)
        if forwards_of(received.raw):
            self._latest[key] = received

    def commented_by(self, received: Received) -> Received | None:
        """The forward that its author comments on with this message."""
        found = self._latest.pop(_key(received), None)
        if found is None:
            return None
        apart_ms = (received.message.id >> _TIME_SHIFT) - (found.message.id >> _TIME_SHIFT)
        return found if 0 <= apart_ms <= TOGETHER_MS else None


def _key(received: Received) -> tuple[int, int]:
    return received.message.channel.id, received.message.author.id
