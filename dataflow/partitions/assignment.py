"""Claims this member's share of the partitions, and gives up those beyond it.

Members send beats over NATS; who is silent loses its partitions to the others. That decides only
who works: what is right is decided by the epochs of the claims in the store and by the journal, so
a member that was wrongly taken for dead does no harm. It must never claim a partition of a member
that it heard lately, nor one while NATS does not answer.
"""

import asyncio
import contextlib
import time
import zlib
from collections.abc import Callable
from typing import Final

from nats.aio.msg import Msg

from dataflow.io_thread import IoThread
from dataflow.partitions.beats import Beats, OtherStore
from dataflow.partitions.member_locks import MemberLocks
from dataflow.partitions.members import Members, quota
from dataflow.partitions.storage import PartitionStorage
from dataflow.store.store import Claim, Store, StoreAway
from shared import metrics, names
from shared.bus import Bus
from shared.connection import TRANSIENT
from shared.log import logger
from shared.pulse import now_s
from shared.tasks import end

LOOK_S: Final = 2.0
"""How often the claims are read, besides whenever a member reports a change."""

STEPPED_WITHIN_S: Final = 3.0
STORE_SEEN_WITHIN_S: Final = 5.0
"""A member whose worker takes no steps, or whose store does not answer, sends no beats."""

AGAIN_S: Final = 0.5
LEADER_ANSWERS_WITHIN_S: Final = 1.5


