"""Whether the streams that a process needs have leaders, for its status page.

While a cluster elects the leader of a stream, the connection works, and nothing is stored. Each
leader is asked regularly, with a message that it refuses. It must never store anything.
"""

import asyncio
import contextlib
import json
import time
from typing import Any, Final, NoReturn, Self

from nats.js import api

from shared import names
from shared.bus import Bus
from shared.connection import TRANSIENT

ASK_EVERY_S: Final = 2.0
ASK_AGAIN_S: Final = 0.5
"""While a leader does not answer, and after a question could not be stored."""

ANSWERS_WITHIN_S: Final = 1.0
AWAY_S: Final = 4.0
"""A leader that does not answer for this long is news. Shorter waits are part of an election that
people hardly notice."""

_IMPOSSIBLE: Final = {api.Header.EXPECTED_LAST_SEQUENCE.value: str(2**63 - 1)}
"""The leader refuses this before it proposes anything to the replicas."""

_NOBODY: Final = "leader"
"""The name in the subjects of these messages, on which nothing is ever stored."""

_NOT_AVAILABLE: Final = 503
"""A server that does not lead says so for a stream without a leader."""


class StreamLeaders:
    """The leaders that one process needs. Asks only in a cluster, or if something went wrong."""

    def __init__(self, bus: Bus, subjects: dict[str, str], consumer: str = "") -> None:
        """`subjects`: on which subject this process may store something, for each stream.

        `consumer`: its consumer of replies, which has a leader of its own.
        """
        self._bus = bus
        self._subjects = subjects
        self._consumer = consumer
        self._answered_at: dict[str, float] = {}

    @classmethod
    def of_adapter(cls, bus: Bus, platform: str, consumer: str) -> Self:
        """Those that an adapter needs, which stores questions and receipts."""
        subjects = {
            names.PROMPTS: names.prompt_subject(f"{platform}:{_NOBODY}"),
            names.RECEIPTS_STREAM: f"{names.RECEIPTS_PREFIX}{platform}.{_NOBODY}",
        }
        return cls(bus, subjects, consumer)

    @classmethod
    def of_dataflow(cls, bus: Bus) -> Self:
        """Those that the dataflow needs, which reads questions and stores replies."""
        user = f"{_NOBODY}:{_NOBODY}"
        return cls(bus, {names.PROMPTS: names.prompt_subject(user),
                         names.REPLIES: names.reply_subject(user, _NOBODY)})  # fmt: skip

    def need_leases(self, name: str) -> None:
        """This process wants a lease, too."""
        self._subjects[names.LEASES_STREAM] = names.lease_subject(name, _NOBODY)

    async def watch(self) -> NoReturn:
        """Asks until it is cancelled."""
        while True:
            if not self._is_needed:
                self._answered_at.clear()
            elif self._bus.connected:
                await self._ask_all()
            is_well = not self.trouble and not self._bus.was_unavailable
            await asyncio.sleep(ASK_EVERY_S if is_well else ASK_AGAIN_S)

    @property
    def trouble(self) -> str:
        """Which stream cannot be used at the moment, in plain words; empty if all can."""
        now = time.monotonic()
        for what, at in self._answered_at.items():
            if now - at > AWAY_S:
                return f"NATS has no leader for {what}: it elects one, or lacks servers"
        return ""

    @property
    def _is_needed(self) -> bool:
        return self._bus.client.is_clustered or self._bus.was_unavailable

    async def _ask_all(self) -> None:
        asking = [self._ask(f"the stream {stream}", subject, _IMPOSSIBLE, stream)
                  for stream, subject in self._subjects.items()]  # fmt: skip
        if self._consumer:
            subject = names.api_subject(names.consumer_info(names.REPLIES, self._consumer))
            asking.append(self._ask("the consumer of replies", subject))
        await asyncio.gather(*asking)

    async def _ask(
        self, what: str, subject: str, headers: dict[str, str] | None = None, stream: str = ""
    ) -> None:
        if not self._bus.may_publish(subject):  # then its silence says nothing of the leader
            self._answered_at.pop(what, None)
            return
        asked_at = time.monotonic()
        self._answered_at.setdefault(what, asked_at)
        with contextlib.suppress(*TRANSIENT):
            answer = await self._bus.client.request(
                subject, b"", timeout=ANSWERS_WITHIN_S, headers=headers
            )
            if _is_from_leader(answer.data):
                self._answered_at[what] = max(asked_at, self._answered_at.get(what, asked_at))
                if stream == names.PROMPTS:
                    self._bus.answers_since(asked_at)


def _is_from_leader(data: bytes) -> bool:
    try:
        body: Any = json.loads(data)
    except ValueError:
        return False
    error = body.get("error") if isinstance(body, dict) else None
    return not (isinstance(error, dict) and error.get("code") == _NOT_AVAILABLE)
