"""Erases a user's messages from the streams, up to the event that asked for it.

Erased messages are overwritten: a purge only marks them, and leaves their bytes in the server's
files. Everything here may be repeated at any time. It must never erase what came after the event.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Final

import nats.js.errors
from nats.js import api
from pydantic import BaseModel, ValidationError

from shared import names, user_names
from shared.bus import Bus
from shared.event_parsing import Unreadable, event_of
from shared.messages import Configure, Forget
from shared.replies import Reply

AT_ONCE: Final = 16
"""Messages that are erased concurrently; the server syncs each of them."""

MESSAGE_ID: Final = "Nats-Msg-Id"

PRIVACY: Final = frozenset({"training"})
"""The settings that outlive a `Forget`: otherwise a refusal would be forgotten, too."""

_NOT_THERE: Final = frozenset({10037, 10043, 10057})
"""No message found, sequence not found, message delete failed: it is erased already."""


class _Request(BaseModel):
    """The one field of a request to the gateway that says whose it is."""

    user_id: str | int = ""


@dataclass(slots=True)
class Counts:
    """How many entries were erased, by store."""

    events: int = 0
    replies: int = 0
    receipts: int = 0
    files: int = 0
    dead_letters: int = 0


@dataclass(slots=True)
class _Events:
    """A user's stored events, by their position relative to the event that asks for the erasure."""

    before: list[int] = field(default_factory=list)
    blobs: list[str] = field(default_factory=list)
    """The files that came with them."""
    later_ids: set[str] = field(default_factory=set)


