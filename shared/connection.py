"""The process's connection to NATS, which reconnects for as long as the process lives.

It must never log the credentials in a URL.
"""

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Self, TypeVar

import nats.errors

from shared import metrics, names
from shared.log import logger
from shared.nats_address import EMBEDDED, BadAddress, address_of, without_credentials
from shared.nats_client import NatsClient
from shared.nats_errors import NO_JETSTREAM, NOT_RUNNING, Fault, not_allowed
from shared.nats_outage_log import OutageLog
from shared.nats_refusals import Refusals
from shared.private_file import private_text
from shared.retrying import TRANSIENT, Retrying
from shared.tasks import end

__all__ = ["TRANSIENT", "Connection", "Refused", "Unavailable", "without_credentials"]

T = TypeVar("T")

CLOSED_EXIT_CODE: Final = 75
"""EX_TEMPFAIL of sysexits.h: the supervisor restarts the process."""

REQUEST_TIMEOUT_S: Final = 3.0
"""The wait for one response; a server whose disk syncs under load has taken 1 s.

What was asked just before a leader ended gets no response, however soon there is another leader.
"""

ELECTION_S: Final = 20.0
"""How long a cluster may take until a stream or consumer has a new leader.

nats-server's followers wait 4 to 9 s for the old one; a vote without a majority is repeated, and a
hung server is asked for another 6 s (deploy/nats-cluster.conf).
"""

RECONNECT_WAIT_S: Final = 0.25

PING_INTERVAL_S: Final = 2
"""With two outstanding pings, a server that hangs is noticed after 6 s."""

PENDING_BYTES: Final = 16 << 20
"""Buffer for writes during a reconnect; a burst fills the default of 2 MiB."""

_CONNECT_S: Final = 2


class Unavailable(Exception):
    """NATS cannot do it now. Try later: the same id makes a retry harmless."""


class Refused(Unavailable):
    """NATS refuses until a person changes something: end the process."""


def _exit_when_closed() -> None:
    logger().error(
        "nats client closed for good: exiting, to be restarted",
        exit_code=CLOSED_EXIT_CODE,
    )
    os._exit(CLOSED_EXIT_CODE)


