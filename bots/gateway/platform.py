"""The gateway as a chat platform: a request is a question, and its inbox receives the answer.

It must never publish to a subject that is not an inbox, nor send a guest's answer to anyone but a
guest.
"""

import asyncio
from typing import Final

import nats.errors

from bots.gateway.client_kinds import CLIENTS, GUESTS
from bots.gateway.discovery import answer_discovery
from bots.gateway.events import PLATFORM, is_guest, is_inbox
from bots.gateway.messages import QUEUE_GROUP, Requests, send
from bots.platform import Gone, Later, Part
from bots.split_text import Length
from shared import names
from shared.bus import Bus
from shared.messages import Address
from shared.replies import Partial, Reply

RETRY_S: Final = 1.0


class Gateway:
    """Turns plain requests into stored events; keeps no record of them."""

    name: str = PLATFORM
    where: str = f"takes NATS requests on `{names.GATEWAY_SUBJECT}`"
    parts_limit: int = 1
    text_limit_chars: int = 10_000_000
    """No limit: a reply fits into one NATS message, so an answer is always one part."""
    text_length: Length = staticmethod(len)

    def __init__(self, bus: Bus, guests_bus: Bus) -> None:
        """Takes two connections, so that guests cannot delay other clients; closes `guests_bus`."""
        self._bus = bus
        self._guests_bus = guests_bus
        self._guests = Requests(guests_bus, GUESTS)
        self._clients = Requests(bus, CLIENTS)
        self._closed = asyncio.Event()
        self.listening = asyncio.Event()

    async def listen(self) -> None:
        """Takes requests until it is closed; returns once all that arrived are stored."""
        await answer_discovery(self._bus, QUEUE_GROUP, self.counts)
        guests_listening = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._guests.run(self._closed, guests_listening))
                await guests_listening.wait()
                both.create_task(self._clients.run(self._closed, self.listening))
        finally:
            await self._guests_bus.close()

    def counts(self) -> tuple[int, int]:
        """Requests received and refused since the start."""
        both = (self._clients, self._guests)
        return sum(r.received for r in both), sum(r.refused for r in both)

    def health(self) -> tuple[bool, str]:
        """Whether it takes requests now; if not, the reason in plain words."""
        if self._guests_bus.trouble:
            return False, f"guests: {self._guests_bus.trouble}"
        return (True, "ok") if self.listening.is_set() else (False, "not listening yet")

    async def post(self, part: Part) -> str:
        """Publishes an answer to the inbox of its request; the inbox is the receipt.

        Raises:
            Gone: the reply has no inbox.
            Later: NATS cannot be reached.
        """
        self._guests.open_questions.remove(part.reply.prompt_id)
        inbox = part.reply.address.get("inbox", "")
        if not is_inbox(inbox, guest=is_guest(part.reply.user)):
            raise Gone("the reply has no inbox to go to")
        text = part.reply.text if part.count == 1 and part.reply.text.strip() else part.text
        try:
            await send(self._bus, inbox, text, part.reply)
        except nats.errors.Error as error:
            raise Later("NATS does not take it now", RETRY_S) from error
        return inbox

    async def find_posted(self, part: Part) -> str | None:
        """Always None: an inbox cannot be asked, and a client ignores a second answer."""
        del part
        return None

    async def show_partial(self, partial: Partial) -> None:
        """Does nothing: a request has one answer."""

    async def withdraw(self, reply: Reply) -> None:
        """Removes nothing: an answer that was sent cannot be taken back."""
        self._guests.open_questions.remove(reply.prompt_id)

    def asked_elsewhere(self, address: Address) -> None:
        """Does nothing: each gateway limits the open questions that it stored itself."""

    def answered_elsewhere(self, prompt_id: str) -> None:
        """Another gateway answers a question that this one may have stored."""
        self._guests.open_questions.remove(prompt_id)

    async def close(self) -> None:
        """Takes no more requests. Returns at once; `listen` returns when all are stored."""
        self._closed.set()
