"""Stores events in the stream, each once and within its user's quota.

Returns only after the server has an event on disk. It must never log the text of a message.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import nats.errors
import nats.js.errors
from nats.js import api

from shared import metrics, names, quota, tracing, user_names
from shared.connection import REQUEST_TIMEOUT_S, TRANSIENT, Connection, Refused, Unavailable
from shared.group_commit import GroupCommit
from shared.log import logger
from shared.log_throttle import LogThrottle
from shared.messages import EVENT_LIMIT_BYTES, Deleted, Event, Forget, Reset, Stop
from shared.quota import Quotas
from shared.waiting import Waiting

T = TypeVar("T")

_NOT_STORED: Final = 10077
"""The stream refuses a message; only the description says why, and some reasons pass."""

_STREAM_FULL: Final = "maximum bytes exceeded"
_SUBJECT_FULL: Final = "maximum messages per subject exceeded"

_OUT_OF_RESOURCES: Final = frozenset({10002, 10023, 10047})
"""The limits of the account, of the server's memory or of its `max_file` are reached."""

_MESSAGE_TOO_LARGE: Final = 10054
_NO_ROLLUP: Final = 10111
_REFUSED: Final = {api.Header.ROLLUP.value: "never"}
"""A value that no stream accepts: its leader refuses it after it has looked for a duplicate.

Never a wrong `Nats-Expected-Last-Msg-Id`: with replicas, nats-server 2.15 checks that in each of
them only when it stores the message, and then the stream stores nothing more.
"""

_RETRY_S: Final = 0.1

_WAITS_S: Final = 4.0
"""What waits for this long to be stored is news; shorter elections are not."""

_TROUBLE_S: Final = 60.0
"""After this long without another try, a refusal says nothing about the next question."""

_ON_RESERVE: Final = (Stop, Deleted, Reset, Forget)
"""Events with a quota of their own: they must pass even if the user has asked too much."""


def is_full(error: nats.js.errors.APIError) -> bool:
    """Whether nobody's messages can be stored until a person frees some space."""
    reason = error.description or ""
    return error.err_code in _OUT_OF_RESOURCES or (
        error.err_code == _NOT_STORED and _STREAM_FULL in reason
    )


class TooLarge(Exception):
    """The message is too large and will never fit."""

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"the message takes {size_bytes:,} bytes and must not take more than {limit_bytes:,}"
        )


class OverQuota(Exception):
    """This user's quota is used up: tell them; an early retry will not help."""


class StoreFull(OverQuota):
    """The store is full until a person frees some space: tell the user to come back later."""


_WHY: Final = {
    TooLarge: "too large",
    OverQuota: "over quota",
    StoreFull: "full",
    Unavailable: "unavailable",
    Refused: "unavailable",
}
"""Labels of metrics."""


