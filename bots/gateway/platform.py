"""The gateway as a chat platform: a request on `prompts` is a question, its inbox gets the answer.

It must never publish anything to a subject that is not an inbox, nor a guest's answer to anybody
but a guest.
"""

import asyncio
from typing import Final

import nats.errors

from bots.gateway.client_kinds import CLIENTS, GUESTS
from bots.gateway.events import PLATFORM, is_guest, is_inbox
from bots.gateway.messages import Intake, send
from bots.platform import Gone, Later, Part
from bots.split_text import Length
from shared.bus import Bus
from shared.messages import Partial, Reply

POST_AGAIN_S: Final = 1.0


class Gateway:
    """Bridges plain requests to stored events; keeps no record of them."""

    name: str = PLATFORM
    parts_limit: int = 1
    text_limit_chars: int = 10_000_000
    """A reply fits one message, so one answer is one message."""
    text_length: Length = staticmethod(len)

    def __init__(self, bus: Bus, guests_bus: Bus) -> None:
        """Takes two connections: what guests send must not delay what others do."""
        self._bus = bus
        self._guests = Intake(guests_bus, GUESTS)
        self._clients = Intake(bus, CLIENTS)
        self._closed = asyncio.Event()
        self.listening = asyncio.Event()

    async def listen(self) -> None:
        """Takes requests until it is closed; returns when all that came are stored."""
        guests_too = asyncio.Event()
        async with asyncio.TaskGroup() as intakes:
            intakes.create_task(self._guests.run(self._closed, guests_too))
            await guests_too.wait()
            intakes.create_task(self._clients.run(self._closed, self.listening))

    def counts(self) -> tuple[int, int]:
        """Requests taken and refused since the start."""
        intakes = (self._clients, self._guests)
        return sum(i.requests for i in intakes), sum(i.refused for i in intakes)

    async def post(self, part: Part) -> str:
        """Publishes an answer to its asker's inbox, which is the receipt.

        Raises:
            Gone: the reply has no inbox.
            Later: NATS cannot be reached.
        """
        self._guests.unanswered.remove(part.reply.prompt_id)
        inbox = part.reply.address.get("inbox", "")
        if not is_inbox(inbox, guest=is_guest(part.reply.user)):
            raise Gone("the reply has no inbox to go to")
        text = part.reply.text if part.count == 1 and part.reply.text.strip() else part.text
        try:
            await send(self._bus, inbox, text, part.reply)
        except nats.errors.Error as error:
            raise Later("NATS does not take it now", POST_AGAIN_S) from error
        return inbox

    async def find_posted(self, part: Part) -> str | None:
        """None: an inbox cannot be asked, and an asker takes the first answer only."""
        del part
        return None

    async def show_partial(self, partial: Partial) -> None:
        """Nothing: a request has one answer."""

    async def withdraw(self, reply: Reply) -> None:
        """Nothing: what was sent is with the asker."""
        self._guests.unanswered.remove(reply.prompt_id)

    async def close(self) -> None:
        """Takes no more requests; returns at once, `listen` returns when all are stored."""
        self._closed.set()