class Assignment:
    """This member's part in sharing the partitions. Call from the asyncio thread."""

    def __init__(
        self,
        io: IoThread,
        bus: Bus,
        store: Store,
        storage: PartitionStorage,
        *,
        locks: MemberLocks,
        members: Members,
        stepped_at: Callable[[], float | None],
        on_other_store: Callable[[OtherStore], None],
    ) -> None:
        self._io = io
        self._bus = bus
        self._store = store
        self._storage = storage
        self._locks = locks
        self._members = members
        self._me = members.me
        self._stepped_at = stepped_at
        self._wake = asyncio.Event()
        self._beats = Beats(
            bus, members, store.identity,
            is_well=lambda: self.is_well, on_news=self._wake.set, on_other_store=on_other_store,
        )  # fmt: skip
        self._claims: dict[int, Claim] = {}
        self._mine: dict[int, int] = {}
        self._giving: set[int] = set()
        self._look_now = asyncio.Event()
        self._empty = asyncio.Event()
        self._leaving = False
        self._running: asyncio.Task[None] | None = None
        self._store_seen_at = 0.0
        self._claims_read_at = float("-inf")
        self._claims_read = asyncio.Event()
        storage.owner = self

    @property
    def held(self) -> list[int]:
        """The partitions that this member serves."""
        return sorted(self._mine)

    @property
    def claims(self) -> dict[int, Claim]:
        """The claims of all partitions, as they were last seen."""
        return self._claims

    # --- life ---------------------------------------------------------------------------------

    async def join(self) -> None:
        """Joins the other members, if there are any.

        Raises:
            OtherStore: they have another store.
        """
        await self._beats.ask_for_others()
        with contextlib.suppress(StoreAway):  # `run` looks again
            await self._look()
        await self._beats.listen()
        await self._bus.client.subscribe(names.CLAIMS_CHANGED, cb=self._on_changed)

    async def run(self) -> None:
        """Keeps this member's share until it is closed."""
        self._running = asyncio.current_task()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._beats.send_forever())
            tasks.create_task(self._keep_looking())
            tasks.create_task(self._keep_balance())

    async def close(self) -> None:
        """Ends `run`."""
        if self._running is not None:
            await end(self._running)

    async def leave(self) -> None:
        """Gives all partitions away; returns when they are stored and free."""
        self._leaving = True
        await self._beats.leave()
        self._wake.set()
        if self._mine:
            await self._empty.wait()

    @property
    def is_well(self) -> bool:
        """Whether this member can serve anybody: others take over if it cannot."""
        now = time.monotonic()
        stepped_at = self._stepped_at()
        has_stepped = stepped_at is None or now - stepped_at < STEPPED_WITHIN_S
        return has_stepped and now - self._store_seen_at < STORE_SEEN_WITHIN_S

    async def until_certain(self) -> None:
        """Returns at once, unless others may serve this member's partitions without its knowledge.

        Then the model would be asked in vain: it returns when the claims have been read since beats
        came back, or since they were away for long although NATS is there. A store that does not
        answer is no reason to wait, as answers are journaled without it.
        """
        while self._claims_read_at < self._beats.claims_count_from:
            self._claims_read.clear()
            self._look_now.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_S):
                    await self._claims_read.wait()

    # --- claims -------------------------------------------------------------------------------

    async def _on_changed(self, _: Msg) -> None:
        self._look_now.set()

    async def _keep_looking(self) -> None:
        while True:
            try:
                await self._look()
            except StoreAway as error:
                logger().debug("the claims cannot be read", error=str(error))
                await asyncio.sleep(AGAIN_S)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._look_now.wait()
            self._look_now.clear()

    async def _look(self) -> None:
        asked_at = now_s()
        for partition, claim in (await self._store.claims()).items():
            known = self._claims.get(partition)
            if known is not None and claim.epoch < known.epoch:
                continue  # read before, and told after
            self._claims[partition] = claim
            if claim.holder and claim.holder != self._me:
                self._members.expect(claim.holder)
                if self._locks.is_dead(claim.holder):
                    self._members.bury(claim.holder)
            if claim.epoch > self._mine.get(partition, claim.epoch):
                self._lose(partition)
            if claim != known:
                self._wake.set()
        self._store_seen_at = time.monotonic()
        self._claims_read_at = asked_at
        self._claims_read.set()
        holders = {claim.holder for claim in self._claims.values()}
        self._members.drop_dead(holders)
        self._locks.remove_dead(holders)

    def _lose(self, partition: int) -> None:
        if self._mine.pop(partition, None) is None:
            return
        self._giving.discard(partition)
        metrics.share_changes.labels("lost").inc()
        logger().warning("another process serves a partition now", partition=partition)
        self._storage.lose(partition)
        self._note_empty()

    def refused(self, partition: int) -> None:
        """A late write: another process has claimed the partition."""
        self._lose(partition)
        self._look_now.set()

    def released(self, partition: int) -> None:
        """The partition is free."""
        self._mine.pop(partition, None)
        self._giving.discard(partition)
        metrics.share_changes.labels("released").inc()
        self._note_empty()
        self._look_now.set()
        self._io.spawn(self._announce())

    async def _announce(self) -> None:
        with contextlib.suppress(*TRANSIENT):
            await self._bus.client.publish(names.CLAIMS_CHANGED)

    def _note_empty(self) -> None:
        if not self._mine:
            self._empty.set()

    # --- balance ------------------------------------------------------------------------------

    async def _keep_balance(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self._bus.connected and not self._leaving:  # giving needs only the store
                continue  # the next beat wakes it
            try:
                await self._balance()
            except StoreAway as error:
                logger().debug("no partition can be claimed", error=str(error))
            except TRANSIENT as error:
                logger().debug("nats does not answer: no partition is claimed", error=str(error))

    async def _balance(self) -> None:
        if self._leaving:
            self._give(set(self._mine) - self._giving)
            return
        live = self._members.live()
        if self._me not in live or not self._claims:
            return
        wanted = quota(len(self._claims), live, self._me)
        kept = sorted(set(self._mine) - self._giving)
        self._give(kept[wanted:])
        missing = wanted - len(kept)
        free = [partition for partition in self._claims if self._is_free(partition)]
        if missing > 0 and free:
            # In another order for each member, so that they do not claim the same ones.
            free.sort(key=lambda partition: zlib.crc32(f"{self._me} {partition}".encode()))
            await self._claim(free[:missing])

    def _give(self, partitions: set[int] | list[int]) -> None:
        for partition in partitions:
            self._giving.add(partition)
            self._storage.give(partition)

    def _is_free(self, partition: int) -> bool:
        holder = self._claims[partition].holder
        if partition in self._mine:
            return False
        return not holder or holder == self._me or not self._members.is_heard(holder)

    async def _claim(self, wanted: list[int]) -> None:
        # A member that cannot reach the stream's leader could answer nobody. The timeout is short,
        # since a request sent just before the leader was elected gets no answer.
        async with asyncio.timeout(LEADER_ANSWERS_WITHIN_S):
            await self._bus.js.stream_info(names.PROMPTS)
        # Beats and claims have come meanwhile.
        epochs = {one: self._claims[one].epoch for one in wanted if self._is_free(one)}
        won = await self._store.claim(self._me, epochs)
        for partition, claim in won.items():
            self._claims[partition] = claim
            self._mine[partition] = claim.epoch
            self._empty.clear()
            metrics.share_changes.labels("claimed").inc()
            others = claim.answering if self._members.is_heard(claim.released_by) else frozenset()
            await self._storage.gain(partition, claim, others)
        if won:
            logger().info("serves partitions", claimed=sorted(won), held=len(self._mine))
            await self._announce()
        if len(won) < len(epochs):
            self._look_now.set()
