"""The other processes of the same platform: gives replies to them, and tells them news.

Nothing here decides what is posted; the claims do (`bots/claims.py`). News may be lost, so it must
never carry what somebody said.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

import nats.errors
from nats.aio.msg import Msg
from pydantic import BaseModel, ValidationError

from bots.platform import AmongPeers
from shared import names
from shared.bus import Bus
from shared.log import logger
from shared.messages import Address
from shared.pulse import Pulse

SILENT_S: Final = 4.0
"""A process that does not answer for this long is dead, frozen or cut off.

Longer than `pulse.FRESH_S` by the time that a platform may take for a call in progress: by then, a
frozen or cut off process begins no further call.
"""

PULLS_EXPIRE_S: Final = 2.0
"""The server goes on delivering replies to a process that is gone for this long.

Each of them is shown by another process only after the acknowledgement wait.
"""

_SUBJECT: Final = "Threadwax-Subject"
_ACK: Final = "Threadwax-Ack"
"""The headers of a reply that is handed over: its subject, and where it is acknowledged."""

_NOBODY: Final = "503"

NewsKind = Literal["asked", "showing", "shown"]


class News(BaseModel):
    """What one process tells the others of its platform.

    `asked`: it has stored a question with this `address`. `showing`: it begins to post the reply to
    `prompt_id`. `shown`: that reply has all its receipts.
    """

    sender: str
    kind: NewsKind
    prompt_id: str
    address: Address = {}


def pass_on(news: News, platform: object) -> None:
    """Tells a platform what concerns it, if it wants to know."""
    if not isinstance(platform, AmongPeers):
        return
    if news.kind == "asked":
        platform.asked_elsewhere(news.address)
    elif news.kind == "showing":
        platform.answered_elsewhere(news.prompt_id)


class Peers:
    """This process among those of its platform. `me` names it, and is never used again."""

    def __init__(self, bus: Bus, platform: str) -> None:
        self.me = secrets.token_hex(8)
        self.pulse = Pulse(bus, names.peer_subject(platform, self.me, "beat"))
        self._bus = bus
        self._platform = platform
        self._answers: dict[str, asyncio.Future[bool]] = {}

    async def run(
        self, take: Callable[[Msg], Awaitable[None]], hear: Callable[[News], None]
    ) -> None:
        """Takes replies that others hand over, and hears their news, until it is cancelled."""

        async def taken(message: Msg) -> None:
            if (reply := self._handed_over(message)) is None:
                return
            await take(reply)
            await self._publish(message.reply, b"")

        async def answered(message: Msg) -> None:
            nonce = message.subject.rpartition(".")[2]
            if (waiting := self._answers.get(nonce)) is not None and not waiting.done():
                waiting.set_result((message.headers or {}).get("Status") != _NOBODY)

        async def heard(message: Msg) -> None:
            with contextlib.suppress(ValidationError):
                news = News.model_validate_json(message.data)
                if news.sender != self.me:
                    hear(news)

        subscriptions: list[Any] = []
        try:
            for subject, call in (
                (self._own("reply"), taken),
                (self._own("answer", "*"), answered),
                (names.peer_notes(self._platform), heard),
            ):
                subscriptions.append(await self._bus.watch(subject, call))
            await self.pulse.run()
        finally:
            for subscription in subscriptions:
                with contextlib.suppress(nats.errors.Error):
                    await subscription.unsubscribe()

    async def hand_over(self, peer: str, message: Msg) -> bool:
        """Gives a delivered reply to another process; False if that does not answer.

        The other one then shows and acknowledges it. If it dies, the server delivers it again.
        """
        nonce = secrets.token_hex(8)
        self._answers[nonce] = asyncio.get_running_loop().create_future()
        headers = {_SUBJECT: message.subject, _ACK: message.reply}
        try:
            await self._publish(
                names.peer_subject(self._platform, peer, "reply"),
                message.data,
                reply=self._own("answer", nonce),
                headers=headers,
            )
            async with asyncio.timeout(SILENT_S):
                return await self._answers[nonce]
        except TimeoutError:
            return False
        finally:
            del self._answers[nonce]

    async def tell(self, kind: NewsKind, prompt_id: str, address: Address | None = None) -> None:
        """Tells the others news. Best effort, and never waits for them."""
        news = News(sender=self.me, kind=kind, prompt_id=prompt_id, address=address or {})
        await self._publish(names.peer_notes(self._platform), news.model_dump_json().encode())

    def _handed_over(self, message: Msg) -> Msg | None:
        """The reply as the server delivered it to the other process."""
        headers = message.headers or {}
        subject, ack = headers.get(_SUBJECT, ""), headers.get(_ACK, "")
        own = names.replies_to_platform(self._platform).removesuffix(">")
        if not subject.startswith(own) or not ack.startswith(names.ack_prefix(names.REPLIES)):
            logger().error("not a reply that was handed over", subject=subject[:100])
            return None
        return Msg(self._bus.client, subject, ack, message.data)

    def _own(self, *rest: str) -> str:
        return names.peer_subject(self._platform, self.me, *rest)

    async def _publish(
        self, subject: str, data: bytes, *, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        with contextlib.suppress(nats.errors.Error):
            await self._bus.client.publish(subject, data, reply=reply, headers=headers)
