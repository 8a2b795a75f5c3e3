"""The bus: one connection to NATS, events in, replies out, each stored once.

Every publish carries an id or a condition, so that a repeat after a lost acknowledgement never
stores a second copy. It must never log a message's text or the credentials in a URL.
"""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from shared import metrics, names
from shared.log import logger
from shared.messages import (
    EVENT_LIMIT_BYTES,
    REPLY_LIMIT_BYTES,
    Event,
    Partial,
    Reply,
)

T = TypeVar("T")

CLOSED_EXIT_CODE: Final = 75
"""EX_TEMPFAIL of sysexits.h: the supervisor starts the process again."""

REQUEST_TIMEOUT_S: Final = 5.0
"""For one answer of the server; a disk that syncs under load has taken 1 s."""

RECONNECT_WAIT_S: Final = 0.25
PING_INTERVAL_S: Final = 2
"""With two outstanding pings a hung server is noticed after 6 s."""

CUT: Final = "\n\n[cut: too long]"
"""The end of an answer that fits no message."""

PENDING_BYTES: Final = 16 << 20
"""Room for what is written during a reconnect; the default of 2 MiB fills in a burst."""

_ANSWERED_ALREADY: Final = frozenset({10071, 10164})
"""Wrong last sequence: the subject has a message, or in a cluster is just getting one."""

_MESSAGE_TOO_LARGE: Final = 10054
_CONNECT_S: Final = 2
_RETRY_FIRST_S: Final = 0.1
_RETRY_LAST_S: Final = 2.0
_STARTS_S: Final = 1.5  # a server that is back takes so long until its streams answer
_LOOK_FIRST_S: Final = 0.002  # a reply is on the disk so soon after it is heard

_UNREADABLE: Final = "an address that cannot be read"

_HEADER_ROOM_BYTES: Final = 4096
"""For subject and headers, which count towards the server's largest message: one byte more, and
the server closes the connection for good."""


class Unavailable(Exception):  # noqa: N818
    """NATS cannot do it now. Try later: the same id makes a repeat harmless."""


class TooLarge(Exception):  # noqa: N818
    """The message will never fit."""

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"the message takes {size_bytes:,} bytes and must not take more than {limit_bytes:,}"
        )


_TRANSIENT: Final = (
    nats.errors.Error,  # disconnected, no responders, buffers full, time-outs
    TimeoutError,
    OSError,
)


def _exit_when_closed() -> None:
    logger().error(
        "nats client closed for good: exiting, so that the process is started afresh",
        exit_code=CLOSED_EXIT_CODE,
    )
    os._exit(CLOSED_EXIT_CODE)


def without_credentials(url: str) -> str:
    """A server's address as it may be shown."""
    parts = urlsplit(url)
    try:
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    except ValueError:  # a password with a slash reads as a port: not even that is shown
        return _UNREADABLE


