"""Replays dead letters: stores an event for this version, or an answer for its adapter, once more.

It must never store anything but what was sent on the same subject before, store it twice, or show
an answer of which people can see a part.
"""

import json
import re
from typing import Any, Final

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from pydantic import ValidationError

from shared import names, user_names
from shared.bus import ANSWERED_ALREADY, Bus
from shared.dead_letters import OUTCOME, QUEUE, Outcome, Replay, why_not
from shared.log import logger
from shared.replies import Reply

REPLAYED: Final = Replay(
    Outcome.REPLAYED, "Replayed. If it still cannot be read, it comes back as a new dead letter."
)
SHOWN_AGAIN: Final = Replay(
    Outcome.REPLAYED,
    "Replayed: its adapter shows the answer. If the platform refuses it again, it comes back as a "
    "new dead letter.",
)
GONE: Final = Replay(
    Outcome.GONE, "This dead letter is gone: it was replayed or dropped before, or has expired."
)
DAMAGED: Final = Replay(
    Outcome.REFUSED,
    "Cannot be replayed: only its beginning was kept, or it never was an event. Ask the person to "
    "write again.",
)
OUT_OF_DATE: Final = Replay(
    Outcome.REFUSED,
    "Cannot be replayed: it was meant for the moment when it was sent, and would now undo what the "
    "person did since.",
)
UNREADABLE: Final = Replay(
    Outcome.REFUSED,
    "Cannot be replayed: this version cannot read the answer. Upgrade the dataflow first, unless "
    "only its beginning was kept.",
)
PARTLY_SHOWN: Final = Replay(
    Outcome.REFUSED,
    "Cannot be replayed: people can see the beginning of this answer, and would see it twice.",
)
NOTHING_TO_SHOW: Final = Replay(
    Outcome.REFUSED, "Cannot be replayed: it has no text to show, because it was withdrawn."
)
NOT_NOW: Final = Replay(Outcome.LATER, "Not replayed: NATS does not do it now. Try again later.")

MOMENTARY: Final = frozenset({"stop", "reset", "configure", "linked", "unlinked"})
"""Kinds of events that act on whatever is there when they arrive."""

_AGAIN: Final = re.compile(r"-replay-\d+$")
_ID_LIMIT_CHARS: Final = 180  # leaves room for the suffix in the 200 of a `PromptId`


class DeadLetterService:
    """Call from the asyncio thread."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def start(self) -> None:
        """Begins to answer; goes on after a lost connection."""
        await self._bus.client.subscribe(names.REPLAY_SUBJECT, queue=QUEUE, cb=self._take)

    async def _take(self, message: Msg) -> None:
        try:
            replay = await self._replay(int(message.data))
        except ValueError:
            replay = GONE
        except (nats.errors.Error, TimeoutError) as error:
            logger().warning("a dead letter is not replayed", why=type(error).__name__)
            replay = NOT_NOW
        if message.reply:
            await self._bus.client.publish(
                message.reply, replay.text.encode(), headers={OUTCOME: replay.outcome.value}
            )

    async def _replay(self, sequence: int) -> Replay:
        try:
            found = await self._bus.js.get_msg(names.DLQ, sequence)
        except nats.js.errors.NotFoundError:
            return GONE
        subject, data = found.subject or "", found.data or b""
        if (reason := why_not(subject)) is not None:
            return Replay(Outcome.REFUSED, reason)
        if subject.startswith(names.DEAD_REPLIES):
            replay = await self._show_again(subject, data, sequence)
        else:
            replay = await self._read_again(subject, data, sequence)
        if replay.outcome is Outcome.REPLAYED:
            await self._bus.js.delete_msg(names.DLQ, sequence)
            logger().info("replayed a dead letter", subject=subject, sequence=sequence)
        return replay

    async def _read_again(self, subject: str, data: bytes, sequence: int) -> Replay:
        """Stores an event."""
        if (event := _event_in(data)) is None:
            return DAMAGED
        if event.get("kind") in MOMENTARY:
            return OUT_OF_DATE
        # The sender may have got a refusal under the first id, and an id has one reply.
        event["id"] = _new_id(event["id"], sequence)
        await self._bus.js.publish(
            names.prompt_subject(names.user_of_dead_letter(subject)),
            json.dumps(event).encode(),
            headers={"Nats-Msg-Id": event["id"]},
        )
        return REPLAYED

    async def _show_again(self, subject: str, data: bytes, sequence: int) -> Replay:
        """Stores an answer under another id: under the first one, the relay is done with it."""
        try:
            reply = Reply.model_validate_json(data)
        except ValidationError:
            return UNREADABLE
        # An adapter, which can write dead letters on its own subjects, must not speak for another.
        journaled = names.reply_subject(reply.user, reply.prompt_id)
        if names.dead_letter_subject(journaled) != subject:
            return DAMAGED
        if reply.outcome == "withdrawn" or not reply.text.strip():
            return NOTHING_TO_SHOW
        if await self._is_partly_shown(reply):
            return PARTLY_SHOWN
        again = reply.model_copy(
            update={
                "prompt_id": _new_id(reply.prompt_id, sequence),
                "after": None,
                # What the first one used is recorded already.
                "usage": None, "estimated_usage": None, "background": (), "timings": None,
            }
        )  # fmt: skip
        try:
            await self._bus.js.publish(
                names.reply_subject(again.user, again.prompt_id),
                again.wire(),
                headers={"Nats-Expected-Last-Subject-Sequence": "0"},
            )
        except nats.js.errors.BadRequestError as error:
            if error.err_code not in ANSWERED_ALREADY:
                raise
        return SHOWN_AGAIN

    async def _is_partly_shown(self, reply: Reply) -> bool:
        """Whether the first part was settled: only then is the second one claimed."""
        platform, _ = user_names.split_user(reply.user)
        second = f"{names.RECEIPTS_PREFIX}{platform}.{reply.prompt_id}.1"
        try:
            await self._bus.js.get_last_msg(names.RECEIPTS_STREAM, second, direct=True)
        except nats.js.errors.NotFoundError:
            return False
        return True


def _new_id(first: str, sequence: int) -> str:
    return f"{_AGAIN.sub('', first)[:_ID_LIMIT_CHARS]}-replay-{sequence}"


def _event_in(data: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(data)
    except ValueError:
        return None
    is_event = isinstance(event, dict) and isinstance(event.get("id"), str)
    return event if is_event else None
