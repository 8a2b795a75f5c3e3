"""Tries an operation until NATS does it, and says once that it tries, whoever tries what.

By default it never gives up: most of what is tried here is promised to a person.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import nats.errors
import nats.js.errors

from shared.log import logger

T = TypeVar("T")

_RETRY_FIRST_S: Final = 0.1
_RETRY_LAST_S: Final = 2.0
_STARTS_S: Final = 1.5  # a server that is back takes so long until its streams answer

_NO_STREAM: Final = (
    "is a stream missing? `threadwax nats --setup-only` with NATS_URL of a user who may create "
    "streams brings it back, and so does a new start of the embedded server"
)

TRANSIENT: Final = (
    nats.errors.Error,  # disconnected, no responders, buffers full, time-outs
    TimeoutError,
    OSError,
)


class Retrying:
    """What is being tried over one connection."""

    def __init__(self, connected: Callable[[], bool]) -> None:
        self._connected = connected
        self._struggling = 0

    async def until_done(
        self, once: Callable[[], Awaitable[T]], *, refused_for_s: float | None = None
    ) -> T:
        """The result of `once`, tried until NATS does it; reported once, and once when over.

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
                    # While it is away the connection has reported that, and just after that the
                    # server opens its files.
                    refused_since = (refused_since or now()) if self._connected() else None
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