class Bus:
    """One connection. Make it with `connect`; it reconnects by itself for as long as it lives."""

    def __init__(self, url: str, on_closed: Callable[[], None]) -> None:
        self.client = Client()
        self.js = self.client.jetstream(timeout=REQUEST_TIMEOUT_S)
        self._server = without_credentials(url)
        self._url = url
        self._on_closed = on_closed
        self._on_reconnect: set[Callable[[], None]] = set()
        self._closing = False
        self._struggling = 0
        self._refused = False

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        name: str,
        wait_s: float | None = 5.0,
        on_closed: Callable[[], None] = _exit_when_closed,
    ) -> "Bus":
        """Connects, trying for `wait_s` seconds (None: for ever, saying once that it waits).

        `name` labels the connection and its inboxes. `on_closed` is called when the client gives
        up for good, which ends the process by default: nats-py never recovers from that state.

        Raises:
            Unavailable: nobody answered in time, or the server refused the credentials.
        """
        if without_credentials(url) == _UNREADABLE:
            raise Unavailable(
                "NATS_URL cannot be read as nats://user:password@host:port; "
                "is a special character in the password not percent-encoded?"
            )
        now = asyncio.get_running_loop().time
        deadline = now() + (float("inf") if wait_s is None else wait_s)
        complained = False
        while True:
            bus = cls(url, on_closed)
            if await bus._connected_within(_CONNECT_S, name):
                break
            if bus._refused or now() >= deadline:
                why = "it refuses the user and password" if bus._refused else "nobody answers there"
                raise Unavailable(
                    f"NATS at {bus._server} cannot be used: {why}. "
                    "Start one with `threadwax up` or `threadwax nats`, or set NATS_URL."
                )
            if not complained:
                complained = True
                logger().warning("waiting for nats", server=bus._server)
            await asyncio.sleep(RECONNECT_WAIT_S)
        if complained:
            logger().warning("nats is there", server=bus._server)
        metrics.connected.set(1)
        return bus

    async def _connected_within(self, seconds: float, name: str) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self.client.connect(
                    self._url,
                    name=name,
                    inbox_prefix=f"_INBOX_{name}".encode(),
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=RECONNECT_WAIT_S,  # type: ignore[arg-type]
                    connect_timeout=_CONNECT_S,
                    ping_interval=PING_INTERVAL_S,
                    max_outstanding_pings=2,
                    pending_size=PENDING_BYTES,
                    disconnected_cb=self._lost,
                    reconnected_cb=self._back,
                    closed_cb=self._closed,
                    error_cb=self._failed,
                )
        except _TRANSIENT:
            self._closing = True
            await self.client.close()
            return False
        return True

    async def _lost(self) -> None:
        metrics.connected.set(0)
        if not self._closing:
            logger().warning("nats lost: waiting for it", server=self._server)

    async def _back(self) -> None:
        self._refused = False
        metrics.connected.set(1)
        logger().warning("nats is back", server=self._server)
        for call in tuple(self._on_reconnect):
            call()

    async def _closed(self) -> None:
        if not self._closing:
            self._on_closed()

    async def _failed(self, error: Exception) -> None:
        # A lost connection is told by `_lost`; what comes here is a refusal, or repeats that.
        text = str(error).lower()
        if "authorization" in text or "authentication" in text:
            if self.client.is_reconnecting and not self._refused:
                logger().error("nats refuses the user and password", server=self._server)
            self._refused = True
        if "permissions violation" in text or isinstance(error, nats.errors.SlowConsumerError):
            logger().error("nats refused", error=str(error))
        else:
            logger().debug("nats error", error=str(error))

    @property
    def connected(self) -> bool:
        """Whether the server can be reached now."""
        return self.client.is_connected

    async def close(self) -> None:
        """Closes the connection after writing what is buffered."""
        self._closing = True
        await self.client.close()

    def on_reconnect(self, call: Callable[[], None]) -> Callable[[], None]:
        """Has `call` called after each reconnect; returns what takes it back."""
        self._on_reconnect.add(call)
        return lambda: self._on_reconnect.discard(call)

    # --- events -----------------------------------------------------------------------------

    async def publish(self, event: Event, *, patience_s: float = 0.0) -> bool:
        """Stores an event; True if it is new, False if it was stored before.

        Returns when the event is on the server's disk. Tries again for `patience_s` seconds.

        Raises:
            TooLarge: it will never fit.
            Unavailable: NATS could not store it in time; a later repeat is safe.
        """
        data = event.wire()
        if len(data) > EVENT_LIMIT_BYTES:
            raise TooLarge(len(data), EVENT_LIMIT_BYTES)
        subject = names.prompt_subject(event.user)
        deadline = asyncio.get_running_loop().time() + patience_s
        while True:
            try:
                new = await self._store(subject, data, {"Nats-Msg-Id": event.id})
            except Unavailable:
                if asyncio.get_running_loop().time() >= deadline:
                    raise
                await asyncio.sleep(_RETRY_FIRST_S)
            else:
                break
        platform, _ = names.split_user(event.user)
        kind = getattr(event, "kind", "event")
        metrics.published.labels(platform, kind).inc()
        logger().info("received", kind=kind, prompt=event.id, new=new)
        return new

    async def _store(self, subject: str, data: bytes, headers: dict[str, str]) -> bool:
        try:
            ack = await self.js.publish(subject, data, headers=headers)
        except nats.js.errors.APIError as error:
            if error.err_code == _MESSAGE_TOO_LARGE:
                raise TooLarge(len(data), EVENT_LIMIT_BYTES) from error
            raise Unavailable(f"NATS does not store now: {error.description}") from error
        except nats.errors.MaxPayloadError as error:
            raise TooLarge(len(data), EVENT_LIMIT_BYTES) from error
        except _TRANSIENT as error:
            raise Unavailable("NATS does not answer now") from error
        return not ack.duplicate

    # --- the journal ------------------------------------------------------------------------

    async def journal(self, reply: Reply) -> Reply:
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

        async def once() -> Reply:
            try:
                await self.js.publish(subject, data, headers=headers)
            except nats.js.errors.BadRequestError as error:
                if error.err_code not in _ANSWERED_ALREADY:
                    raise
                stored = await self._direct_get(subject)
                if stored is None:
                    raise  # deleted in between: try again
                metrics.answered_before.inc()
                return stored
            platform, _ = names.split_user(reply.user)
            metrics.answered.labels(platform, reply.outcome).inc()
            return reply

        return await self.until_done(once)

    async def stored_reply(self, user: str, prompt_id: str) -> Reply | None:
        """The journal's reply to a prompt. Goes on asking until the server answers."""
        subject = names.reply_subject(user, prompt_id)
        return await self.until_done(lambda: self._direct_get(subject))

    async def _direct_get(self, subject: str) -> Reply | None:
        try:
            message = await self.js.get_last_msg(names.REPLIES, subject, direct=True)
        except nats.js.errors.NotFoundError:
            return None
        return Reply.model_validate_json(message.data or b"")

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
        pause_s = timeout_s
        try:
            while True:
                # Subscribed first, so that a reply stored in between is seen one way or the other.
                # The journal is asked all the same: what was heard may not have been taken by it.
                stored = await self.stored_reply(user, prompt_id)
                if stored is not None or (left := deadline - now()) <= 0:
                    return stored
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

    async def bury(self, *, subject: str, data: bytes, reason: str, dedupe_id: str = "") -> None:
        """Stores what nobody can read among the dead letters. Goes on trying until it is stored.

        `dedupe_id` names the message, so that reading it again stores no second copy. What the
        server could not take together with the headers is cut off.
        """
        data = data[: max(0, self.client.max_payload - _HEADER_ROOM_BYTES)]
        headers = {"Threadwax-Reason": reason.replace("\r", " ").replace("\n", " ")[:500]}
        if dedupe_id:
            headers["Nats-Msg-Id"] = dedupe_id

        async def once() -> None:
            await self.js.publish(names.dead_letter_subject(subject), data, headers=headers)

        await self.until_done(once)
        metrics.unreadable.inc()
        logger().warning("unreadable: put among the dead letters", subject=subject, reason=reason)

    async def last_sequence(self, stream: str) -> int:
        """The newest message's sequence in a stream. Goes on asking until the server answers."""

        async def once() -> int:
            return (await self.js.stream_info(stream)).state.last_seq

        return await self.until_done(once)

    async def until_done(self, once: Callable[[], Awaitable[T]]) -> T:
        """The result of `once`, tried until NATS does it; told once, and once when it is over."""
        now = asyncio.get_running_loop().time
        wait_s = _RETRY_FIRST_S
        refused_since: float | None = None
        struggling = False
        try:
            while True:
                try:
                    return await once()
                except _TRANSIENT as error:
                    # While it is away `_lost` has told it, and just after that it opens its files.
                    refused_since = (refused_since or now()) if self.connected else None
                    if not struggling and refused_since and now() - refused_since >= _STARTS_S:
                        struggling = True
                        self._struggle(error)
                    await asyncio.sleep(wait_s)
                    wait_s = min(wait_s * 2, _RETRY_LAST_S)
        finally:
            if struggling:
                self._struggle_over()

    def _struggle(self, error: Exception) -> None:
        self._struggling += 1
        if self._struggling == 1:
            logger().error("nats does not store: trying until it does", error=str(error))

    def _struggle_over(self) -> None:
        # Counted: one that gets through must not speak for those that do not.
        self._struggling -= 1
        if self._struggling == 0:
            logger().warning("nats stores again")

    # --- partials ---------------------------------------------------------------------------

    async def show(self, partial: Partial) -> None:
        """Sends an answer's text so far to whoever shows it. Lossy; never waits for the server."""
        if self.connected:
            subject = names.partial_subject(partial.user, partial.prompt_id)
            await self.client.publish(subject, partial.wire())

    async def watch(self, subject: str, see: Callable[[Msg], Awaitable[None]]) -> Any:
        """Has `see` called for each message on a core subject; returns the subscription."""
        return await self.client.subscribe(subject, cb=see)
