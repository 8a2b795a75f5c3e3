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
from shared.pulse import Pulse, now_s
from shared.traces.ids import HEADER

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

_GIVER: Final = "Threadwax-Giver"
"""The header of a reply that is given away: whose claims on it are free."""

ABLE_WITHIN_S: Final = 1.0
"""How long a process that looks for another one waits for the first that offers itself."""

_NOBODY: Final = "503"

HERE_EVERY_S: Final = 10.0
HEARD_S: Final = 30.0
"""Another process that was heard within this time before an outage is probably still there."""

NewsKind = Literal["asked", "showing", "shown", "wanted", "here"]


class News(BaseModel):
    """What one process tells the others of its platform.

    `asked`: it has stored a question with this `address`. `showing`: it begins to post the reply to
    `prompt_id`. `shown`: that reply has all its receipts. `wanted`: it does not reach the platform,
    and looks for a process that does. `here`: nothing new.
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


def giver_of(message: Msg) -> str:
    """The process that has given this reply away; empty if the server delivered it."""
    return (message.headers or {}).get(_GIVER, "")


class Peers:
    """This process among those of its platform. `me` names it, and is never used again."""

    def __init__(self, bus: Bus, platform: str) -> None:
        self.me = secrets.token_hex(8)
        self.pulse = Pulse(bus, names.peer_subject(platform, self.me, "beat"))
        self._bus = bus
        self._platform = platform
        self.heard_at = float("-inf")
        """When another process was last heard, as in `pulse.now_s`."""
        self._answers: dict[str, asyncio.Future[str | None]] = {}

    async def run(
        self,
        take: Callable[[Msg], Awaitable[None]],
        hear: Callable[[News], None],
        is_able: Callable[[], bool],
    ) -> None:
        """Takes replies that others hand over, and hears their news, until it is cancelled.

        `is_able`: whether the platform answers this process.
        """

        async def taken(message: Msg) -> None:
            if (reply := self._handed_over(message)) is None:
                return
            await take(reply)
            await self._publish(message.reply, b"")

        async def heard(message: Msg) -> None:
            with contextlib.suppress(ValidationError):
                news = News.model_validate_json(message.data)
                if news.sender == self.me:
                    return
                self.heard_at = now_s()
                if news.kind not in {"wanted", "here"}:
                    hear(news)
                elif news.kind == "wanted" and is_able():
                    await self._publish(message.reply, self.me.encode())

        subscriptions: list[Any] = []
        try:
            for subject, call in (
                (self._own("reply"), taken),
                (self._own("answer", "*"), self._answered),
                (names.peer_notes(self._platform), heard),
            ):
                subscriptions.append(await self._bus.watch(subject, call))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.pulse.run())
                tasks.create_task(self._say_here())
        finally:
            for subscription in subscriptions:
                with contextlib.suppress(nats.errors.Error):
                    await subscription.unsubscribe()

    async def hand_over(self, peer: str, message: Msg, *, given: bool = False) -> bool:
        """Gives a delivered reply to another process; False if that does not answer.

        The other one then shows and acknowledges it. If it dies, the server delivers it again.
        `given`: it may take this process's claims.
        """
        headers = {_SUBJECT: message.subject, _ACK: message.reply}
        if given:
            headers[_GIVER] = self.me
        if cause := (message.headers or {}).get(HEADER):
            headers[HEADER] = cause
        subject = names.peer_subject(self._platform, peer, "reply")
        answer = await self._asked(subject, message.data, headers, within_s=SILENT_S)
        return answer is not None

    async def find_able(self) -> str | None:
        """Another process that the platform answers; None if none says so."""
        news = News(sender=self.me, kind="wanted", prompt_id="")
        subject = names.peer_notes(self._platform)
        data = news.model_dump_json().encode()
        return await self._asked(subject, data, within_s=ABLE_WITHIN_S)

    async def _asked(
        self, subject: str, data: bytes, headers: dict[str, str] | None = None, *, within_s: float
    ) -> str | None:
        """The first answer of another process; None if there is none in time."""
        nonce = secrets.token_hex(8)
        self._answers[nonce] = asyncio.get_running_loop().create_future()
        try:
            await self._publish(subject, data, reply=self._own("answer", nonce), headers=headers)
            async with asyncio.timeout(within_s):
                return await self._answers[nonce]
        except TimeoutError:
            return None
        finally:
            del self._answers[nonce]

    async def tell(self, kind: NewsKind, prompt_id: str, address: Address | None = None) -> None:
        """Tells the others news. Best effort, and never waits for them."""
        news = News(sender=self.me, kind=kind, prompt_id=prompt_id, address=address or {})
        await self._publish(names.peer_notes(self._platform), news.model_dump_json().encode())

    async def _say_here(self) -> None:
        while True:
            if self._bus.connected:
                await self.tell("here", "")
            await asyncio.sleep(HERE_EVERY_S)

    async def _answered(self, message: Msg) -> None:
        nonce = message.subject.rpartition(".")[2]
        if (waiting := self._answers.get(nonce)) is not None and not waiting.done():
            nobody = (message.headers or {}).get("Status") == _NOBODY
            waiting.set_result(None if nobody else message.data.decode(errors="replace"))

    def _handed_over(self, message: Msg) -> Msg | None:
        """The reply as the server delivered it to the other process."""
        headers = message.headers or {}
        subject, ack = headers.get(_SUBJECT, ""), headers.get(_ACK, "")
        own = names.replies_to_platform(self._platform).removesuffix(">")
        if not subject.startswith(own) or not ack.startswith(names.ack_prefix(names.REPLIES)):
            logger().error("not a reply that was handed over", subject=subject[:100])
            return None
        kept: dict[str, str] = {name: headers[name] for name in (_GIVER, HEADER) if name in headers}
        return Msg(self._bus.client, subject, ack, message.data, kept or None)

    def _own(self, *rest: str) -> str:
        return names.peer_subject(self._platform, self.me, *rest)

    async def _publish(
        self, subject: str, data: bytes, *, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        with contextlib.suppress(nats.errors.Error):
            await self._bus.client.publish(subject, data, reply=reply, headers=headers)
