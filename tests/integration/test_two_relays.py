"""Two relays of one platform share its replies: nothing is shown twice, and threads keep order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from bots import giving
from bots import relay as relay_module
from bots.peers import HERE_EVERY_S, SILENT_S, Peers
from bots.platform import Later, Part
from bots.relay import Relay
from ops.nats_server import NatsServer
from shared import names, pulse, streams
from shared.bus import Bus
from shared.replies import Partial, Reply
from shared.tasks import end
from tests.fakes.platform import FakePlatform
from tests.fakes.tcp_proxy import TcpProxy
from tests.integration.test_relay import (
    ACK_WAIT_S,
    CONSUMER,
    PARTIALS,
    SUBJECT,
    dead_letters,
    partial,
    reply,
    until_acknowledged,
)


@pytest.fixture(autouse=True)
def quick_redelivery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "ACK_WAIT_S", ACK_WAIT_S)
    monkeypatch.setattr(relay_module, "WORKING_EVERY_S", ACK_WAIT_S / 4)


@dataclass
class Screen:
    """What people see, whichever process posted it. `log` has each call with its process."""

    posts: list[Part]
    previews: dict[str, str]
    log: list[tuple[str, str, str]]


class Side(FakePlatform):
    """The platform of one process, which shares its screen with the other one's."""

    def __init__(self, who: str, screen: Screen) -> None:
        super().__init__(posts=screen.posts, previews=screen.previews)
        self.who = who
        self.screen = screen
        self.heard: list[str] = []
        self.cut = False
        """The platform does not answer this process; `tried` has the calls."""
        self.tried: list[str] = []

    async def post(self, part: Part) -> str:
        if self.cut:
            self.tried.append(part.key)
            await asyncio.sleep(0.1)
            raise Later("no response", 0.1, maybe_posted=True, unanswered=True)
        receipt = await super().post(part)
        self.screen.log.append((self.who, "post", part.key))
        return receipt

    async def reaches(self) -> bool:
        return not self.cut

    async def show_partial(self, partial: Partial) -> None:
        if self.cut:
            self.tried.append(partial.prompt_id)
            return
        self.screen.log.append((self.who, "partial", partial.prompt_id))
        await super().show_partial(partial)

    def asked_elsewhere(self, address: dict[str, str]) -> None:
        self.heard.append(f"asked {address}")

    def answered_elsewhere(self, prompt_id: str) -> None:
        self.heard.append(prompt_id)