class Connection:
    """A connection, made with `connect`, that reconnects by itself."""

    def __init__(self, url: str, on_closed: Callable[[], None]) -> None:
        self._address = address_of(url)
        self.client = NatsClient(self._address)
        self.js = self.client.jetstream(timeout=REQUEST_TIMEOUT_S)
        self.missing: Counter[str] = Counter()
        """How many readers of this process wait for each missing stream or consumer."""
        self.interrupted: Counter[str] = Counter()
        """How many readers of this process NATS does not let read, by stream or consumer."""
        self.server = self._address.shown
        """The given address without credentials."""
        self._on_closed = on_closed
        self._on_reconnect: set[Callable[[], None]] = set()
        self._closing = False
        self._retrying = Retrying(lambda: self.connected, lambda: self.settles_in_s)
        self._refusals = Refusals(self._address)

    @classmethod
    async def connect(
        cls,
        url: str | Callable[[], str],
        *,
        name: str,
        wait_s: float | None = 5.0,
        on_closed: Callable[[], None] = _exit_when_closed,
        needs: str = "",
    ) -> Self:
        """Connects within `wait_s` seconds (None: waits forever and reports why).

        A callable `url` is called before each attempt, because an embedded server writes its
        address when it starts. `name` labels the connection and its inboxes. `needs` is a call of
        JetStream's API that this process needs: a missing permission is then noticed at once.
        `on_closed` is called when nats-py gives up, from which it never recovers; by default the
        process exits.

        Raises:
            Unavailable: no server answered in time.
            Refused: waiting cannot help, for example because the server refuses the credentials.
        """
        now = asyncio.get_running_loop().time
        deadline = now() + (float("inf") if wait_s is None else wait_s)
        outage = OutageLog()
        while True:
            at = url() if callable(url) else url
            made = await cls._attempt(at, name, on_closed, needs)
            if not isinstance(made, Fault):
                outage.over(made.server)
                metrics.connected.set(1)
                return made
            server = without_credentials(at)
            text = f"NATS at {server} cannot be used: {made.why}. {made.remedy}"
            if made.final:
                raise Refused(text)
            if now() >= deadline:
                raise Unavailable(text)
            if wait_s is None:
                outage.waiting(server, made)
            await asyncio.sleep(RECONNECT_WAIT_S)

    @classmethod
    async def _attempt(
        cls, url: str, name: str, on_closed: Callable[[], None], needs: str
    ) -> Self | Fault:
        if url.startswith(EMBEDDED):
            address = private_text(Path(url.removeprefix(EMBEDDED)))
            if address is None:
                return NOT_RUNNING
            url = address
        try:
            made = cls(url, on_closed)
        except BadAddress as error:
            raise Refused(f"NATS_URL cannot be used: {error}") from None
        fault = await made._connected_within(_CONNECT_S, name)
        if fault is None and needs:
            fault = await made._denied_of(needs)
        if fault is None:
            return made
        await made.close()
        return fault

    async def _connected_within(self, seconds: float, name: str) -> Fault | None:
        """None if it is connected within this time, otherwise the reason."""
        connecting = asyncio.create_task(
            self.client.connect(
                **self._address.options(),
                name=name,
                inbox_prefix=names.inbox_prefix(name).encode(),
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
        )
        hopeless = asyncio.create_task(self._refusals.hopeless.wait())
        error: BaseException | None = TimeoutError()
        try:
            await asyncio.wait(
                {connecting, hopeless},
                timeout=seconds * len(self._address.servers),  # each of them may hang
                return_when=asyncio.FIRST_COMPLETED,
            )
            if connecting.done():
                error = connecting.exception()
        finally:
            await end(connecting, hopeless)
        if error is None:
            return None
        if isinstance(error, TRANSIENT):
            return self._refusals.fault_behind(error)
        raise error

    async def _denied_of(self, needs: str) -> Fault | None:
        """Why this process cannot work with the server; None if it can, or if that is unknown."""
        call = self.client.request(names.api_subject(needs), timeout=REQUEST_TIMEOUT_S)
        asking = asyncio.create_task(call)
        denied = asyncio.create_task(self._refusals.denied.wait())
        await asyncio.wait({asking, denied}, return_when=asyncio.FIRST_COMPLETED)
        await end(asking, denied)
        if self._refusals.denied.is_set():
            return not_allowed(str(self._refusals.last_error), self._address)
        nobody = not asking.cancelled() and isinstance(
            asking.exception(), nats.errors.NoRespondersError
        )
        return NO_JETSTREAM if nobody else None

    async def _lost(self) -> None:
        metrics.connected.set(0)
        if not self._closing:
            logger().warning("nats lost: reconnecting", server=self.server)

    async def _back(self) -> None:
        self._refusals.over()
        metrics.connected.set(1)
        logger().warning("nats is back", server=self.server)
        for call in tuple(self._on_reconnect):
            call()

    async def _closed(self) -> None:
        if not self._closing:
            self._on_closed()

    async def _failed(self, error: Exception) -> None:
        at = self.client._current_server  # noqa: SLF001
        server = at.uri.netloc if at else ""
        self._refusals.heard(error, server, is_reconnecting=self.client.is_reconnecting)

    @property
    def connected(self) -> bool:
        """Whether the connection is up."""
        return self.client.is_connected

    @property
    def trouble(self) -> str:
        """Why nothing can be read at the moment, in plain words; empty if it can."""
        if not self.connected:
            return "NATS does not answer"
        for what in +self.missing:
            return f"NATS has no {what}: `threadwax nats --setup-only` creates it"
        for what in +self.interrupted:
            return f"NATS does not let this process read the {what}: its log says why"
        return ""

    @property
    def settles_in_s(self) -> float:
        """How long the server may refuse everything although nothing is wrong: 0 if it is alone.

        While a cluster elects a leader, nobody should be told of a failure.
        """
        return ELECTION_S if self.client.is_clustered else 0.0

    async def close(self) -> None:
        """Writes buffered messages, unless the server is gone, and closes the connection."""
        self._closing = True
        with contextlib.suppress(*TRANSIENT):
            async with asyncio.timeout(REQUEST_TIMEOUT_S):  # a hung server confirms nothing
                await self.client.close()

    def may_publish(self, subject: str) -> bool:
        """False if the server has denied a message on this subject since it was connected."""
        return self._refusals.may_publish(subject)

    def on_reconnect(self, call: Callable[[], None]) -> Callable[[], None]:
        """Calls `call` after each reconnect; returns a function that undoes this."""
        self._on_reconnect.add(call)
        return lambda: self._on_reconnect.discard(call)

    async def until_done(
        self, once: Callable[[], Awaitable[T]], *, refused_for_s: float | None = None
    ) -> T:
        """Retries `once` until NATS does it: see `Retrying.until_done`."""
        return await self._retrying.until_done(once, refused_for_s=refused_for_s)
