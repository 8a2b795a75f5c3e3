"""Events on their way into the stream: each stored once, and within its user's share.

Returns only when the server has an event on its disk. It must never log a message's text.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import nats.errors
import nats.js.errors

from shared import metrics, names, quota
from shared.connection import REQUEST_TIMEOUT_S, TRANSIENT, Connection, Unavailable
from shared.group_commit import GroupCommit
from shared.log import logger
from shared.log_throttle import LogThrottle
from shared.messages import EVENT_LIMIT_BYTES, Deleted, Event, Forget, Reset, Stop
from shared.quota import Quotas

_NOT_STORED: Final = 10077
"""The store refuses a message; only the description says why. Some reasons pass by themselves."""

_STREAM_FULL: Final = "maximum bytes exceeded"
_SUBJECT_FULL: Final = "maximum messages per subject exceeded"

_OUT_OF_RESOURCES: Final = frozenset({10002, 10023, 10047})
"""The account, the server's memory or its `max_file` is used up."""

_MESSAGE_TOO_LARGE: Final = 10054
_WRONG_LAST_MESSAGE_ID: Final = 10070
_RETRY_S: Final = 0.1

_TAKES_BACK: Final = (Stop, Deleted, Reset, Forget)
"""Events with a share apart: they must pass however much the user has asked."""


def is_full(error: nats.js.errors.APIError) -> bool:
    """Whether there is no room for anybody's messages until a person makes some."""
    reason = error.description or ""
    return error.err_code in _OUT_OF_RESOURCES or (
        error.err_code == _NOT_STORED and _STREAM_FULL in reason
    )


class TooLarge(Exception):
    """The message will never fit."""

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"the message takes {size_bytes:,} bytes and must not take more than {limit_bytes:,}"
        )


class OverQuota(Exception):
    """This user has stored as much as one user may: tell them; trying again soon will not help."""


class StoreFull(OverQuota):
    """Nobody's message can be stored until a person makes room: tell this user to come back."""


class Publishing(Connection):
    """A connection over which events are stored."""

    def __init__(self, url: str, on_closed: Callable[[], None]) -> None:
        super().__init__(url, on_closed)
        self._events = GroupCommit(self.client, self.js, timeout_s=REQUEST_TIMEOUT_S)
        self._event_quotas = Quotas(quota.EVENT_QUOTA_BYTES)
        self._reserved_quotas = Quotas(quota.RESERVE_BYTES)
        self._throttle = LogThrottle()

    async def publish(
        self, event: Event, *, patience_s: float = 0.0, quota_of: str | None = None
    ) -> bool:
        """Stores an event; True if it is new, False if it was stored before.

        Returns when the event is on the server's disk. Tries again for `patience_s` seconds.
        `quota_of` names whose share it uses: by default its user's own.

        Raises:
            TooLarge: it will never fit.
            OverQuota: it is new, and the share is used up, or there is no room (`StoreFull`).
            Unavailable: NATS could not store it in time; a later repeat is safe.
        """
        data = event.wire()
        if len(data) > EVENT_LIMIT_BYTES:
            raise TooLarge(len(data), EVENT_LIMIT_BYTES)
        subject = names.prompt_subject(event.user)
        headers = {"Nats-Msg-Id": event.id}
        holder = quota_of or event.user
        if isinstance(event, _TAKES_BACK):
            shares, cost = self._reserved_quotas, max(len(data), quota.RESERVE_AT_LEAST_BYTES)
        else:
            shares, cost = self._event_quotas, max(len(data), quota.EVENT_AT_LEAST_BYTES)
        new = False
        if shares.take(holder, cost, time.monotonic()):
            try:
                new = await self._stored(subject, data, headers, patience_s)
            finally:
                if not new:
                    shares.give_back(holder, cost, time.monotonic())
        elif not await self._known(subject, headers):
            self._log_over_quota(event.id)
            raise OverQuota("this user has stored as much as one user may for now")
        platform, _ = names.split_user(event.user)
        kind = getattr(event, "kind", "event")
        metrics.published.labels(platform, kind).inc()
        logger().info("received", kind=kind, prompt=event.id, new=new)
        return new

    async def _stored(
        self, subject: str, data: bytes, headers: dict[str, str], patience_s: float
    ) -> bool:
        deadline = asyncio.get_running_loop().time() + patience_s
        while True:
            try:
                return await self._store(subject, data, headers)
            except Unavailable:
                if asyncio.get_running_loop().time() >= deadline:
                    raise
                await asyncio.sleep(_RETRY_S)

    async def _store(self, subject: str, data: bytes, headers: dict[str, str]) -> bool:
        try:
            return await self._events.store(subject, data, headers)
        except nats.js.errors.APIError as error:
            if error.err_code == _MESSAGE_TOO_LARGE:
                raise TooLarge(len(data), EVENT_LIMIT_BYTES) from error
            if error.err_code == _NOT_STORED and _SUBJECT_FULL in (error.description or ""):
                self._log_over_quota(headers["Nats-Msg-Id"])
                raise OverQuota("the server keeps no more messages of this user") from error
            if is_full(error):
                self._log_full()
                raise StoreFull("the store of questions is full") from error
            raise Unavailable(f"NATS does not store now: {error.description}") from error
        except nats.errors.MaxPayloadError as error:
            raise TooLarge(len(data), EVENT_LIMIT_BYTES) from error
        except TRANSIENT as error:
            raise Unavailable("NATS does not answer now") from error

    async def _known(self, subject: str, headers: dict[str, str]) -> bool:
        """Whether the server has a message of this id; asks without storing anything."""
        # No message meets this condition, and the server looks for duplicates before it.
        impossible = {"Nats-Expected-Last-Msg-Id": "-"}
        try:
            return bool((await self.js.publish(subject, headers=headers | impossible)).duplicate)
        except nats.js.errors.APIError as error:
            if error.err_code == _WRONG_LAST_MESSAGE_ID:
                return False
            raise Unavailable(f"NATS does not store now: {error.description}") from error
        except TRANSIENT as error:
            raise Unavailable("NATS does not answer now") from error

    def _log_full(self) -> None:
        if times := self._throttle.times("full", time.monotonic()):
            logger().error(
                "refused: the store of questions is full", times=times,
                remedy=f"make room in the stream {names.PROMPTS}: see docs/deploy.md, Full streams",
            )  # fmt: skip

    def _log_over_quota(self, prompt_id: str) -> None:
        if times := self._throttle.times("over quota", time.monotonic()):
            logger().warning("refused: a user's share is used up", prompt=prompt_id, times=times)
