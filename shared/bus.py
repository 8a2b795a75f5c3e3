"""The bus: events in, replies out, each stored once.

Every publish carries an id or a condition, so that a repeat after a lost acknowledgement never
stores a second copy. It must never log a message's text.
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

from shared import metrics, names, quota
from shared.connection import REQUEST_TIMEOUT_S, TRANSIENT
from shared.group_commit import GroupCommit
from shared.log import logger
from shared.messages import REPLY_LIMIT_BYTES, Journaled, Partial, Reply
from shared.publishing import OverQuota, Publishing, StoreFull, TooLarge
from shared.quota import Quotas

__all__ = ["CUT", "Bus", "OverQuota", "StoreFull", "TooLarge"]

CUT: Final = "\n\n[cut: too long]"
"""The end of an answer that fits no message."""

_ANSWERED_ALREADY: Final = frozenset({10071, 10164})
"""Wrong last sequence: the subject has a message, or in a cluster is just getting one."""

_LOOK_FIRST_S: Final = 0.002  # a reply is on the disk so soon after it is heard

_STORED_WITHIN_S: Final = 1.0
"""A reply is stored this soon after it is published; then the journal is asked once more."""

_HEADER_ROOM_BYTES: Final = 4096
"""For subject and headers, which count towards the server's largest message: one byte more, and
the server closes the connection for good."""

_BURY_WITHIN_S: Final = 3.0
_BURY_AGAIN_S: Final = 60.0
"""A server that takes no dead letters is not asked again for this long."""

_DEAD_HEAD_BYTES: Final = 1024
"""Kept of a dead letter whose sender's share of them is used up."""


