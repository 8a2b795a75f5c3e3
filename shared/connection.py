"""One connection to NATS, kept for as long as the process lives.

It must never log the credentials in a URL.
"""

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, Self, TypeVar, cast
from urllib.parse import urlsplit

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from shared import metrics
from shared.log import logger

T = TypeVar("T")

CLOSED_EXIT_CODE: Final = 75
"""EX_TEMPFAIL of sysexits.h: the supervisor starts the process again."""

REQUEST_TIMEOUT_S: Final = 5.0
"""For one answer of the server; a disk that syncs under load has taken 1 s."""

RECONNECT_WAIT_S: Final = 0.25

PING_INTERVAL_S: Final = 2
"""With two outstanding pings a hung server is noticed after 6 s."""

REFUSALS_LIMIT: Final = 100
"""How many different refusals of one connection are logged, each once: who asks again every few
seconds is refused every few seconds."""

PENDING_BYTES: Final = 16 << 20
"""Room for what is written during a reconnect; the default of 2 MiB fills in a burst."""

_CONNECT_S: Final = 2
_RETRY_FIRST_S: Final = 0.1
_RETRY_LAST_S: Final = 2.0
_STARTS_S: Final = 1.5  # a server that is back takes so long until its streams answer

_UNREADABLE: Final = "an address that cannot be read"

_NO_STREAM: Final = (
    "is a stream missing? `threadwax nats --setup-only` with NATS_URL of a user who may create "
    "streams brings it back, and so does a new start of the embedded server"
)

TRANSIENT: Final = (
    nats.errors.Error,  # disconnected, no responders, buffers full, time-outs
    TimeoutError,
    OSError,
)


class Unavailable(Exception):  # noqa: N818
    """NATS cannot do it now. Try later: the same id makes a repeat harmless."""


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


class _Client(Client):
    """nats-py's client, which also reads messages whose subject or headers are not UTF-8.

    nats-py stops reading at the first of them. It would come again after each reconnect, so one
    message could silence a process forever.
    """

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg:
        if not subject.isascii():
            subject = subject.decode(errors="replace").encode()
        return cast("Msg", super()._build_message(sid, subject, reply, data, headers))

    async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
        if not headers:
            return None
        try:
            return await super()._process_headers(headers)
        except (ValueError, IndexError):  # the server's own are well formed
            return None


class Connection:
    """One connection. Make it with `connect`; it reconnects by itself for as long as it lives."""

    def __init__(self, url: str, on_closed: Callable[[], None]) -> None:
        self.client: Client = _Client()
        self.js = self.client.jetstream(timeout=REQUEST_TIMEOUT_S)
        self.missing: Counter[str] = Counter()
        """For each missing stream or consumer, how many readers of this process wait for it."""
        self._server = without_credentials(url)
        self._url = url
        self._on_closed = on_closed
        self._on_reconnect: set[Callable[[], None]] = set()
        self._closing = False
        self._struggling = 0
        self._refused = False
        self._refusals: set[str] = set()

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        name: str,
        wait_s: float | None = 5.0,
        on_closed: Callable[[], None] = _exit_when_closed,
    ) -> Self:
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
            made = cls(url, on_closed)
            if await made._connected_within(_CONNECT_S, name):
                break
            if made._refused or now() >= deadline:
                why = (
                    "it refuses the user and password" if made._refused else "nobody answers there"
                )
                raise Unavailable(
                    f"NATS at {made._server} cannot be used: {why}. "
                    "Start one with `threadwax up` or `threadwax nats`, or set NATS_URL."
                )
            if not complained:
                complained = True
                logger().warning("waiting for nats", server=made._server)
            await asyncio.sleep(RECONNECT_WAIT_S)
        if complained:
            logger().warning("nats is there", server=made._server)
        metrics.connected.set(1)
        return made

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
        except TRANSIENT:
            await self.close()
            return False
        return True

    async def _lost(self) -> None:
        metrics.connected.set(0)
        if not self._closing:
            logger().warning("nats lost: waiting for it", server=self._server)

    async def _back(self) -> None:
        self._refused = False
        self._refusals.clear()
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
            if text not in self._refusals and len(self._refusals) < REFUSALS_LIMIT:
                self._refusals.add(text)
                logger().error("nats refused", error=str(error))
        else:
            logger().debug("nats error", error=str(error))

    @property
    def connected(self) -> bool:
        """Whether the server can be reached now."""
        return self.client.is_connected

    async def close(self) -> None:
        """Closes the connection after writing what is buffered. Without a server, that is lost."""
        self._closing = True
        with contextlib.suppress(*TRANSIENT):
            await self.client.close()

    def on_reconnect(self, call: Callable[[], None]) -> Callable[[], None]:
        """Has `call` called after each reconnect; returns what takes it back."""
        self._on_reconnect.add(call)
        return lambda: self._on_reconnect.discard(call)

    async def until_done(
        self, once: Callable[[], Awaitable[T]], *, refused_for_s: float | None = None
    ) -> T:
        """The result of `once`, tried until NATS does it. It logs trouble once, and its end.

        After `refused_for_s` seconds in which the server was there and did not do it, the last
        error is raised; by default never.
        """
        now = asyncio.get_running_loop().time
        wait_s = _RETRY_FIRST_S
        refused_since: float | None = None
        struggling = False
        try:
            while True:
                try:
                    return await once()
                except TRANSIENT as error:
                    # While it is away `_lost` has told it, and just after that it opens its files.
                    refused_since = (refused_since or now()) if self.connected else None
                    refused_s = now() - refused_since if refused_since else 0.0
                    if refused_for_s is not None and refused_s >= refused_for_s:
                        raise
                    if not struggling and refused_s >= _STARTS_S:
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
            logger().error(
                "nats does not store: trying until it does",
                error=str(error), remedy=_NO_STREAM if _says_no_stream(error) else "",
            )  # fmt: skip

    def _struggle_over(self) -> None:
        # Counted: one that gets through must not speak for those that do not.
        self._struggling -= 1
        if self._struggling == 0:
            logger().warning("nats stores again")


def _says_no_stream(error: Exception) -> bool:
    """Whether nobody listens on the subject of a stream, or on its API."""
    return isinstance(error, nats.errors.NoRespondersError | nats.js.errors.NoStreamResponseError)
