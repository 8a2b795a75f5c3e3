"""Carries out requests to be forgotten: streams first, then files, and the reply last.

Every step may be repeated, and a restart repeats all of them until the reply is in the journal. It
must never report an erasure that is not complete. docs/decisions/0014-forget.md has the reasons.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dataflow.account_links import unlink
from dataflow.effects import Erase
from dataflow.erasing.messages import MessageEraser
from dataflow.partitions.storage import PartitionStorage
from dataflow.retention import Kept, may_have_older
from dataflow.store.machine_file import remove_moved
from dataflow.store.older_files import remove_migrated
from dataflow.store.store import Store, StoreAway
from dataflow.unreadable import Unreadable
from shared.bus import Bus
from shared.log import logger
from shared.messages import Forget
from shared.replies import Journaled, Reply
from shared.tasks import end

DONE: Final = (
    "Done: I have erased what I stored about you: your messages, my answers, files and ratings. "
    "I cannot erase the messages in this app, which you can delete yourself; what others quoted "
    "from you in their own questions; and the backups of whoever runs this bot."
)

AGAIN_FIRST_S: Final = 1.0
AGAIN_LAST_S: Final = 300.0
"""Waits after a failure, for example if a backup keeps the log of the store in use."""

KEEP_EVERY_S: Final = 3600.0
"""How often words are looked for that are older than THREADWAX_KEEP_DAYS, in each partition."""

KEEP_LOOK_S: Final = 5.0
"""How often it is checked whether a partition is held in which nobody has looked yet."""

AT_ONCE: Final = 100
PAUSE_S: Final = 0.05
"""After this many conversations, so that people who talk meanwhile are not delayed."""

BROKEN: Final = ("conversations.db.broken-*", "recovery.broken-*")
"""Damaged stores that were set aside, in this and in older versions."""

OnReply = Callable[[str, Journaled], None]


class Erasing:
    """The erasures in progress. Call from the asyncio thread."""

    def __init__(self, bus: Bus, store: Store, storage: PartitionStorage, home: Path) -> None:
        self._bus = bus
        self._store = store
        self._storage = storage
        self._home = home
        self._unreadable = Unreadable(home)
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, user: str, effect: Erase, on_reply: OnReply) -> None:
        """Starts an erasure. Returns at once."""
        # After a crash the flow must not return to a conversation from before the event: it would
        # look for messages that are gone.
        written = self._storage.until_written(user)

        async def run() -> None:
            if await written:  # otherwise whoever has the conversation does it
                on_reply(user, await self._until_erased(effect))

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def keep_only(self, keep_days: int) -> None:
        """Erases older words from stored conversations, again and again, until it is cancelled."""
        checked_at: dict[int, float] = {}
        while True:
            now = asyncio.get_running_loop().time()
            kept = Kept.at(datetime.now(UTC), keep_days)
            due = [
                partition for partition in self._storage.partitions
                if now - checked_at.get(partition, -math.inf) >= KEEP_EVERY_S
            ]  # fmt: skip
            try:
                counts = {partition: await self._expire(partition, kept) for partition in due}
                if due:
                    await self._store.scrub()
                    await asyncio.to_thread(_remove_files, self._home)
            except StoreAway as error:
                logger().warning("old words are not erased yet", why=str(error))
            else:
                checked_at |= {one: now for one, count in counts.items() if count is not None}
                if changed := sum(count or 0 for count in counts.values()):
                    logger().info("erased old words", conversations=changed, keep_days=keep_days)
            await asyncio.sleep(KEEP_LOOK_S)

    async def close(self) -> None:
        """Ends all erasures; the next start begins them again."""
        await end(*self._tasks)

    async def _expire(self, partition: int, kept: Kept) -> int | None:
        """Has the conversations of a partition drop what is too old; returns how many.

        None: the partition has gone to another process, which looks for itself.
        """
        changed, user = 0, ""
        while rows := await self._store.after(partition, user, AT_ONCE):
            user = rows[-1].user
            old = [row.user for row in rows if may_have_older(row.saved, kept)]
            if old:
                changed += len(old)
                written = [self._storage.until_written(one) for one in old]
                self._storage.recheck(partition, old)
                if not all(await asyncio.gather(*written)):
                    return None
            await asyncio.sleep(PAUSE_S)
        return changed

    async def _until_erased(self, effect: Erase) -> Journaled:
        forget = effect.forget
        wait_s = AGAIN_FIRST_S
        while True:
            try:
                return await self._erase(forget, effect.accounts)
            except (StoreAway, OSError) as error:
                logger().warning(
                    "a user is not erased yet", user=forget.user, why=str(error), again_in_s=wait_s,
                    remedy="if this repeats, end what reads the store, such as a backup",
                )  # fmt: skip
            except Exception:  # noqa: BLE001  (a defect must not make the bot forget the request)
                logger().exception("defect while erasing a user", user=forget.user)
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, AGAIN_LAST_S)

    async def _erase(self, forget: Forget, accounts: tuple[str, ...]) -> Journaled:
        if accounts:
            await self._bus.until_done(lambda: unlink(self._bus, forget, accounts))
        counts = asdict(await MessageEraser(self._bus, forget).erase())
        await asyncio.to_thread(_remove_files, self._home)
        counts["unreadable"] = await asyncio.to_thread(self._unreadable.erase, forget.user)
        # The conversation has no words any more since it was written; this removes older versions.
        await self._store.scrub()
        if left := [
            path.name for name in BROKEN for path in sorted((self._home / "dataflow").glob(name))
        ]:
            logger().warning("a broken store may contain what was erased", left=left,
                             remedy="delete it if you no longer need it")  # fmt: skip
        logger().info("erased", user=forget.user, prompt=forget.id, **counts)
        return await self._bus.journal(_reply(forget, counts))


def _remove_files(home: Path) -> None:
    remove_migrated(home)
    remove_moved(home)


def _reply(forget: Forget, counts: dict[str, int]) -> Reply:
    return Reply(
        prompt_id=forget.id,
        user=forget.user,
        place=forget.place,
        address=forget.address,
        outcome="withdrawn" if forget.silent else "answered",
        text="" if forget.silent else DONE,
        said_at=forget.said_at,
        answered_at=datetime.now(UTC),
        erased=counts,
    )
