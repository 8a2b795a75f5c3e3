"""The bus: stores events and replies, each exactly once, and reads replies back.

Every publish carries an id or a condition, so that a retry after a lost acknowledgement never
stores a second copy. It must never log the text of a message.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js import api
from pydantic import ValidationError

from shared import metrics, names, quota, tracing, user_names
from shared.connection import REQUEST_TIMEOUT_S, TRANSIENT
from shared.group_commit import ANSWERED_ALREADY, GroupCommit
from shared.log import logger
from shared.publishing import OverQuota, Publishing, StoreFull, TooLarge
from shared.quota import Quotas
from shared.replies import REPLY_LIMIT_BYTES, Journaled, Partial, Reply

__all__ = [
    "ANSWERED_ALREADY",
    "CUT",
    "REASON",
    "Bus",
    "OverQuota",
    "StoreFull",
    "TooLarge",
    "journaled_in",
]

CUT: Final = "\n\n[cut: too long]"
"""Ends an answer that is too long for a message."""

REASON: Final = "Threadwax-Reason"
"""The header of a dead letter that says why it is one."""

_LOOK_FIRST_S: Final = 0.002  # after its message arrives, a reply is on disk this soon

_STORED_WITHIN_S: Final = 1.0
"""A published reply is stored within this; then the journal is asked once more."""

_HEADER_ROOM_BYTES: Final = 4096
"""Reserved for subject and headers, which count towards the server's largest message.