class Publishing(Connection):
    """A connection that can store events."""

    def __init__(self, url: str, on_closed: Callable[[], None]) -> None:
        super().__init__(url, on_closed)
        self._events = GroupCommit(
            self.client, self.js, timeout_s=REQUEST_TIMEOUT_S, stream=names.PROMPTS
        )
        self._storing = Waiting()
        self._full_at = float("-inf")
        self._unavailable_at = float("-inf")
        self._event_quotas = Quotas(quota.EVENT_QUOTA_BYTES)
        self._reserved_quotas = Quotas(quota.RESERVE_BYTES)
        self._throttle = LogThrottle()

    async def publish(
        self, event: Event, *, patience_s: float = 0.0, quota_of: str | None = None
    ) -> bool:
        """Stores an event; returns True if it is new, False if it was stored before.

        Returns once the event is on the server's disk. Retries for `patience_s` seconds, and in a
        cluster for as long as an election may take in addition. The event counts against the quota
        of `quota_of`, by default its user's own.

        Raises:
            TooLarge: it will never fit.
            OverQuota: it is new and the quota is used up, or the stream is full (`StoreFull`).
            Unavailable: NATS could not store it in time; a later retry is safe.
        """
        platform, _ = user_names.split_user(event.user)
        started = time.monotonic()
        try:
            with self._storing.one(), tracing.publishing(event) as span:
                new = await self._published(event, patience_s, quota_of, span)
                span.stored(new=new)
        except (TooLarge, OverQuota, Unavailable) as error:
            metrics.publish_failed.labels(platform, _WHY[type(error)]).inc()
            if isinstance(error, StoreFull):
                self._full_at = time.monotonic()
            elif isinstance(error, Unavailable):
                self._unavailable_at = time.monotonic()
            raise
        self._full_at = self._unavailable_at = float("-inf")
        kind = getattr(event, "kind", "event")
        metrics.publish_s.labels(platform).observe(time.monotonic() - started)
        (metrics.published.labels(platform, kind) if new
         else metrics.published_before.labels(platform)).inc()  # fmt: skip
        logger().info("received", kind=kind, prompt=event.id, new=new)
        return new

    @property
    def storing_trouble(self) -> str:
        """Why nothing is stored now, or was not in the last minute; empty if it is, or unknown."""
        if self._storing.stuck_s > _WAITS_S:
            return "NATS does not store what it is sent: it elects a leader, or lacks servers"
        if time.monotonic() - max(self._full_at, self._unavailable_at) > _TROUBLE_S:
            return ""
        return "NATS does not store questions: its log, or that of this process, says why"

    @property
    def was_unavailable(self) -> bool:
        """Whether a question was lately not stored because NATS did not answer."""
        return time.monotonic() - self._unavailable_at <= _TROUBLE_S

    def answers_since(self, moment: float) -> None:
        """The stream of questions answers since this moment, as in `time.monotonic`."""
        if self._unavailable_at < moment:
            self._unavailable_at = float("-inf")

    async def _published(
        self, event: Event, patience_s: float, quota_of: str | None, span: tracing.Span
    ) -> bool:
        data = event.wire()
        if len(data) > EVENT_LIMIT_BYTES:
            raise TooLarge(len(data), EVENT_LIMIT_BYTES)
        subject = names.prompt_subject(event.user)
        headers = {"Nats-Msg-Id": event.id, **span.headers}

        async def store() -> bool:
            span.tried()
            return await self._store(subject, data, headers)

        holder = quota_of or event.user
        if isinstance(event, _ON_RESERVE):
            quotas, cost = self._reserved_quotas, max(len(data), quota.RESERVE_MIN_BYTES)
        else:
            quotas, cost = self._event_quotas, max(len(data), quota.EVENT_MIN_BYTES)
        new = False
        if quotas.take(holder, cost, time.monotonic()):
            try:
                new = await self.patiently(store, patience_s)
            finally:
                if not new:
                    quotas.give_back(holder, cost, time.monotonic())
        elif not await self.patiently(lambda: self._is_stored(subject, headers), patience_s):
            self._log_over_quota(event.id)
            raise OverQuota("the quota of this user is used up for now")
        return new

    async def is_stored(self, user: str, event_id: str) -> bool:
        """Whether an event of this user was stored within the last day.

        Raises:
            Unavailable: NATS does not answer now.
        """
        return await self._is_stored(names.prompt_subject(user), {"Nats-Msg-Id": event_id})

    async def patiently(self, once: Callable[[], Awaitable[T]], patience_s: float = 0.0) -> T:
        """Retries `once` for `patience_s` seconds, and in a cluster for an election in addition.

        Raises:
            Unavailable: `once` still raised it at the end of that time.
        """
        now = asyncio.get_running_loop().time
        deadline = now() + patience_s
        while True:
            try:
                return await once()
            except Unavailable:
                # Asked now: who connects to a cluster for the first time cannot know it earlier.
                if now() >= deadline + self.settles_in_s:
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

    async def _is_stored(self, subject: str, headers: dict[str, str]) -> bool:
        """Asks whether the server has a message with this id, without storing anything."""
        try:
            return bool((await self.js.publish(subject, headers=headers | _REFUSED)).duplicate)
        except nats.js.errors.APIError as error:
            if error.err_code == _NO_ROLLUP:
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
            logger().warning("refused: a user's quota is used up", prompt=prompt_id, times=times)
