"""Sends this member's beats over NATS, and hears those of the others.

It must never let two dataflows with different stores serve users of one NATS server: each would
know half of what people said.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable
from typing import Final

import nats.errors
from nats.aio.msg import Msg
from pydantic import BaseModel, ValidationError

from dataflow.partitions.members import Members
from shared import names
from shared.bus import Bus
from shared.connection import TRANSIENT
from shared.log import logger
from shared.pulse import now_s

BEAT_S: Final = 0.5
HELLO_S: Final = 1.0

LATE_S: Final = 1.5
"""An own beat that took this long says nothing about how long others have been silent."""

FRESH_S: Final = 2.0
"""No other member takes this one for dead within this time after its last beat came back."""

DEAF_AFTER_S: Final = 10.0
DEAF: Final = (
    "let the dataflow's NATS user publish and subscribe dataflow.hello, dataflow.beats and "
    "dataflow.claims, as in deploy/nats-server.conf"
)


class OtherStore(Exception):
    """Another dataflow on this NATS server has another store of conversations."""

    def __init__(self, other: str) -> None:
        super().__init__(
            f"the dataflow {other} already serves the questions on this NATS server from another "
            "store of conversations. Give both the same DATABASE_URL of a PostgreSQL server, or "
            "start this one on the data folder of the other."
        )


class Beat(BaseModel):
    """Says that a member can serve partitions. `leaving`: it takes none any more."""

    member: str
    store: str
    """The identity of its store."""

    leaving: bool = False
    at: float = 0.0
    """When it was sent, by the sender's own clock."""


class Beats:
    """The beats of one member. Call from the asyncio thread."""

    def __init__(
        self,
        bus: Bus,
        members: Members,
        store_identity: str,
        *,
        is_well: Callable[[], bool],
        on_news: Callable[[], None],
        on_other_store: Callable[[OtherStore], None],
    ) -> None:
        """`is_well`: a member that is not sends no beats.

        `on_news` is called when members have changed, and with each own beat that comes back.
        `on_other_store` must end the process.
        """
        self._bus = bus
        self._members = members
        self._store_identity = store_identity
        self._is_well = is_well
        self._on_news = on_news
        self._on_other_store = on_other_store
        self._leaving = False
        self._passed_at = self._due_at = self._returned_at = now_s()
        self._resumed_at = float("-inf")
        """When the last gap ended, in which others may have taken this member's partitions."""
        self._unheard_since = now_s()
        self._deaf_at = math.inf

    @property
    def claims_count_from(self) -> float:
        """Who has read the claims since this moment knows who serves whom; infinite: nobody can.

        A member that is deaf for long has lost its partitions, or nobody else wants them.
        """
        if self.is_fresh:
            return self._resumed_at
        return max(self._deaf_at, self._resumed_at)

    @property
    def is_fresh(self) -> bool:
        """Whether the last beat came back, or still may: nobody takes this member for dead.

        A member that is not well sends none, and is not cut off either.
        """
        now = now_s()
        is_due = self._due_at > self._returned_at and now - self._returned_at > FRESH_S
        return now - self._passed_at <= FRESH_S and not is_due

    def _passed(self) -> None:
        """Called before each beat: a long gap means that the process was frozen."""
        if (now := now_s()) - self._passed_at > FRESH_S:
            self._resumed_at = self._unheard_since = now
        self._passed_at = now
        if self.is_fresh or not self._bus.connected:
            self._unheard_since, self._deaf_at = now, math.inf
        elif now - self._unheard_since > DEAF_AFTER_S and self._deaf_at == math.inf:
            self._deaf_at = now
            logger().error("own messages do not come back, so no more users can be served",
                           subject=names.MEMBER_BEATS, remedy=DEAF)  # fmt: skip

    def _returned(self, beat: Beat) -> None:
        if (now := now_s()) - self._returned_at > FRESH_S:
            self._resumed_at = now
        self._returned_at = max(self._returned_at, beat.at)

    async def ask_for_others(self) -> None:
        """Asks who is there, before this member serves anybody. One answer is enough.

        Raises:
            OtherStore: somebody with another store.
        """
        with contextlib.suppress(TimeoutError, nats.errors.Error, ValidationError):
            answer = await self._bus.client.request(names.MEMBERS_HELLO, timeout=HELLO_S)
            there = Beat.model_validate_json(answer.data)
            if there.store != self._store_identity:
                raise OtherStore(there.member)

    async def listen(self) -> None:
        """Begins to hear the others."""
        await self._bus.client.subscribe(names.MEMBERS_HELLO, cb=self._answer)
        await self._bus.client.subscribe(names.MEMBER_BEATS, cb=self._hear)

    async def send_forever(self) -> None:
        """Sends beats until it is cancelled."""
        while True:
            self._passed()
            if self._leaving or self._is_well():
                self._due_at = now_s()
                if self._bus.connected:
                    await self._send()
            await asyncio.sleep(BEAT_S)

    async def leave(self) -> None:
        """Tells the others that this member takes no partitions any more."""
        self._leaving = True
        await self._send()

    async def _send(self) -> None:
        with contextlib.suppress(*TRANSIENT):
            await self._bus.client.publish(names.MEMBER_BEATS, self._beat())

    def _beat(self) -> bytes:
        beat = Beat(member=self._members.me, store=self._store_identity, leaving=self._leaving,
                    at=now_s())  # fmt: skip
        return beat.model_dump_json().encode()

    async def _answer(self, message: Msg) -> None:
        await message.respond(self._beat())

    async def _hear(self, message: Msg) -> None:
        try:
            beat = Beat.model_validate_json(message.data)
        except ValidationError:
            return  # of a version that this one does not know
        if beat.store != self._store_identity:
            # Of two that have started at the same time, the same one ends on both sides.
            if self._store_identity > beat.store:
                self._on_other_store(OtherStore(beat.member))
            return
        if beat.member == self._members.me:
            self._returned(beat)
            if now_s() - beat.at > LATE_S:
                # After a short cut many come back at once, and would make all others seem silent.
                return
        is_own, is_new = beat.member == self._members.me, not self._members.is_heard(beat.member)
        has_changed = self._members.hear(beat.member, leaving=beat.leaving)
        if is_new and not is_own:
            await self._send()  # so that it knows of this member before it claims its share
        if has_changed or is_own:
            self._on_news()
