"""Gives replies to another process if the platform does not answer this one.

A process can be cut off from its platform while NATS still delivers replies to it. It must never
give a reply away during a call to the platform, nor act on it afterwards.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Protocol, runtime_checkable

from nats.aio.msg import Msg

from bots.claims import Claims, TakenOver
from bots.peers import Peers
from bots.platform import ChatPlatform, Later
from shared import metrics
from shared.log import logger
from shared.pulse import now_s

UNREACHED_S: Final = 5.0
"""After this long without an answer of the platform, a reply is given away."""

ASK_EVERY_S: Final = 5.0
"""How often a process then asks the platform. Until it answers, the process gives all its replies
away, and shows no previews."""


@runtime_checkable
class Asked(Protocol):
    """A platform that can be asked for a sign of life."""

    async def reaches(self) -> bool:
        """Whether the platform answers this process now. Returns within a few seconds."""


class Giving:
    """Whether the platform answers this process, and what it does with its replies if not."""

    def __init__(
        self,
        platform: ChatPlatform,
        claims: Claims,
        peers: Peers | None,
        in_progress: Mapping[str, Msg],
    ) -> None:
        """`in_progress`: the replies of this process by prompt id, as they were delivered."""
        self._platform = platform
        self._claims = claims
        self._peers = peers
        self._in_progress = in_progress
        self._asking: asyncio.Task[None] | None = None

    def reaches(self) -> bool:
        """Whether the platform answers this process, as far as it knows."""
        return self._asking is None

    def answered(self) -> None:
        """The platform has answered."""
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

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
        if self._peers is None:
            return
        if self._asking is None and isinstance(self._platform, Asked):
            self._asking = asyncio.create_task(self._until_answered(self._platform))
        await self._give(prompt_id)

    async def _until_answered(self, platform: Asked) -> None:
        while True:
            await asyncio.sleep(ASK_EVERY_S)
            if await platform.reaches():
                self._asking = None
                return

    async def _give(self, prompt_id: str) -> None:
        message = self._in_progress.get(prompt_id)
        if self._peers is None or message is None:
            return
        peer = await self._peers.find_able()
        if peer is None:
            self.answered()  # nobody else reaches it, so this process goes on trying
            return
        self._claims.doubt()
        if await self._peers.hand_over(peer, message, given=True):
            logger().warning("given away: the platform does not answer here", prompt=prompt_id)
            metrics.handed_over.labels(self._platform.name).inc()
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
