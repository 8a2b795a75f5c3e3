"""An answer that is complete soon after its first text is posted without a preview."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bots import preview
from bots.relay import Relay
from ops.nats_server import NatsServer
from shared import names
from shared.bus import Bus
from shared.replies import Partial
from shared.tasks import end
from tests.fakes.platform import FakePlatform
from tests.integration.test_relay import CONSUMER, PARTIALS, SUBJECT, partial, reply


@asynccontextmanager
async def relaying(nats: NatsServer, platform: FakePlatform, after_s: float) -> AsyncIterator[Bus]:
    """A subscribed relay that waits this long before it shows a preview."""
    bus = await Bus.connect(nats.url, name="test")
    relay = Relay(
        bus, platform, consumer=CONSUMER, subject=SUBJECT, partials=PARTIALS,
        previews_after_s=after_s,
    )  # fmt: skip
    task = asyncio.create_task(relay.run())
    try:
        await bus.journal(reply("first", 0, "ready"))
        await platform.until_posts(1)
        yield bus
    finally:
        await end(task)
        await bus.close()


async def test_a_quick_answer_is_posted_without_a_preview(
    nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer does not wait for the pending preview."""
    monkeypatch.setattr(preview, "PREVIEW_ENDS_WITHIN_S", 3600)
    platform = FakePlatform()
    quick = reply("ada", 1, "one two")
    async with relaying(nats, platform, after_s=3600) as bus:
        seen = asyncio.Event()

        async def see(_: object) -> None:
            seen.set()

        await bus.watch(names.partial_subject(quick.user, quick.prompt_id), see)
        await bus.show_partial(partial(quick, "one", 1))
        async with asyncio.timeout(20):
            await seen.wait()
        await bus.journal(quick)
        await platform.until_posts(2)
    assert platform.shown == []
    assert platform.finds == []
    assert platform.texts() == ["ready", "one two"]


async def test_the_first_preview_contains_all_text_so_far(nats: NatsServer) -> None:
    """The preview includes the partials that arrived during the wait, and is the only preview."""
    platform = FakePlatform()
    slow = reply("ada", 1, "one two three four")
    shown: list[Partial] = platform.shown
    async with relaying(nats, platform, after_s=1.0) as bus:
        for number, words in enumerate(("one", "one two", "one two three"), 1):
            await bus.show_partial(partial(slow, words, number))
        await platform.until(lambda: bool(shown))
        await bus.journal(slow)
        await platform.until_posts(2)
    assert [one.text for one in shown] == ["one two three"]
    assert platform.texts() == ["ready", "one two three four"]
