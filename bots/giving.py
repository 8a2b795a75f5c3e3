"""Gives replies to another process if the platform does not answer this one.

A process can be cut off from its platform while NATS still delivers replies to it. It must never
give a reply away during a call to the platform, nor act on it afterwards.
"""

from collections.abc import Callable, Mapping
from typing import Final

from nats.aio.msg import Msg

from bots.claims import Claims, TakenOver
from bots.peers import Peers
from bots.platform import Later
from shared import metrics
from shared.log import logger
from shared.pulse import now_s

UNREACHED_S: Final = 5.0
"""After this long without an answer of the platform, a reply is given away."""

FIRST_REST_S: Final = 30.0
LAST_REST_S: Final = 600.0
"""For how long a process then gives all its replies away, and shows no previews. Twice as long each
time, until the platform answers."""


class Giving:
    """Whether the platform answers this process, and what it does with its replies if not."""

    def __init__(
        self,
        platform: str,
        claims: Claims,
        peers: Peers | None,
        in_progress: Mapping[str, Msg],
        now: Callable[[], float] = now_s,
    ) -> None:
        """`in_progress`: the replies of this process by prompt id, as they were delivered."""
        self._platform = platform
        self._claims = claims
        self._peers = peers
        self._in_progress = in_progress
        self._now = now
        self._rest_s = 0.0
        self._rests_until = 0.0

    def reaches(self) -> bool:
        """Whether the platform answers this process, as far as it knows."""
        return self._now() >= self._rests_until

    def answered(self) -> None:
        """The platform has answered."""
        self._rest_s = self._rests_until = 0.0

    async def unless_reached(self, prompt_id: str) -> None:
        """Gives a reply away if the platform lately did not answer.

        Raises:
            TakenOver: another process has it.
        """
        if not self.reaches():
            await self._give(prompt_id)

    async def unanswered(self, prompt_id: str) -> None:
        """The platform has not answered for `UNREACHED_S`: gives a reply away that it did not take.

        Raises:
            TakenOver: another process has it.
        """
        self._rest_s = min(max(2 * self._rest_s, FIRST_REST_S), LAST_REST_S)
        self._rests_until = self._now() + self._rest_s
        await self._give(prompt_id)

    async def _give(self, prompt_id: str) -> None:
        message = self._in_progress.get(prompt_id)
        if self._peers is None or message is None:
            return
        peer = await self._peers.find_able()
        if peer is None:
            self._rests_until = 0.0  # nobody else reaches it, either
            return
        self._claims.doubt()
        if await self._peers.hand_over(peer, message, given=True):
            logger().warning("given away: the platform does not answer here", prompt=prompt_id)
            metrics.handed_over.labels(self._platform).inc()
            raise TakenOver


class Unanswered:
    """The tries of one part that got no answer."""

    def __init__(self, now: Callable[[], float] = now_s) -> None:
        self._now = now
        self._since = now()

    def is_long(self, later: Later) -> bool:
        """Whether the platform has not answered for `UNREACHED_S`; begins again if so."""
        if later.unanswered and self._now() - self._since < UNREACHED_S:
            return False
        self._since = self._now()
        return later.unanswered
