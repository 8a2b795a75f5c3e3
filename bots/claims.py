"""Which process of a platform posts a part: the one whose claim is in the receipts.

A claim is created once, and changes its owner only if that does not answer. A process that was
frozen or cut off must ask whether its claims are still its own before it goes on.
"""

from typing import Final

from nats.aio.msg import Msg

from bots.peers import Peers, giver_of
from shared import metrics
from shared.log import logger
from shared.receipts import Claim, Held, Posted, Receipts
from shared.recent import RecentMap

CLAIMS_KEPT: Final = 8192
"""Claims to remember as certainly our own; others are looked up before each call."""


class TakenOver(Exception):
    """Another process posts this reply, and acknowledges it: do nothing more with it."""


class Claims:
    """The claims of one process; without `peers`, there is no other one."""

    def __init__(self, receipts: Receipts, platform: str, peers: Peers | None) -> None:
        self._receipts = receipts
        self._platform = platform
        self._peers = peers
        self._since: RecentMap[str, int] = RecentMap(CLAIMS_KEPT)

    async def claim(self, key: str) -> Claim | Posted | Held:
        """Claims a part; returns what was known about it."""
        gaps = self._gaps
        found = await self._receipts.claim(key)
        if isinstance(found, Claim):
            self._since[key] = gaps
        return found

    async def claim_or_hand_over(self, key: str, message: Msg) -> Claim | Posted:
        """Claims a part of the reply in `message`, which is another one's if that has begun it.

        If that one has given it away, its claim is taken, unless it was renewed since.

        Raises:
            TakenOver: the other process lives, and has the reply now.
        """
        found = await self.claim(key)
        given_by = giver_of(message)
        while isinstance(found, Held):
            if self._peers is None:
                return Claim.TRIED
            is_given, given_by = found.owner == given_by, ""
            if not is_given and await self._peers.hand_over(found.owner, message):
                metrics.handed_over.labels(self._platform).inc()
                raise TakenOver
            gaps = self._gaps
            found = await self._receipts.take_over(key, found)
            if isinstance(found, Claim):
                self._since[key] = gaps
                if not is_given:
                    logger().warning("taken over from a process that does not answer", key=key)
                metrics.taken_over.labels(self._platform).inc()
        return found

    def doubt(self) -> None:
        """Looks up each claim before it acts on it again: some may be another process's now."""
        self._since.clear()

    async def is_mine(self, key: str) -> bool:
        """Whether this process may act on its claim. Waits until NATS can say so."""
        if self._peers is None:
            return True
        pulse = self._peers.pulse
        await pulse.until_fresh()
        gaps = pulse.gaps
        if self._since.get(key) == gaps:
            return True
        mine = await self._receipts.is_mine(key)
        if mine:
            self._since[key] = gaps
        else:
            metrics.duplicates_prevented.labels(self._platform, "part").inc()
        return mine

    @property
    def _gaps(self) -> int:
        return self._peers.pulse.gaps if self._peers is not None else 0
