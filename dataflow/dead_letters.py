"""Replays dead letters: stores a question that could not be read once more, for this version.

It must never store anything but what was sent on the same subject before, nor store it twice.
"""

import json
from typing import Any, Final

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg

from shared import names
from shared.bus import Bus
from shared.dead_letters import QUEUE, can_be_replayed
from shared.log import logger

REPLAYED: Final = "Replayed. If it still cannot be read, it comes back as a new dead letter."
GONE: Final = "This dead letter is gone."
ONLY_QUESTIONS: Final = "Only what people said or did can be replayed, not an answer."
DAMAGED: Final = "Not replayed: only a part of it was kept, or it never was an event."
NOT_NOW: Final = "Not replayed: NATS did not do it. Try again later."


class DeadLetterService:
    """Call from the asyncio thread."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def start(self) -> None:
        """Begins to answer; goes on after a lost connection."""
        await self._bus.client.subscribe(names.REPLAY_SUBJECT, queue=QUEUE, cb=self._take)

    async def _take(self, message: Msg) -> None:
        try:
            text = await self._replay(int(message.data))
        except ValueError:
            text = GONE
        except (nats.errors.Error, nats.js.errors.APIError) as error:
            logger().warning("a dead letter is not replayed", why=type(error).__name__)
            text = NOT_NOW
        if message.reply:
            await self._bus.client.publish(message.reply, text.encode())

    async def _replay(self, sequence: int) -> str:
        js = self._bus.js
        try:
            found = await js.get_msg(names.DLQ, sequence)
        except nats.js.errors.NotFoundError:
            return GONE
        subject = found.subject or ""
        if not can_be_replayed(subject):
            return ONLY_QUESTIONS
        user = names.user_of_stored(subject.removeprefix(names.dead_letter_subject("")))
        if (event := _event_in(found.data or b"")) is None:
            return DAMAGED
        # The sender may have got a refusal under the first id, and an id has one reply.
        event["id"] = f"{event['id']}-replay-{sequence}"
        headers = {"Nats-Msg-Id": event["id"]}
        await js.publish(names.prompt_subject(user), json.dumps(event).encode(), headers=headers)
        await js.delete_msg(names.DLQ, sequence)
        logger().info("replayed a dead letter", subject=subject, sequence=sequence)
        return REPLAYED


def _event_in(data: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(data)
    except ValueError:
        return None
    is_event = isinstance(event, dict) and isinstance(event.get("id"), str)
    return event if is_event else None
