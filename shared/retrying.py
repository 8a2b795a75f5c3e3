"""Retries operations until NATS does them, and reports that once for all of them.

By default it never gives up: most operations here fulfil a promise to a person.
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
_STARTS_S: Final = 1.5  # a server that came back needs this long until its streams answer

_NO_STREAM: Final = (
    "is a stream missing? Run `threadwax nats --setup-only` with NATS_URL of a user that may "
    "create streams, or restart the embedded server"
)

TRANSIENT: Final = (
    nats.errors.Error,  # disconnected, no responders, buffers full, timeouts
    TimeoutError,
    OSError,
)


class Retrying:
    """The retries over one connection."""

    def __init__(self, connected: Callable[[], bool], settles_in_s: Callable[[], float]) -> None:
        """`settles_in_s`: how long refusals are normal, because a cluster elects a leader."""
        self._connected = connected
        self._settles_in_s = settles_in_s
        self._struggling = 0

    async def until_done(
        self, once: Callable[[], Awaitable[T]], *, refused_for_s: float | None = None
    ) -> T:
        """Retries `once` until NATS does it; returns the result.

        Reports once that it is retrying, and once that this is over. After `refused_for_s` seconds
        with a connection but without success, it raises the last error; by default never. In a
        cluster, both happen only after the time that an election may take.
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
                    # Not reported while disconnected, which the connection reports, nor right after
                    # a reconnect, while the server opens its files.
                    refused_since = (refused_since or now()) if self._connected() else None
                    refused_s = now() - refused_since if refused_since else 0.0
                    refused_s -= self._settles_in_s()
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
                "nats does not store: retrying until it does",
                error=str(error), remedy=_NO_STREAM if _says_no_stream(error) else "",
            )  # fmt: skip

    def _struggle_over(self) -> None:
        # One success does not mean that the other operations succeed.
        self._struggling -= 1
        if self._struggling == 0:
            logger().warning("nats stores again")


def _says_no_stream(error: Exception) -> bool:
    """Whether no stream listens on the subject."""
    return isinstance(error, nats.errors.NoRespondersError | nats.js.errors.NoStreamResponseError)
