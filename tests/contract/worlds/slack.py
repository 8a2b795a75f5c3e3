"""The test world of Slack: the adapter's real client and the fake Slack, without NATS."""

import asyncio
import itertools
from typing import Any, Self

from bots.slack.platform import Slack
from bots.slack.settings import SlackSettings
from bots.slack.socket_mode import WatchdogLimits
from shared import user_names
from shared.budgets import NO_BUDGETS
from shared.connection import Unavailable
from shared.messages import AnyEvent
from shared.tasks import end
from tests.fakes.slack import APP_TOKEN, BOT, BOT_TOKEN, ROOM, FakeSlack, Fault

CONNECT_S = 15.0
ABILITIES = frozenset({"bots", "redelivery", "limits", "refusals"})
ANSWERING = (
    "agents.sessions.setStatus", "assistant.threads.setStatus", "chat.delete", "chat.postMessage",
    "chat.startStream", "chat.update", "conversations.history", "conversations.replies",
)  # fmt: skip
"""The methods by which answers are shown and found."""

AUTHORS = {"ada": "UADA", "bob": "UBOB"}


class NoBus:
    """Fails if used, because the world keeps published events itself."""

    connected = True

    async def is_stored(self, user: str, event_id: str) -> bool:
        raise AssertionError(f"asked the bus instead of the test world: {user} {event_id}")

    async def publish(self, event: AnyEvent) -> bool:
        raise AssertionError(f"published on the bus instead of in the test world: {event}")


class SlackWorld:
    """A workspace in which the adapter is listening."""

    def __init__(self, *, slack: FakeSlack | None = None, **settings: Any) -> None:
        self.slack = slack or FakeSlack()
        self.settings = settings
        self.heard: list[AnyEvent] = []
        self.blobs: dict[str, bytes] = {}
        self.unavailable = 0
        self.stores = asyncio.Event()
        """Cleared: NATS elects a leader, and events wait for it."""
        self.stores.set()
        self.publish_raises: Exception | None = None
        self.store_raises: Exception | None = None
        self.history: bytes | Exception = b""
        """What the recorder answers, and below, for whom it was asked."""
        self.asked_for: list[str] = []
        self.installations_url = ""
        self.budgets = NO_BUDGETS
        self.watchdog = WatchdogLimits(ping_s=0.5, dead_s=3.0, check_every_s=0.2, quiet_s=600)
        self._ids: set[str] = set()
        self._names = itertools.count()

    async def __aenter__(self) -> Self:
        await self.slack.start()
        self.platform = self.make()
        self.listening = asyncio.create_task(self.platform.listen())
        await self.until_listening()
        return self

    def make(self) -> Slack:
        values: dict[str, Any] = {
            "SLACK_BOT_TOKEN": BOT_TOKEN, "SLACK_APP_TOKEN": APP_TOKEN,
            "SLACK_API_URL": self.slack.url, **self.settings,
        }  # fmt: skip
        settings = SlackSettings.model_validate({k: v for k, v in values.items() if v is not None})
        platform = Slack(
            NoBus(),  # type: ignore[arg-type]
            self.publish,
            settings,
            watchdog=self.watchdog,
            budgets=self.budgets,
            installations_url=self.installations_url,
        )

        async def store_file(user: str, name: str, data: bytes) -> None:
            assert user_names.split_user(user)[0] == "slack"
            if self.store_raises is not None:
                raise self.store_raises
            self.blobs[name] = data

        async def fetch_history(user: str) -> bytes:
            self.asked_for.append(user)
            if isinstance(self.history, Exception):
                raise self.history
            return self.history

        async def is_stored(user: str, event_id: str) -> bool:
            assert user_names.split_user(user)[0] == "slack"
            return event_id in self._ids

        platform._context.is_stored = is_stored
        platform._context.store_file = store_file
        platform._context.own_history._fetch = fetch_history
        return platform

    async def until_listening(self) -> None:
        ready = asyncio.create_task(self.platform.listening.wait())
        done, _ = await asyncio.wait(
            {ready, self.listening}, timeout=CONNECT_S, return_when=asyncio.FIRST_COMPLETED
        )
        if self.listening in done:
            self.listening.result()
        assert ready in done, "not connected"

    async def publish(self, event: AnyEvent) -> bool:
        if self.unavailable:
            self.unavailable -= 1
            raise Unavailable("as ordered")
        await self.stores.wait()
        if self.publish_raises is not None:
            raise self.publish_raises
        new = event.id not in self._ids
        self._ids.add(event.id)
        if new:
            self.heard.append(event)
        self.slack.changed.set()
        return new

    async def __aexit__(self, *_: object) -> None:
        await self.platform.close()
        try:
            if not self.listening.cancelled():
                async with asyncio.timeout(10):
                    await self.listening
        finally:
            await end(self.listening)
            await self.slack.stop()

    async def restart(self) -> None:
        """Stops the adapter and starts a new one without any state."""
        await self.platform.close()
        await self.listening
        self.platform = self.make()
        self.listening = asyncio.create_task(self.platform.listen())
        await self.until_listening()

    async def until_heard(self, count: int = 1, *, seconds: float = 15.0) -> list[AnyEvent]:
        """Waits until at least `count` events are published; returns all of them."""
        await self.slack.until(lambda: len(self.heard) >= count, seconds=seconds)
        return self.heard

    async def until_acknowledged(self, count: int = 1) -> None:
        """Waits until at least `count` deliveries are acknowledged."""
        await self.slack.until(
            lambda: sum(d.acked_at is not None for d in self.slack.deliveries) >= count
        )

    # --- the methods of `World` -------------------------------------------------------------------

    async def say(self, text: str, *, author: str = "ada") -> str:
        if author in AUTHORS:
            return self.slack.mention(text, user=AUTHORS[author])
        bot = {"bot_id": "BBOT"} if author == "self" else {"bot_id": "BOTHER"}
        user = BOT if author == "self" else "UOTHER"
        return self.slack.mention(text, user=user, **bot)

    async def deliver_again(self, message_id: str) -> None:
        events = self.slack.events_of(ROOM, message_id)
        await asyncio.gather(*(self.slack.deliver(event) for event in events))

    async def replies_to(self, message_id: str) -> list[str]:
        return self.slack.thread(ROOM, message_id)

    async def end(self) -> None:
        await end(self.listening)

    async def refuse_everything(self) -> None:
        self.slack.always |= dict.fromkeys(ANSWERING, Fault("error", code="access_denied"))

    async def limit_once(self, seconds: float) -> None:
        fault = Fault("limit", retry_after_s=max(1, round(seconds)))
        self.slack.faults["chat.postMessage"].append(fault)

    def can(self, ability: str) -> bool:
        return ability in ABILITIES