If a message exceeds that by one byte, the server closes the connection.
"""

_BURY_WITHIN_S: Final = 3.0
_BURY_AGAIN_S: Final = 60.0
"""After the server refused a dead letter, further ones are skipped for this long."""

_DEAD_HEAD_BYTES: Final = 1024
"""Kept of a dead letter whose sender has used up its quota of them."""


class Bus(Publishing):
    """Sends and stores messages over one connection; made with `connect`."""

    def __init__(self, url: str, on_closed: Callable[[], None]) -> None:
        super().__init__(url, on_closed)
        self._replies = GroupCommit(
            self.client, self.js, timeout_s=REQUEST_TIMEOUT_S, stream=names.REPLIES
        )
        self._dead_letter_quotas = Quotas(quota.DEAD_LETTER_QUOTA_BYTES)
        self._no_dead_letters_until_s = 0.0
        self.blob_quotas = Quotas(quota.BLOB_QUOTA_BYTES)

    # --- the journal ------------------------------------------------------------------------

    async def journal(self, reply: Reply) -> Journaled:
        """Stores the reply unless its prompt has one already; returns the one in the journal.

        Retries until it is stored: a reply is never given up.
        """
        data = reply.wire()
        if len(data) > REPLY_LIMIT_BYTES:
            # Escaping can make text six times as long. The answer matters more than the question's
            # copy.
            reply = reply.model_copy(update={"prompt_text": ""})
            data = reply.wire()
        text = reply.text
        while len(data) > REPLY_LIMIT_BYTES:
            # In several steps: the part cut off may be one that takes few bytes.
            text = text[: len(text) * REPLY_LIMIT_BYTES // (len(data) * 2)]
            reply = reply.model_copy(update={"text": text + CUT})
            data = reply.wire()
        subject = names.reply_subject(reply.user, reply.prompt_id)
        span = tracing.journaling(reply)
        headers = {"Nats-Expected-Last-Subject-Sequence": "0", **span.headers}

        async def once() -> Journaled:
            span.tried()
            try:
                await self._replies.store(subject, data, headers)
            except nats.js.errors.BadRequestError as error:
                if error.err_code not in ANSWERED_ALREADY:
                    raise
                message = await self._direct_get(subject)
                if message is None:
                    raise  # it was deleted in the meantime: retry
                metrics.answered_before.inc()
                span.stored(new=False)
                # An unreadable reply stays forever; nothing can be stored in its place.
                return _journaled(message) or Journaled(reply)
            platform, _ = user_names.split_user(reply.user)
            metrics.answered.labels(platform, reply.outcome).inc()
            return Journaled(reply)

        started = time.monotonic()
        with self._storing.one(), span:
            journaled = await self.until_done(once)
        metrics.journal_s.observe(time.monotonic() - started)
        return journaled

    async def stored_reply(self, user: str, prompt_id: str) -> Journaled | None:
        """The journal's reply to a prompt, if there is one. Retries until the server answers."""
        subject = names.reply_subject(user, prompt_id)
        message = await self.until_done(lambda: self._direct_get(subject))
        return None if message is None else _journaled(message)

    async def _direct_get(self, subject: str) -> api.RawStreamMsg | None:
        try:
            return await self.js.get_last_msg(names.REPLIES, subject, direct=True)
        except nats.js.errors.NotFoundError:
            return None

    async def reply_when_stored(
        self, user: str, prompt_id: str, *, timeout_s: float
    ) -> Reply | None:
        """Waits for the journal's reply; None if there is none within `timeout_s`."""
        now = asyncio.get_running_loop().time
        deadline = now() + timeout_s
        arrived = asyncio.Event()

        async def on_message(_: Msg) -> None:
            arrived.set()

        subscription = await self.client.subscribe(
            names.reply_subject(user, prompt_id), cb=on_message
        )
        # A reply may be stored while the connection is lost.
        remove_callback = self.on_reconnect(arrived.set)
        # A reply may be published before the subscription and stored after the first look.
        pause_s = _STORED_WITHIN_S
        try:
            while True:
                # Subscribed before looking, so that no reply is missed. The message itself proves
                # nothing: the journal may have refused it.
                stored = await self.stored_reply(user, prompt_id)
                if stored is not None or (left := deadline - now()) <= 0:
                    return stored.reply if stored is not None else None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left, pause_s)):
                        await arrived.wait()
                if arrived.is_set():
                    arrived.clear()
                    pause_s = _LOOK_FIRST_S
                else:
                    pause_s *= 2
        finally:
            remove_callback()
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()

    async def dead_letter(
        self,
        *,
        subject: str,
        data: bytes,
        reason: str,
        dedupe_id: str = "",
        limit_bytes: int | None = None,
    ) -> None:
        """Copies a message that cannot be handled to the dead letters.

        Gives up after a few seconds, because other messages wait for this call; the message is
        still in the stream that it came from. `dedupe_id` prevents a second copy. The data is cut
        at `limit_bytes` and at what the server accepts. If the sender has used up its quota, only
        the beginning is kept, so that nobody can push out the dead letters of others.
        """
        data = data[: max(0, self.client.max_payload - _HEADER_ROOM_BYTES)][:limit_bytes]
        if not self._dead_letter_quotas.take(names.sender_of(subject), len(data), time.monotonic()):
            data = data[:_DEAD_HEAD_BYTES]
        headers = {REASON: reason.replace("\r", " ").replace("\n", " ")[:500]}
        if dedupe_id:
            headers["Nats-Msg-Id"] = dedupe_id

        async def once() -> None:
            await self.js.publish(names.dead_letter_subject(subject), data, headers=headers)

        await self._store_dead_letter(once)
        metrics.unreadable.inc()
        if times := self._throttle.times(
            f"unreadable {subject.partition('.')[0]}", time.monotonic()
        ):
            logger().warning(
                "moved to the dead letters",
                subject=subject, reason=reason, times=times,
            )  # fmt: skip

    async def _store_dead_letter(self, once: Callable[[], Awaitable[None]]) -> None:
        """Stores one dead letter; after a refusal, the next ones are skipped for a while.

        In a cluster the time of an election does not count as a refusal.
        """
        if time.monotonic() < self._no_dead_letters_until_s:
            return
        try:
            await self.until_done(once, refused_for_s=_BURY_WITHIN_S)
        except TRANSIENT as error:
            self._no_dead_letters_until_s = time.monotonic() + _BURY_AGAIN_S
            logger().error(
                "nats refuses dead letters: they stay in their stream",
                error=str(error), remedy=f"check the stream {names.DLQ} and its permissions",
            )  # fmt: skip

    async def last_sequence(self, stream: str) -> int:
        """The sequence of the newest message in a stream. Retries until the server answers."""

        async def once() -> int:
            return (await self.js.stream_info(stream)).state.last_seq

        return await self.until_done(once)

    # --- partials ---------------------------------------------------------------------------

    async def show_partial(self, partial: Partial) -> None:
        """Sends a growing answer to its adapter. Lossy; never waits for the server."""
        if self.connected:
            subject = names.partial_subject(partial.user, partial.prompt_id)
            await self.client.publish(subject, partial.wire())

    async def watch(self, subject: str, call: Callable[[Msg], Awaitable[None]]) -> Any:
        """Calls `call` for each message on a core NATS subject; returns the subscription."""
        return await self.client.subscribe(subject, cb=call)


def journaled_in(subject: str, data: bytes) -> Journaled | None:
    """The reply in a message of the journal; None if this version cannot read it."""
    try:
        return Journaled(Reply.model_validate_json(data))
    except ValidationError:
        logger().error("a stored reply cannot be read", subject=subject)
        return None


def _journaled(message: api.RawStreamMsg) -> Journaled | None:
    return journaled_in(message.subject or "", message.data or b"")
