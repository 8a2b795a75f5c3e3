"""Reads a stream to its end, and what one person said from PROMPTS and REPLIES.

Reads only. It must never hold more than one person's messages.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from nats.aio.msg import Msg

from ops.rehearse.rebuild import Logged, in_order, was_asked_of_model
from shared import names
from shared.bus import Bus, journaled_in
from shared.event_parsing import Unreadable, event_of
from shared.follow import Position, follow
from shared.tasks import end


@dataclass(frozen=True, slots=True)
class Chosen:
    """A question that is to be asked again."""

    user: str
    prompt_id: str


async def newest_answered(bus: Bus, count: int, without: Iterable[str]) -> list[Chosen]:
    """The last questions whose model calls reached their end, oldest first.

    `without`: people who are left out.
    """
    left_out = frozenset(without)
    newest: deque[Chosen] = deque(maxlen=count)

    async def take(message: Msg) -> None:
        journaled = journaled_in(message.subject, message.data)
        if journaled is None:
            return
        reply = journaled.reply
        if reply.user not in left_out and was_asked_of_model(reply):
            newest.append(Chosen(reply.user, reply.prompt_id))

    await read_to_end(bus, names.REPLIES, names.REPLY_SUBJECTS, take)
    return list(newest)


async def log_of(bus: Bus, user: str) -> list[Logged]:
    """Everything that one person did and was answered, as far as the streams have it, in order."""
    log: list[Logged] = []

    async def take_event(message: Msg) -> None:
        try:
            event = event_of(message.data, user)
        except Unreadable:
            return  # the dataflow did not read it either
        log.append(Logged(message.metadata.timestamp, event))

    async def take_reply(message: Msg) -> None:
        if (journaled := journaled_in(message.subject, message.data)) is not None:
            log.append(Logged(message.metadata.timestamp, journaled))

    await read_to_end(bus, names.PROMPTS, names.stored_prompts_of(user), take_event)
    await read_to_end(bus, names.REPLIES, names.replies_to_user(user), take_reply)
    return in_order(log)


async def read_to_end(
    bus: Bus, stream: str, filter_subject: str, take: Callable[[Msg], Awaitable[None]]
) -> None:
    """Passes on every message that the stream has now."""
    ended = asyncio.Event()

    def on_pending(count: int) -> None:
        if not count:
            ended.set()

    async def deliver(message: Msg) -> None:
        if not ended.is_set():
            await take(message)
        on_pending(message.metadata.num_pending)

    reading = asyncio.create_task(
        follow(bus, stream, filter_subject, after=Position(), deliver=deliver, pending=on_pending)
    )
    waiting = asyncio.create_task(ended.wait())
    try:
        await asyncio.wait([reading, waiting], return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            await reading  # it only ends with an exception
    finally:
        await end(reading, waiting)