class Bus(Publishing):
    """What is sent and stored over one connection; made with `connect`."""

    def __init__(self, url: str, on_closed: Callable[[], None]) -> None:
        super().__init__(url, on_closed)
        self._replies = GroupCommit(self.client, self.js, timeout_s=REQUEST_TIMEOUT_S)
        self._dead_letter_quotas = Quotas(quota.DEAD_LETTER_QUOTA_BYTES)
        self._no_dead_letters_until_s = 0.0
        self.blob_quotas = Quotas(quota.BLOB_QUOTA_BYTES)

    # --- the journal ------------------------------------------------------------------------

    async def journal(self, reply: Reply) -> Journaled:
        """Stores the reply unless its prompt has one; returns the one that stands.

        Goes on trying until it is stored: a reply is never given up.
        """
        data = reply.wire()
        if len(data) > REPLY_LIMIT_BYTES:
            # Escaping can blow text up sixfold; the answer outranks the copy of the question.
            reply = reply.model_copy(update={"prompt_text": ""})
            data = reply.wire()
        text = reply.text
        while len(data) > REPLY_LIMIT_BYTES:
            # Not in one step: what is cut off may be the part that takes little.
            text = text[: len(text) * REPLY_LIMIT_BYTES // (len(data) * 2)]
            reply = reply.model_copy(update={"text": text + CUT})
            data = reply.wire()
        subject = names.reply_subject(reply.user, reply.prompt_id)
        headers = {"Nats-Expected-Last-Subject-Sequence": "0"}

        async def once() -> Journaled:
            try:
                await self._replies.store(subject, data, headers)
            except nats.js.errors.BadRequestError as error:
                if error.err_code not in _ANSWERED_ALREADY:
                    raise
                message = await self._direct_get(subject)
                if message is None:
                    raise  # deleted in between: try again
                metrics.answered_before.inc()
                # One that cannot be read stays for good, and nothing can be stored in its place.
                return _journaled(message) or Journaled(reply)
            platform, _ = names.split_user(reply.user)
            metrics.answered.labels(platform, reply.outcome).inc()
            return Journaled(reply)

        return await self.until_done(once)

    async def stored_reply(self, user: str, prompt_id: str) -> Journaled | None:
        """The journal's reply to a prompt. Goes on asking until the server answers."""
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
        """The journal's reply, waited for; None when the time is over."""
        now = asyncio.get_running_loop().time
        deadline = now() + timeout_s
        heard = asyncio.Event()

        async def hear(_: Msg) -> None:
            heard.set()

        subscription = await self.client.subscribe(names.reply_subject(user, prompt_id), cb=hear)
        # A reply may be stored while we are away.
        forget = self.on_reconnect(heard.set)
        # A reply published before we subscribed, and stored after we looked, is never heard of.
        pause_s = _STORED_WITHIN_S
        try:
            while True:
                # Subscribed first, so that a reply stored in between is seen one way or the other.
                # The journal is asked all the same: what was heard may not have been taken by it.
                stored = await self.stored_reply(user, prompt_id)
                if stored is not None or (left := deadline - now()) <= 0:
                    return stored.reply if stored is not None else None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left, pause_s)):
                        await heard.wait()
                if heard.is_set():
                    heard.clear()
                    pause_s = _LOOK_FIRST_S
                else:
                    pause_s *= 2
        finally:
            forget()
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
        """Stores what nobody can read among the dead letters, if the server takes it in time.

        Other messages wait behind this call, so it gives up after a while. The message then stays
        in the stream that it came from, and nothing is lost.
        `dedupe_id` names the message, so that reading it again stores no second copy. What exceeds
        `limit_bytes`, or what the server takes together with the headers, is cut off; of one user's
        many, only the beginning is kept, so that nobody can push out the dead letters of others.
        """
        data = data[: max(0, self.client.max_payload - _HEADER_ROOM_BYTES)][:limit_bytes]
        if not self._dead_letter_quotas.take(names.sender_of(subject), len(data), time.monotonic()):
            data = data[:_DEAD_HEAD_BYTES]
        headers = {"Threadwax-Reason": reason.replace("\r", " ").replace("\n", " ")[:500]}
        if dedupe_id:
            headers["Nats-Msg-Id"] = dedupe_id

        async def once() -> None:
            await self.js.publish(names.dead_letter_subject(subject), data, headers=headers)

        await self._buried(once)
        metrics.unreadable.inc()
        if times := self._throttle.times(
            f"unreadable {subject.partition('.')[0]}", time.monotonic()
        ):
            logger().warning(
                "unreadable: put among the dead letters",
                subject=subject, reason=reason, times=times,
            )  # fmt: skip

    async def _buried(self, once: Callable[[], Awaitable[None]]) -> None:
        """Waits for one dead letter; if the server refuses them, the next ones do not wait."""
        if time.monotonic() < self._no_dead_letters_until_s:
            return
        try:
            await self.until_done(once, refused_for_s=_BURY_WITHIN_S)
        except TRANSIENT as error:
            self._no_dead_letters_until_s = time.monotonic() + _BURY_AGAIN_S
            logger().error(
                "nats takes no dead letters: they stay in their stream",
                error=str(error), remedy=f"check the stream {names.DLQ} and its permissions",
            )  # fmt: skip

    async def last_sequence(self, stream: str) -> int:
        """The newest message's sequence in a stream. Goes on asking until the server answers."""

        async def once() -> int:
            return (await self.js.stream_info(stream)).state.last_seq

        return await self.until_done(once)

    # --- partials ---------------------------------------------------------------------------

    async def show_partial(self, partial: Partial) -> None:
        """Sends an answer's text so far to whoever shows it. Lossy; never waits for the server."""
        if self.connected:
            subject = names.partial_subject(partial.user, partial.prompt_id)
            await self.client.publish(subject, partial.wire())

    async def watch(self, subject: str, see: Callable[[Msg], Awaitable[None]]) -> Any:
        """Has `see` called for each message on a core subject; returns the subscription."""
        return await self.client.subscribe(subject, cb=see)


def _journaled(message: api.RawStreamMsg) -> Journaled | None:
    """The reply in a message of the journal; None if this version cannot read it."""
    try:
        return Journaled(Reply.model_validate_json(message.data or b""))
    except ValidationError:
        logger().error("a stored reply cannot be read", subject=message.subject)
        return None