class Two:
    """Two relays, each with a connection of its own; the second one's can be cut."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.screen = Screen([], {}, [])
        self.sides = [Side("A", self.screen), Side("B", self.screen)]
        self.tasks: list[asyncio.Task[None]] = []
        self.proxies: list[TcpProxy] = []
        self.peers: list[Peers] = []
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        for side in self.sides:
            proxy = await TcpProxy.start(self.url)
            self._stack.push_async_callback(proxy.stop)
            self.proxies.append(proxy)
            bus = await Bus.connect(proxy.url(self.url), name=side.who)
            self._stack.push_async_callback(bus.close)
            peers = Peers(bus, "test")
            self.peers.append(peers)
            relay = Relay(
                bus, side, consumer=CONSUMER, subject=SUBJECT, partials=PARTIALS, peers=peers
            )
            self.tasks.append(asyncio.create_task(relay.run()))
            while not peers.pulse.is_fresh:
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        for proxy in self.proxies:
            proxy.resume()
        await end(*self.tasks)
        await self._stack.aclose()


@pytest.fixture
async def two(nats: NatsServer) -> AsyncIterator[Two]:
    two = Two(nats.url)
    await two.start()
    await asyncio.sleep(0.3)  # both have pulled
    try:
        yield two
    finally:
        await two.stop()


async def show_preview(two: Two, bus: Bus, of: Reply) -> Side:
    """A growing answer; returns the side that shows it."""
    subject = names.partial_subject(of.user, of.prompt_id)
    for number in range(1, 4):
        await bus.client.publish(subject, partial(of, "grow " * number, number).wire())
        await asyncio.sleep(0.1)
    showing = {who for who, what, key in two.screen.log if key == of.prompt_id}
    assert len(showing) == 1, "both show a preview"
    return next(side for side in two.sides if side.who in showing)


async def test_replies_are_posted_once_and_in_the_order_of_their_thread(two: Two, bus: Bus) -> None:
    """A hundred replies of five threads, each of which names the one before it."""
    for side in two.sides:
        side.slow_s = 0.02
    wanted = []
    for n in range(100):
        after = f"u{n % 5}-{n - 5}" if n >= 5 else None
        wanted.append(reply(f"u{n % 5}", n, f"text {n}", after=after))
        await bus.journal(wanted[-1])
    await until_acknowledged(bus, 100, seconds=60)
    for user in {each.user for each in wanted}:
        texts = [p.text for p in two.screen.posts if p.reply.user == user]
        assert texts == [r.text for r in wanted if r.user == user]
    assert {who for who, _, _ in two.screen.log} == {"A", "B"}
    # Each process heard of the replies that only the other one got.
    assert sum(len(set(side.heard)) for side in two.sides) == 100


async def test_the_process_that_shows_a_preview_completes_it(two: Two, bus: Bus) -> None:
    """Whichever gets the reply; no search on the platform is necessary."""
    for number in range(12):
        answer = reply(f"p{number}", 1, "grow grow grow whole")
        side = await show_preview(two, bus, answer)
        await bus.journal(answer)
        await until_acknowledged(bus, number + 1)
        (posted,) = [who for who, what, key in two.screen.log if key == f"{answer.prompt_id}.0"]
        assert posted == side.who
    assert two.screen.previews == {}
    assert [side.finds for side in two.sides] == [[], []]


async def test_the_preview_of_a_killed_process_is_completed_by_the_other(
    two: Two, bus: Bus
) -> None:
    """At once: nobody answers under its name any more."""
    answer = reply("killed", 1, "whole")
    side = await show_preview(two, bus, answer)
    other = two.sides[1 - two.sides.index(side)]
    await end(two.tasks[two.sides.index(side)])
    started = asyncio.get_running_loop().time()
    await bus.journal(answer)
    await until_acknowledged(bus, 1)
    assert asyncio.get_running_loop().time() - started < ACK_WAIT_S + 2
    assert two.screen.log[-1] == (other.who, "post", "killed-1.0")
    assert other.finds == ["killed-1.0"]


async def test_a_process_that_was_cut_off_posts_nothing_that_was_taken_from_it(
    two: Two, bus: Bus
) -> None:
    """It shows a preview; the other one completes it. Then it is back, and a late partial comes."""
    answer = reply("cut", 1, "whole")
    side = await show_preview(two, bus, answer)
    number = two.sides.index(side)
    two.proxies[number].pause()
    await asyncio.sleep(2 * pulse.FRESH_S)
    await bus.journal(answer)
    await until_acknowledged(bus, 1, seconds=ACK_WAIT_S + SILENT_S + 20)
    shown = list(two.screen.log)
    assert shown[-1] == (two.sides[1 - number].who, "post", "cut-1.0")
    two.proxies[number].resume()
    await two.peers[number].pulse.until_fresh()
    subject = names.partial_subject(answer.user, answer.prompt_id)
    await bus.client.publish(subject, partial(answer, "a late one", 9).wire())
    await asyncio.sleep(0.5)
    await bus.journal(reply("cut", 2, "the next", after="cut-1"))
    await until_acknowledged(bus, 2)
    assert [(what, key) for _, what, key in two.screen.log[len(shown) :]] == [("post", "cut-2.0")]
    assert await dead_letters(bus) == []


@pytest.mark.parametrize("preview", [True, False])
async def test_a_process_that_the_platform_does_not_answer_gives_its_replies_away(
    two: Two, bus: Bus, monkeypatch: pytest.MonkeyPatch, preview: bool
) -> None:
    """The first one after some tries, with its preview; then all, and it opens no previews."""
    monkeypatch.setattr(giving, "UNREACHED_S", 0.5)
    monkeypatch.setattr(giving, "ASK_EVERY_S", 0.5)
    first = reply("p0", 1, "grow grow whole")
    shows = two.sides[0]
    if preview:
        shows = await show_preview(two, bus, first)
    shows.cut = True
    other = next(side for side in two.sides if side is not shows)
    for number in range(8):
        await bus.journal(first if not number else reply(f"p{number}", 1, "whole"))
    await until_acknowledged(bus, 8)
    assert sorted(part.key for part in two.screen.posts) == [f"p{n}-1.0" for n in range(8)]
    assert {who for who, what, _ in two.screen.log if what == "post"} == {other.who}
    assert two.screen.previews == {}
    tried = len(shows.tried)
    for number in range(8, 16):
        growing = reply(f"p{number}", 1, "whole")
        subject = names.partial_subject(growing.user, growing.prompt_id)
        await bus.client.publish(subject, partial(growing, "grow", 1).wire())
        await bus.journal(growing)
    await until_acknowledged(bus, 16)
    assert len(shows.tried) == tried
    assert len(two.screen.posts) == 16
    shows.cut = False
    async with asyncio.timeout(30):
        number = 16
        while two.screen.log[-1][0] != shows.who:
            await bus.journal(reply(f"p{number}", 1, "whole"))
            number += 1
            await until_acknowledged(bus, number)


async def test_a_platform_that_answers_nobody_is_tried_by_all(
    two: Two, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reply is posted once the platform is back."""
    monkeypatch.setattr(giving, "UNREACHED_S", 0.5)
    for side in two.sides:
        side.cut = True
    for number in range(8):
        await bus.journal(reply(f"p{number}", 1, "whole"))
    await asyncio.sleep(4)
    assert two.screen.posts == []
    for side in two.sides:
        side.cut = False
    await until_acknowledged(bus, 8)
    assert sorted(part.key for part in two.screen.posts) == [f"p{n}-1.0" for n in range(8)]


async def test_processes_hear_of_each_other_without_any_work(two: Two) -> None:
    """So each knows, when it is cut off, whether there is another one."""
    async with asyncio.timeout(HERE_EVERY_S + 5):
        while any(peers.heard_at < 0 for peers in two.peers):
            await asyncio.sleep(0.1)
    assert two.sides[0].heard == two.sides[1].heard == []
