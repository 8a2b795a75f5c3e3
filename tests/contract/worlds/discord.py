"""The test world of Discord: the adapter's real client and the fake Discord, in this process."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from bots.discord.errors import NO_PERMISSION
from bots.discord.platform import Discord
from bots.discord.settings import DiscordSettings
from shared import user_names
from shared.budgets import NO_BUDGETS
from shared.messages import AnyEvent
from shared.tasks import end
from tests.fakes.discord import FakeDiscord

STARTS_WITHIN_S = 20.0
HEARD_WITHIN_S = 10.0


class DiscordWorld:
    """A server with one channel, people and the bot; `settings` are named by their variables."""

    def __init__(self, *, fake: FakeDiscord | None = None, **settings: object) -> None:
        self.fake = fake or FakeDiscord()
        self.blobs: dict[str, bytes] = {}
        self.heard: list[AnyEvent] = []
        self.publish_raises: Exception | None = None
        self.store_raises: Exception | None = None
        self.history: bytes | Exception = b""
        """What the recorder answers, and below, for whom it was asked."""
        self.asked_for: list[str] = []
        self.may_store = asyncio.Event()
        self.may_store.set()
        self.budgets = NO_BUDGETS
        self._settings = settings
        self._folder = TemporaryDirectory()
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.fake.start()
        try:
            await self.connect()
        except BaseException:
            await self._clean_up()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.disconnect()
        await self._clean_up()

    async def _clean_up(self) -> None:
        await self.fake.stop()
        self._folder.cleanup()

    async def connect(self) -> None:
        """Start the adapter with the data folder of the run before, if there was one."""
        settings = DiscordSettings.model_validate({**self.fake.env, **self._settings})
        self.platform = Discord(
            settings, Path(self._folder.name), self._store, self._publish,
            fetch_history=self._fetch_history, budgets=self.budgets,
        )  # fmt: skip
        self._listening = asyncio.create_task(self.platform.listen())
        async with asyncio.timeout(STARTS_WITHIN_S):
            started = asyncio.create_task(self.platform.listening.wait())
            await asyncio.wait({started, self._listening}, return_when="FIRST_COMPLETED")
            started.cancel()
        if self._listening.done():
            self._listening.result()

    async def disconnect(self) -> None:
        """Stop the adapter."""
        await self.platform.close()
        await asyncio.wait({self._listening}, timeout=STARTS_WITHIN_S)
        await end(self._listening)

    async def _store(self, user: str, name: str, data: bytes) -> None:
        assert user_names.split_user(user)[0] == "discord"
        await self.may_store.wait()
        if self.store_raises is not None:
            raise self.store_raises
        self.blobs[name] = data

    async def _fetch_history(self, user: str) -> bytes:
        self.asked_for.append(user)
        if isinstance(self.history, Exception):
            raise self.history
        return self.history

    async def _publish(self, event: AnyEvent) -> bool:
        if self.publish_raises is not None:
            raise self.publish_raises
        new = all(event.id != other.id for other in self.heard)
        if new:
            self.heard.append(event)
        self._changed.set()
        return new

    async def until_heard(self, count: int) -> None:
        """Wait until this many events are published."""
        async with asyncio.timeout(HEARD_WITHIN_S):
            while len(self.heard) < count:
                self._changed.clear()
                await self._changed.wait()

    # --- the methods of `World` ------------------------------------------------------------------

    async def say(self, text: str, *, author: str = "ada") -> str:
        return str(await self.fake.say(text, author=author, mention=True))

    async def deliver_again(self, message_id: str) -> None:
        await self.fake.redeliver(int(message_id))

    async def replies_to(self, message_id: str) -> list[str]:
        return self.fake.replies_to(int(message_id))

    async def end(self) -> None:
        await end(self._listening)

    async def refuse_everything(self) -> None:
        for method in ("GET", "POST", "PATCH", "DELETE"):
            self.fake.fail(method, "/channels/", status=403, code=NO_PERMISSION, times=100)

    async def limit_once(self, seconds: float) -> None:
        self.fake.fail("POST", r"/messages$", status=429, retry_after=seconds)

    def can(self, ability: str) -> bool:
        return ability in {"bots", "redelivery", "limits", "refusals"}
