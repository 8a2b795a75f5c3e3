"""Carries out requests to be forgotten: streams first, then files, and the reply last.

Every step may be repeated, and a restart repeats all of them until the reply is in the journal. It
must never report an erasure that is not complete. docs/decisions/0014-forget.md has the reasons.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dataflow.account_links import unlink
from dataflow.effects import Erase
from dataflow.erasing import files, recovery_files
from dataflow.erasing.expiry import expire_evicted
from dataflow.erasing.messages import MessageEraser
from dataflow.retention import Kept
from dataflow.tokens import Window
from shared.bus import Bus
from shared.log import logger
from shared.messages import Forget, Journaled, Reply
from shared.tasks import end

DONE: Final = (
    "Done: I have erased what I stored about you: your messages, my answers, files and ratings. "
    "I cannot erase the messages in this app, which you can delete yourself; what others quoted "
    "from you in their own questions; and the backups of whoever runs this bot."
)

AGAIN_FIRST_S: Final = 1.0
AGAIN_LAST_S: Final = 300.0
"""Waits after a failure, for example if the files are too large to be cleaned while many people
talk."""

KEEP_EVERY_S: Final = 3600.0
"""How often words are looked for that are older than THREADWAX_KEEP_DAYS."""

OnReply = Callable[[str, Journaled], None]


class Erasing:
    """The erasures in progress. Call from the asyncio thread."""

    def __init__(self, bus: Bus, store: Path, *, alone: bool = True) -> None:
        """`store` is the recovery store. `alone`: no other machine has a part of it."""
        self._bus = bus
        self._store = store
        self._alone = alone
        self._tasks: set[asyncio.Task[None]] = set()
        self._scrubbing = asyncio.Lock()

    def begin(self, user: str, effect: Erase, on_reply: OnReply) -> None:
        """Starts an erasure. Returns at once."""

        async def run() -> None:
            on_reply(user, await self._until_erased(effect))

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def keep_only(self, keep_days: int, window: Window) -> None:
        """Erases evicted conversations older than this, again and again, until it is cancelled."""
        while True:
            kept = Kept.at(datetime.now(UTC), keep_days)
            try:
                changed = await asyncio.to_thread(expire_evicted, self._store, kept, window)
                async with self._scrubbing:
                    await asyncio.to_thread(recovery_files.scrub, self._store)
            except (recovery_files.StillBusy, sqlite3.Error, OSError) as error:
                logger().warning("old words are not erased yet", why=str(error))
            else:
                if changed:
                    logger().info("erased old words", conversations=changed, keep_days=keep_days)
            await asyncio.sleep(KEEP_EVERY_S)

    async def close(self) -> None:
        """Ends all erasures; the next start begins them again."""
        await end(*self._tasks)

    async def _until_erased(self, effect: Erase) -> Journaled:
        forget = effect.forget
        wait_s = AGAIN_FIRST_S
        while True:
            try:
                return await self._erase(forget, effect.accounts)
            except (recovery_files.StillBusy, sqlite3.Error, OSError) as error:
                logger().warning(
                    "a user is not erased yet", user=forget.user, why=str(error), again_in_s=wait_s,
                    remedy="if this repeats, restart the dataflow when few people use it",
                )  # fmt: skip
            except Exception:  # noqa: BLE001  (a defect must not make the bot forget the request)
                logger().exception("defect while erasing a user", user=forget.user)
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, AGAIN_LAST_S)

    async def _erase(self, forget: Forget, accounts: tuple[str, ...]) -> Journaled:
        # After a crash the flow must not return to a snapshot from before the event: it would look
        # for messages that are gone.
        if self._alone:
            await asyncio.to_thread(recovery_files.until_saved, self._store, forget.user, forget.id)
        if accounts:
            await self._bus.until_done(lambda: unlink(self._bus, forget, accounts))
        counts = asdict(await MessageEraser(self._bus, forget).erase())
        async with self._scrubbing:
            counts |= await asyncio.to_thread(self._erase_files, forget.user)
        logger().info("erased", user=forget.user, prompt=forget.id, **counts)
        return await self._bus.journal(_reply(forget, counts))

    def _erase_files(self, user: str) -> dict[str, int]:
        counts = {
            "evicted": files.erase_evicted(self._store, user),
            "unreadable": files.erase_unreadable(self._store, user),
        }
        recovery_files.scrub(self._store)
        if left := files.set_aside_stores(self._store):
            logger().warning("a broken store may contain what was erased", left=left,
                             remedy="delete it if you no longer need it")  # fmt: skip
        return counts


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