class MessageEraser:
    """Erases the messages of one user over one connection."""

    def __init__(self, bus: Bus, forget: Forget) -> None:
        self._bus = bus
        self._forget = forget
        self._platform, self._token = user_names.split_user(forget.user)
        self._counts = Counts()

    async def erase(self) -> Counts:
        """Erases everything; retries while NATS is away."""
        # Before the events are read: whatever was answered until now was asked until now.
        last_reply = await self._bus.last_sequence(names.REPLIES)
        events = await self._events()
        for name in events.blobs:
            subject = names.blob_pieces(name)
            self._counts.files += await self._erase_all(names.BLOBS, subject) > 0
        self._counts.events = await self._erase_each(names.PROMPTS, events.before)
        await self._erase_replies(last_reply, events.later_ids)
        await self._erase_dead_letters()
        return self._counts

    async def _events(self) -> _Events:
        found, later = _Events(), _Events()
        async for message in self._walk(names.PROMPTS, names.stored_prompts_of(self._forget.user)):
            event_id = (message.headers or {}).get(MESSAGE_ID, "")
            if event_id == self._forget.id:
                # The event itself stays, so that the erasure can be repeated.
                found, later = later, _Events()
            elif not self._outlives(message):
                later.before.append(message.seq or 0)
                later.later_ids.add(event_id)
                later.blobs += self._blobs_of(message)
        return _Events(found.before, found.blobs, later.later_ids)

    def _outlives(self, message: api.RawStreamMsg) -> bool:
        """Whether this is a choice about privacy, which has no words and must not be lost."""
        if b'"configure"' not in (message.data or b""):
            return False
        try:
            event = event_of(message.data or b"", self._forget.user)
        except Unreadable:
            return False
        return (
            isinstance(event, Configure)
            and set(event.settings) <= PRIVACY
            and set(event.settings.values()) <= {"yes", "no"}
        )

    def _blobs_of(self, message: api.RawStreamMsg) -> list[str]:
        if b'"blob"' not in (message.data or b""):
            return []
        try:
            event = event_of(message.data or b"", self._forget.user)
        except Unreadable:
            return []
        attachments = getattr(event, "attachments", ())
        # Another platform's file cannot be this user's.
        return [a.blob for a in attachments if a.blob and a.blob.startswith(f"{self._platform}-")]

    async def _erase_replies(self, last: int, later_ids: set[str]) -> None:
        found: list[int] = []
        subject = names.replies_to_user(self._forget.user)
        async for message in self._walk(names.REPLIES, subject):
            if (message.seq or 0) > last:
                break
            prompt_id = (message.subject or "").rpartition(".")[2]
            if prompt_id not in later_ids and _has_words(message.data or b""):
                found.append(message.seq or 0)
                self._counts.receipts += await self._purge_receipts(prompt_id)
        self._counts.replies = await self._erase_each(names.REPLIES, found)

    async def _purge_receipts(self, prompt_id: str) -> int:
        """Removes the ids of the messages in which a reply was shown. They contain no words."""
        subject = f"{names.RECEIPTS_PREFIX}{self._platform}.{prompt_id}.>"
        call = names.api_subject(f"STREAM.PURGE.{names.RECEIPTS_STREAM}")

        async def once() -> int:
            body = json.dumps({"filter": subject}).encode()
            answer = json.loads((await self._bus.client.request(call, body, timeout=5.0)).data)
            if "error" in answer:
                raise nats.js.errors.APIError.from_error(answer["error"])
            return int(answer.get("purged", 0))

        return await self._bus.until_done(once)

    async def _erase_dead_letters(self) -> None:
        letters = (
            names.dead_letter_subject(names.stored_prompts_of(self._forget.user)),
            names.dead_letter_subject(names.replies_to_user(self._forget.user)),
        )
        for subject in letters:
            self._counts.dead_letters += await self._erase_all(names.DLQ, subject)
        if self._platform == "gateway":
            found = [
                message.seq or 0
                async for message in self._walk(
                    names.DLQ, names.dead_letter_subject(names.GATEWAY_SUBJECT)
                )
                if self._is_theirs(message.data or b"")
            ]
            self._counts.dead_letters += await self._erase_each(names.DLQ, found)

    def _is_theirs(self, request: bytes) -> bool:
        try:
            name = str(_Request.model_validate_json(request).user_id)
            return user_names.user_of(self._platform, name) == self._forget.user
        except (ValidationError, user_names.BadName):
            return False

    # --- any stream -------------------------------------------------------------------------

    async def _erase_all(self, stream: str, subject: str) -> int:
        found = [message.seq or 0 async for message in self._walk(stream, subject)]
        return await self._erase_each(stream, found)

    async def _erase_each(self, stream: str, sequences: Iterable[int]) -> int:
        left, erased = list(sequences), 0
        while left:
            batch, left = left[:AT_ONCE], left[AT_ONCE:]
            erased += sum(await asyncio.gather(*(self._erase(stream, s) for s in batch)))
        return erased

    async def _walk(self, stream: str, subject: str) -> AsyncIterator[api.RawStreamMsg]:
        sequence = 1
        while True:
            message = await self._next(stream, subject, sequence)
            if message is None:
                return
            yield message
            sequence = (message.seq or 0) + 1

    async def _next(self, stream: str, subject: str, sequence: int) -> api.RawStreamMsg | None:
        async def once() -> api.RawStreamMsg | None:
            try:
                return await self._bus.js.get_msg(stream, seq=sequence, subject=subject, next=True)
            except nats.js.errors.NotFoundError:
                return None

        return await self._bus.until_done(once)

    async def _erase(self, stream: str, sequence: int) -> bool:
        """Overwrites one message; returns False if it was gone."""

        async def once() -> bool:
            try:
                return await self._bus.js.delete_msg(stream, sequence)
            except nats.js.errors.APIError as error:
                if error.err_code in _NOT_THERE:
                    return False
                raise

        return await self._bus.until_done(once)


def _has_words(data: bytes) -> bool:
    """Whether a reply contains any text; one that cannot be read may."""
    try:
        reply = Reply.model_validate_json(data)
    except ValidationError:
        return True
    return reply.erased is None and bool(reply.text or reply.prompt_text)
