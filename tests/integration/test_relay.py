"""The relay between a real journal and a platform that fails on demand."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import nats.js.errors
import pytest

from bots import no_progress, part_poster, preview
from bots import relay as relay_module
from bots.part_poster import NOT_SHOWABLE, POISON_TRIES
from bots.platform import WAIT_LIMIT_S, Forbidden, Gone, Later, Never
from bots.relay import Relay
from bots.showing import STOPPED
from ops.nats_server import NatsServer
from shared import names, streams, user_names
from shared.bus import Bus
from shared.messages import Ask
from shared.receipts import Posted, Receipts
from shared.replies import Outcome, Partial, Reply
from shared.tasks import end
from tests.fakes.platform import FakePlatform, Order
from tests.fakes.tcp_proxy import TcpProxy, Way
from tests.running import direct

ACK_WAIT_S = 2.0
CONSUMER = "test"
SUBJECT = "replies.test.>"
PARTIALS = "partials.test.>"

Journal = Callable[..., Awaitable[Reply]]


@pytest.fixture(autouse=True)
def quick_redelivery(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies of a dead relay are redelivered soon."""
    monkeypatch.setattr(streams, "ACK_WAIT_S", ACK_WAIT_S)
    monkeypatch.setattr(relay_module, "WORKING_EVERY_S", ACK_WAIT_S / 4)


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


@asynccontextmanager
async def relaying(bus: Bus, platform: FakePlatform) -> AsyncIterator["asyncio.Task[None]"]:
    """A running relay, which crashes at the end of the context."""
    relay = Relay(bus, platform, consumer=CONSUMER, subject=SUBJECT, partials=PARTIALS)
    task = asyncio.create_task(relay.run())
    try:
        yield task
    finally:
        await end(task)


def reply(user: str, number: int, text: str, outcome: Outcome = "answered", **fields: Any) -> Reply:
    now = datetime.now(UTC)
    fields.setdefault("answered_at", now)
    fields.setdefault("place", direct(user))
    return Reply(
        prompt_id=f"{user}-{number}",
        user=user_names.user_of("test", user),
        outcome=outcome,
        text=text,
        said_at=now,
        **fields,
    )


def partial(of: Reply, text: str, sequence: int) -> Partial:
    return Partial(
        prompt_id=of.prompt_id, user=of.user, place=of.place, text=text, attempt=1,
        sequence=sequence,
    )  # fmt: skip


async def until_acknowledged(bus: Bus, count: int, *, seconds: float = 15.0) -> None:
    """Waits until this many replies are acknowledged and none is pending."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                info = await bus.js.consumer_info(names.REPLIES, CONSUMER)
            except nats.js.errors.NotFoundError:
                continue  # the relay has just been started
            floor = info.ack_floor.stream_seq if info.ack_floor else 0
            if floor >= count and not info.num_ack_pending and not info.num_pending:
                return
            await asyncio.sleep(0.02)


async def dead_letters(bus: Bus) -> list[tuple[str, str]]:
    """Subject and reason of each dead letter."""
    info = await bus.js.stream_info(names.DLQ, subjects_filter="dlq.>")
    letters = [await bus.js.get_last_msg(names.DLQ, s) for s in info.state.subjects or {}]
    return [(m.subject or "", (m.headers or {})["Threadwax-Reason"]) for m in letters]


# --- once, in order, each user independent --------------------------------------------------------


async def test_each_reply_is_posted_once_and_in_order_for_its_user(
    bus: Bus, platform: FakePlatform
) -> None:
    """There are a hundred replies to five users, half of them stored before the relay starts."""
    wanted = [reply(f"u{n % 5}", n, f"text {n}") for n in range(100)]
    for each in wanted[:50]:
        await bus.journal(each)
    async with relaying(bus, platform):
        for each in wanted[50:]:
            await bus.journal(each)
        await until_acknowledged(bus, 100)
    for user in {each.user for each in wanted}:
        assert platform.texts(user) == [r.text for r in wanted if r.user == user]


async def test_parts_are_posted_in_order(bus: Bus, platform: FakePlatform) -> None:
    """One part fails in between, and later parts wait for it."""
    text = " ".join(f"word{n}" for n in range(100))
    platform.orders["ada-1.2"].append(Later("busy", 0.2))
    await bus.journal(reply("ada", 1, text))
    async with relaying(bus, platform):
        await until_acknowledged(bus, 1)
    assert [p.index for p in platform.posts] == list(range(platform.posts[0].count))
    assert len(platform.posts) > 3
    assert " ".join(t.strip() for t in platform.texts()) == text


async def test_a_rate_limit_of_one_user_delays_nobody_else(
    bus: Bus, platform: FakePlatform
) -> None:
    """One user has to wait a minute; another is answered at once."""
    platform.orders["slow-1.0"].append(Later("rate limit", 60))
    await bus.journal(reply("slow", 1, "later"))
    async with relaying(bus, platform):
        await platform.until(lambda: "slow-1.0" in platform.tries)
        await bus.journal(reply("fast", 1, "now"))
        await platform.until_posts(1, seconds=2)
    assert platform.texts() == ["now"]


async def test_a_users_later_reply_waits_for_the_earlier_one(
    bus: Bus, platform: FakePlatform
) -> None:
    platform.orders["ada-1.0"].append(Later("rate limit", 0.5))
    await bus.journal(reply("ada", 1, "first"))
    await bus.journal(reply("ada", 2, "second"))
    async with relaying(bus, platform):
        await until_acknowledged(bus, 2)
    assert platform.texts() == ["first", "second"]
    assert platform.tries == ["ada-1.0", "ada-1.0", "ada-2.0"]


# --- crashes --------------------------------------------------------------------------------------


async def test_a_crash_between_post_and_receipt_posts_nothing_twice(
    bus: Bus, platform: FakePlatform
) -> None:
    """The next relay finds the claim and searches the platform, which has the part."""
    platform.orders["ada-1.0"].append(Order.HANG_AFTER)
    await bus.journal(reply("ada", 1, "once"))
    async with relaying(bus, platform):
        await platform.until_posts(1)
    async with relaying(bus, platform):
        await until_acknowledged(bus, 1)
    assert platform.texts() == ["once"]
    assert platform.finds == ["ada-1.0"]
    assert await Receipts(bus, "test").claim("ada-1.0") == Posted("found", finished=True)


async def test_after_a_crash_before_the_post_the_part_is_posted(
    bus: Bus, platform: FakePlatform
) -> None:
    """The part is claimed, but the platform does not have it."""
    platform.orders["ada-1.0"].append(Order.HANG_BEFORE)
    await bus.journal(reply("ada", 1, "shown"))
    async with relaying(bus, platform):
        await platform.until(lambda: platform.tries == ["ada-1.0"])
    async with relaying(bus, platform):
        await until_acknowledged(bus, 1)
    assert platform.texts() == ["shown"]
    assert platform.finds == ["ada-1.0"]


async def test_a_crash_between_receipt_and_acknowledgement_posts_nothing_twice(
    bus: Bus, platform: FakePlatform
) -> None:
    """The first part has its receipt when the relay dies, so the platform is not even searched."""
    platform.can_find = False
    platform.orders["ada-1.1"].append(Order.HANG_BEFORE)
    await bus.journal(reply("ada", 1, "word " * 30))
    async with relaying(bus, platform):
        await platform.until(lambda: "ada-1.1" in platform.tries)
    async with relaying(bus, platform):
        await until_acknowledged(bus, 1)
    assert [p.key for p in platform.posts] == ["ada-1.0", "ada-1.1"]
    assert platform.finds == ["ada-1.1"]


async def test_after_a_crash_a_newer_reply_waits_for_the_older_one(
    bus: Bus, platform: FakePlatform
) -> None:
    """Replies of the dead relay are redelivered after newer ones, and still shown first."""
    platform.orders["ada-1.0"].append(Later("busy", 60))
    await bus.journal(reply("ada", 1, "first"))
    async with relaying(bus, platform):
        await platform.until(lambda: "ada-1.0" in platform.tries)
    await bus.journal(reply("ada", 2, "second", after="ada-1"))
    async with relaying(bus, platform):
        await until_acknowledged(bus, 2)
    assert platform.texts("test:ada") == ["first", "second"]


async def test_after_a_broken_connection_a_newer_reply_waits_for_the_older_one(
    nats: NatsServer, bus: Bus, platform: FakePlatform
) -> None:
    """Lost deliveries are redelivered after newer ones, and still shown first."""
    proxy = await TcpProxy.start(nats.url)
    far = await Bus.connect(proxy.url(nats.url), name="far")
    async with relaying(far, platform):
        await bus.journal(reply("eve", 1, "ready"))
        await until_acknowledged(bus, 1)
        proxy.lose(Way.DOWN)
        await bus.journal(reply("ada", 1, "first"))
        async with asyncio.timeout(ACK_WAIT_S):
            while not (await bus.js.consumer_info(names.REPLIES, CONSUMER)).num_ack_pending:
                await asyncio.sleep(0.01)
        proxy.reset()
        proxy.lose()
        await bus.journal(reply("ada", 2, "second", after="ada-1"))
        await until_acknowledged(bus, 3)
    await far.close()
    await proxy.stop()
    assert platform.texts("test:ada") == ["first", "second"]


async def test_after_a_defect_a_newer_reply_waits_for_the_older_one(
    bus: Bus, platform: FakePlatform
) -> None:
    """The reply is redelivered, because it was not acknowledged, and the next one waits for it."""
    platform.orders["ada-1.0"].append(RuntimeError("a defect, as ordered"))
    await bus.journal(reply("ada", 1, "first"))
    await bus.journal(reply("ada", 2, "second", after="ada-1"))
    async with relaying(bus, platform):
        await until_acknowledged(bus, 2)
    assert platform.texts() == ["first", "second"]


async def test_receipts_are_not_read_for_a_predecessor_shown_by_this_process(
    bus: Bus, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The usual case needs no round trip."""
    asked: list[str] = []
    is_finished = Receipts.is_finished

    async def counted(self: Receipts, prompt_id: str) -> bool:
        asked.append(prompt_id)
        return await is_finished(self, prompt_id)

    monkeypatch.setattr(Receipts, "is_finished", counted)
    async with relaying(bus, platform):
        for n in range(10):
            await bus.journal(reply("ada", n, f"text {n}", after=f"ada-{n - 1}" if n else None))
        await until_acknowledged(bus, 10)
    assert platform.texts() == [f"text {n}" for n in range(10)]
    assert asked == []


@pytest.mark.parametrize("first", ["short", "word " * 50, "gone", "withdrawn"])
async def test_the_next_process_knows_that_the_predecessor_is_finished(
    bus: Bus, platform: FakePlatform, first: str
) -> None:
    """Receipts say so, whether it was shown in one part, in several, given up or withdrawn."""
    outcome: Outcome = "withdrawn" if first == "withdrawn" else "answered"
    if first == "gone":
        platform.always["ada-1.0"] = Gone("nobody is there")
    await bus.journal(reply("ada", 1, first, outcome))
    async with relaying(bus, platform):
        await until_acknowledged(bus, 1)
    await bus.journal(reply("ada", 2, "second", after="ada-1"))
    async with relaying(bus, platform):
        await platform.until(lambda: "second" in platform.texts(), seconds=5)


async def test_an_unknown_predecessor_delays_nothing(bus: Bus, platform: FakePlatform) -> None:
    """The predecessor has no receipts, and no earlier reply is pending."""
    await bus.journal(reply("ada", 2, "second", after="ada-1"))
    async with relaying(bus, platform):
        await until_acknowledged(bus, 1)
    assert platform.texts() == ["second"]


async def test_a_thread_does_not_wait_for_other_threads(bus: Bus, platform: FakePlatform) -> None:
    """The same user gets an answer in another thread meanwhile."""
    other = direct("ada").model_copy(update={"thread": "other"})
    platform.orders["ada-1.0"].append(Later("rate limit", 60))
    await bus.journal(reply("ada", 1, "later"))
    await bus.journal(reply("ada", 2, "behind it", after="ada-1"))
    async with relaying(bus, platform):
        await platform.until(lambda: "ada-1.0" in platform.tries)
        await bus.journal(reply("ada", 3, "elsewhere", place=other))
        await platform.until_posts(1, seconds=5)
    assert platform.texts() == ["elsewhere"]


async def test_a_reply_that_was_given_up_is_not_tried_again_after_a_redelivery(
    bus: Bus, platform: FakePlatform
) -> None:
    """The acknowledgement was lost. The reply is a dead letter, and no later part is shown."""
    platform.orders["ada-1.0"].append(Gone("nobody is there"))
    text = "word " * 50
    await bus.journal(reply("ada", 1, text))
    async with relaying(bus, platform):
        await until_acknowledged(bus, 1)
    await bus.js.delete_consumer(names.REPLIES, CONSUMER)
    async with relaying(bus, platform):
        await until_acknowledged(bus, 1)
    assert platform.tries == ["ada-1.0"]


async def test_a_posted_reply_without_an_acknowledgement_is_not_posted_again(
    bus: Bus, platform: FakePlatform
) -> None:
    """All receipts exist, but the acknowledgement was lost."""
    platform.can_find = False
    await bus.journal(reply("ada", 1, "before"))
    receipts = Receipts(bus, "test")
    await receipts.claim("ada-1.0")
    await receipts.record("ada-1.0", "1")
    async with relaying(bus, platform):
        await until_acknowledged(bus, 1)
    assert platform.tries == []


async def test_a_reply_that_takes_longer_than_the_wait_is_not_given_to_another_relay(
    nats: NatsServer, bus: Bus, platform: FakePlatform
) -> None:
    """The relay reports to the server that it is still working on the reply."""
    platform.can_find = False
    platform.slow_s = 3 * ACK_WAIT_S
    other = await Bus.connect(nats.url, name="other")
    async with relaying(bus, platform), relaying(other, platform):
        await bus.journal(reply("ada", 1, "slow"))
        await until_acknowledged(bus, 1)
    await other.close()
    assert platform.tries == ["ada-1.0"]


async def test_a_restart_of_the_server_loses_and_repeats_nothing(
    nats: NatsServer, bus: Bus, platform: FakePlatform
) -> None:
    """The server is killed with `kill -9` while replies are being posted."""
    platform.slow_s = 0.05
    async with relaying(bus, platform):
        for n in range(10):
            await bus.journal(reply("ada", n, f"text {n}"))
        await platform.until_posts(3)
        nats.kill()
        nats.start()
        for n in range(10, 15):
            await bus.journal(reply("ada", n, f"text {n}"))
        await until_acknowledged(bus, 15)
    assert sorted(platform.texts()) == sorted(f"text {n}" for n in range(15))


# --- failures -------------------------------------------------------------------------------------


async def test_after_a_lost_response_the_platform_is_searched_for_the_part(
    bus: Bus, platform: FakePlatform
) -> None:
    platform.orders["ada-1.0"].append(Order.LOST)
    await bus.journal(reply("ada", 1, "once"))
    async with relaying(bus, platform):
        await until_acknowledged(bus, 1)
    assert platform.texts() == ["once"]
    assert platform.tries == platform.finds == ["ada-1.0"]


async def test_a_temporary_refusal_is_retried_after_a_wait(
    bus: Bus, platform: FakePlatform
) -> None:
    """A refused part cannot have been posted, so the platform is not searched for it."""
    platform.orders["ada-1.0"] += [Later("busy", 0.3), Later("busy", 0)]
    await bus.journal(reply("ada", 1, "text"))
    started = asyncio.get_running_loop().time()
    async with relaying(bus, platform):
        await until_acknowledged(bus, 1)
    assert asyncio.get_running_loop().time() - started >= 0.4
    assert platform.texts() == ["text"]
    assert platform.finds == []


async def test_a_reply_that_cannot_be_posted_for_a_day_is_given_up(
    bus: Bus, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_poster, "TRIED_FOR_S", 0.3)
    platform.always["ada-1.0"] = Later("down", 0.1)
    old = datetime.now(UTC) - timedelta(hours=25)
    await bus.journal(reply("ada", 1, "old", answered_at=old))
    async with relaying(bus, platform):
        await until_acknowledged(bus, 1)
    assert await dead_letters(bus) == [
        ("dlq.replies.test.ada.ada-1", "not shown within a day: down")
    ]


async def test_an_old_reply_is_tried_before_it_is_given_up(
    bus: Bus, platform: FakePlatform
) -> None:
    """The adapter was down for a weekend, and its platform is not connected at first."""
    platform.orders["ada-1.0"].append(Later("not connected", 0.1))
    old = datetime.now(UTC) - timedelta(hours=60)
    await bus.journal(reply("ada", 1, "old", answered_at=old))
    async with relaying(bus, platform):
        await until_acknowledged(bus, 1)
    assert platform.texts() == ["old"]


@pytest.mark.parametrize(
    "error",
    [Later("HTTP 500", 0.1, maybe_posted=True), Later("a_new_code", 0.1, refused=True)],
    ids=["fails", "refuses"],
)
async def test_a_text_that_always_fails_is_replaced_by_the_notice(
    bus: Bus, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch, error: Later
) -> None:
    """The same place accepts the notice, so it is not down, and later replies need not wait."""
    monkeypatch.setattr(part_poster, "POISON_AFTER_S", 0.5)
    platform.always_texts["poison"] = error
    await bus.journal(reply("ada", 1, "poison"))
    await bus.journal(reply("ada", 2, "next", after="ada-1"))
    async with relaying(bus, platform):
        await until_acknowledged(bus, 2)
    assert platform.texts("test:ada") == [NOT_SHOWABLE, "next"]
    assert platform.tries.count("ada-1.0") > POISON_TRIES
    assert await dead_letters(bus) == []


@pytest.mark.parametrize("limit", [False, True], ids=["fails", "rate limit"])
async def test_a_place_that_is_down_gets_the_text_when_it_recovers(
    bus: Bus, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch, *, limit: bool
) -> None:
    """The place does not accept the notice either, although other places accept messages."""
    monkeypatch.setattr(part_poster, "POISON_AFTER_S", 0.2)
    down = Later("HTTP 503", 0.05, maybe_posted=not limit)
    platform.always_texts |= {"one": down, NOT_SHOWABLE: down}
    await bus.journal(reply("ada", 1, "one"))
    async with relaying(bus, platform):
        for n in range(5):
            await bus.journal(reply("bob", n, f"other {n}"))
        await platform.until(lambda: platform.tries.count("ada-1.0") > 3 * POISON_TRIES)
        del platform.always_texts["one"]
        await until_acknowledged(bus, 6)
    assert platform.texts("test:ada") == ["one"]


@pytest.mark.parametrize("wait_s", [float("inf"), float("nan"), 1e9, -1.0])
def test_a_platform_cannot_make_a_thread_wait_forever(wait_s: float) -> None:
    assert 0 <= Later("rate limited", wait_s).wait_s <= WAIT_LIMIT_S


async def test_a_defect_of_the_adapter_with_every_text_leads_to_a_dead_letter(
    bus: Bus, platform: FakePlatform
) -> None:
    """The notice triggers the defect, too. Later replies of the thread are shown."""
    platform.always["ada-1.0"] = KeyError("channel")
    await bus.journal(reply("ada", 1, "lost"))
    await bus.journal(reply("ada", 2, "next", after="ada-1"))
    async with relaying(bus, platform):
        await until_acknowledged(bus, 2, seconds=60)
    assert platform.texts() == ["next"]
    assert [subject for subject, _ in await dead_letters(bus)] == ["dlq.replies.test.ada.ada-1"]


async def test_an_unreadable_reply_delays_nobody_even_if_dead_letters_cannot_be_stored(
    bus: Bus, platform: FakePlatform
) -> None:
    """The stream of dead letters was deleted, so the message stays in the journal."""
    await bus.js.delete_stream(names.DLQ)
    for n in range(3):
        await bus.js.publish(f"replies.test.eve.x{n}", b"garbage")
    await bus.journal(reply("ada", 1, "the answer"))
    async with relaying(bus, platform):
        await until_acknowledged(bus, 4)
    assert platform.texts() == ["the answer"]


async def test_a_defect_of_the_adapter_with_one_text_leads_to_the_notice(
    bus: Bus, platform: FakePlatform
) -> None:
    platform.always_texts["breaks it"] = RuntimeError("a defect, as ordered")
    await bus.journal(reply("ada", 1, "breaks it"))
    await bus.journal(reply("ada", 2, "next", after="ada-1"))
    async with relaying(bus, platform):
        await until_acknowledged(bus, 2, seconds=60)
    assert platform.texts() == [NOT_SHOWABLE, "next"]


async def test_a_refused_text_is_replaced_by_the_notice_once(
    bus: Bus, platform: FakePlatform
) -> None:
    """Two of three parts are refused: one notice and the third part are shown."""
    platform.orders["ada-1.0"].append(Never("bad words"))
    platform.orders["ada-1.1"].append(Never("bad words"))
    await bus.journal(reply("ada", 1, "word " * 50))
    async with relaying(bus, platform):
        await until_acknowledged(bus, 1)
    assert platform.texts()[0] == NOT_SHOWABLE
    assert [p.index for p in platform.posts] == [0, 2]
    assert await dead_letters(bus) == []


async def test_a_reply_whose_notice_is_refused_too_becomes_a_dead_letter(
    bus: Bus, platform: FakePlatform
) -> None:
    platform.always["ada-1.0"] = Never("nothing at all")
    await bus.journal(reply("ada", 1, "text"))
    async with relaying(bus, platform):
        await until_acknowledged(bus, 1)
    assert platform.texts() == []
    assert platform.tries == ["ada-1.0", "ada-1.0"]
    assert "nothing at all" in (await dead_letters(bus))[0][1]


@pytest.mark.parametrize("error", [Gone("the channel was deleted"), Forbidden("not invited")])
async def test_a_reply_to_an_unreachable_place_becomes_a_dead_letter(
    bus: Bus, platform: FakePlatform, error: Exception
) -> None:
    """The reply is tried once and kept with the reason; the user's next reply is shown."""
    platform.always["ada-1.0"] = error
    await bus.journal(reply("ada", 1, "word " * 50))
    await bus.journal(reply("ada", 2, "next"))
    async with relaying(bus, platform):
        await until_acknowledged(bus, 2)
    assert platform.tries == ["ada-1.0", "ada-2.0"]
    reason = f"{type(error).__name__.lower()}: {error}"
    assert await dead_letters(bus) == [("dlq.replies.test.ada.ada-1", reason)]


async def test_after_a_defect_the_reply_is_retried_and_nobody_else_waits(
    bus: Bus, platform: FakePlatform
) -> None:
    platform.orders["ada-1.0"].append(RuntimeError("a defect"))
    await bus.journal(reply("ada", 1, "in the end"))
    await bus.journal(reply("bob", 1, "at once"))
    async with relaying(bus, platform) as task:
        await platform.until_posts(1, seconds=ACK_WAIT_S)
        assert platform.texts() == ["at once"]
        await until_acknowledged(bus, 2)
        assert not task.done()
    assert platform.texts() == ["at once", "in the end"]


@pytest.mark.parametrize("data", [b"{", b"", b'{"v": 9}', b"\xff\xfe"])
async def test_an_unreadable_reply_becomes_a_dead_letter(
    bus: Bus, platform: FakePlatform, data: bytes
) -> None:
    await bus.js.publish("replies.test.ada.broken", data)
    await bus.journal(reply("ada", 1, "readable"))
    async with relaying(bus, platform):
        await until_acknowledged(bus, 2)
    assert platform.texts() == ["readable"]
    assert [subject for subject, _ in await dead_letters(bus)] == ["dlq.replies.test.ada.broken"]


# --- outcomes -------------------------------------------------------------------------------------


async def test_a_withdrawn_reply_is_passed_to_the_platform_and_never_posted(
    bus: Bus, platform: FakePlatform
) -> None:
    await bus.journal(reply("ada", 1, "", "withdrawn"))
    async with relaying(bus, platform):
        await until_acknowledged(bus, 1)
    assert [r.prompt_id for r in platform.withdrawn] == ["ada-1"]
    assert platform.tries == []


async def test_a_stop_before_the_first_text_is_shown(bus: Bus, platform: FakePlatform) -> None:
    await bus.journal(reply("ada", 1, " \n", "stopped"))
    async with relaying(bus, platform):
        await until_acknowledged(bus, 1)
    assert platform.texts() == [STOPPED]


# --- forgotten people -----------------------------------------------------------------------------


async def test_replies_that_wait_are_dropped_when_their_person_is_forgotten(
    bus: Bus, platform: FakePlatform
) -> None:
    """In all of their threads: the relay has the words, although the journal has lost them.

    A newer reply that waits is shown, and nobody else loses anything.
    """
    elsewhere = direct("ada").model_copy(update={"thread": "2"})
    later = Later("an outage", 2 * ACK_WAIT_S)
    for key in ("ada-1.0", "ada-2.0", "ada-5.0", "bob-1.0"):
        platform.orders[key].append(later)
    # It is delivered again, after the newer reply.
    platform.orders["ada-4.0"].append(RuntimeError("a defect"))
    await bus.journal(reply("ada", 1, "erased"))
    await bus.journal(reply("ada", 2, "erased in another thread", place=elsewhere))
    await bus.journal(reply("ada", 3, "erased, and waits for the first one"))
    await bus.journal(reply("bob", 1, "of another person"))
    async with relaying(bus, platform):
        await platform.until(lambda: {"ada-1.0", "ada-2.0", "bob-1.0"} <= set(platform.tries))
        await bus.journal(reply("ada", 4, "Done", erased={"replies": 3}))
        await bus.journal(reply("ada", 5, "newer", place=elsewhere))
        await until_acknowledged(bus, 6, seconds=30)
    assert platform.texts("test:ada") == ["Done", "newer"]
    assert platform.texts("test:bob") == ["of another person"]


# --- partials -------------------------------------------------------------------------------------


async def until_ready_for_partials(bus: Bus, platform: FakePlatform) -> None:
    """Waits until the relay posts a reply: then it has also subscribed to partials."""
    await bus.journal(reply("first", 0, "ready"))
    await platform.until_posts(1)
    platform.posts.clear()


async def test_only_the_latest_partial_is_shown_and_none_after_the_answer(
    bus: Bus, platform: FakePlatform
) -> None:
    """One call is made at a time; outdated partials are skipped, and the answer is not replaced."""
    platform.partial_s = 0.2
    answer = reply("ada", 1, "one two three")
    async with relaying(bus, platform):
        await until_ready_for_partials(bus, platform)
        await bus.show_partial(partial(answer, "x", 1))
        await platform.until(lambda: len(platform.shown) == 1)
        for number in range(2, 31):
            await bus.show_partial(partial(answer, "x" * number, number))
        await platform.until(lambda: len(platform.shown) == 2)
        await bus.show_partial(partial(answer, "older", 3))
        await asyncio.sleep(3 * platform.partial_s)  # time in which it would be shown
        platform.partial_s = 2.0
        await bus.show_partial(partial(answer, "y" * 31, 31))
        await platform.until(lambda: len(platform.shown) == 3)
        await bus.show_partial(partial(answer, "never shown", 32))
        await bus.journal(answer)
        await until_acknowledged(bus, 2)
        await bus.show_partial(partial(answer, "too late", 99))
        await bus.client.flush()
        await bus.journal(reply("ada", 2, "after"))
        await until_acknowledged(bus, 3)
    assert [p.sequence for p in platform.shown] == [1, 30, 31]
    assert platform.most_partials_at_once == 1
    assert platform.texts() == ["one two three", "after"]
    assert platform.finds == []  # it knows its own preview


async def test_the_preview_of_a_dead_relay_is_found_and_completed(
    bus: Bus, platform: FakePlatform
) -> None:
    """The next relay shows no second preview."""
    answer = reply("ada", 1, "one two")
    async with relaying(bus, platform):
        await until_ready_for_partials(bus, platform)
        await bus.show_partial(partial(answer, "one", 1))
        await platform.until(lambda: bool(platform.previews))
    async with relaying(bus, platform):
        await bus.journal(reply("bob", 1, "ready"))
        await platform.until_posts(1)
        await bus.show_partial(partial(answer, "one t", 2))
        await bus.client.flush()
        await bus.journal(answer)
        await until_acknowledged(bus, 3)
    assert [p.sequence for p in platform.shown] == [1]
    assert platform.finds == ["ada-1.0"]
    assert platform.texts(answer.user) == ["one two"]
    assert platform.previews == {}


async def test_a_newer_answer_does_not_grow_above_an_older_one_that_waits(
    bus: Bus, platform: FakePlatform
) -> None:
    """The older one is delayed by a rate limit; the newer one must not appear above it."""
    older, younger = reply("ada", 1, "older"), reply("ada", 2, "younger")
    platform.orders["ada-1.0"].append(Later("a rate limit", 0.5))
    async with relaying(bus, platform):
        await until_ready_for_partials(bus, platform)
        await bus.journal(older)
        await platform.until(lambda: "ada-1.0" in platform.tries)
        await bus.show_partial(partial(younger, "you", 1))
        await bus.show_partial(partial(reply("bob", 1, "x"), "nobody waits for ada", 1))
        await platform.until(lambda: bool(platform.shown))
        assert [p.text for p in platform.shown] == ["nobody waits for ada"]
        await platform.until_posts(1)
        await bus.journal(younger)
        await platform.until_posts(2)
    assert platform.texts(older.user) == ["older", "younger"]


async def test_an_early_status_is_shown_and_the_answer_after_it_waits_for_its_turn(
    bus: Bus, platform: FakePlatform
) -> None:
    """The status says that the question waits; its answer comes after the older one."""
    older, younger = reply("ada", 1, "older"), reply("ada", 2, "younger", after="ada-1")
    growing = partial(younger, "you", 2).model_copy(update={"after": "ada-1"})
    async with relaying(bus, platform):
        await until_ready_for_partials(bus, platform)
        queued = partial(younger, "", 1).model_copy(update={"status": "queued", "early": True})
        await bus.show_partial(queued)
        await platform.until(lambda: bool(platform.shown))
        await bus.show_partial(growing)
        await bus.show_partial(partial(reply("bob", 1, "x"), "nobody waits for ada", 1))
        await platform.until(lambda: len(platform.shown) == 2)
        assert [p.text for p in platform.shown] == ["", "nobody waits for ada"]
        await bus.journal(older)
        await until_acknowledged(bus, 2)
        await bus.show_partial(growing.model_copy(update={"sequence": 3}))
        await platform.until(lambda: len(platform.shown) == 3)
        await bus.journal(younger)
        await until_acknowledged(bus, 3)
    assert [p.text for p in platform.shown][2:] == ["you"]
    assert platform.texts(older.user) == ["older", "younger"]
    assert platform.finds == []


@pytest.mark.parametrize("sign", ["none", "partial", "reply", "reply elsewhere"])
async def test_a_person_is_told_that_a_question_without_progress_is_stored(
    bus: Bus, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch, sign: str
) -> None:
    """The status appears once, and only if there is no partial, reply or receipt."""
    reported = sign in {"partial", "reply"}  # then nothing must depend on when that arrives
    monkeypatch.setattr(no_progress, "NO_PROGRESS_S", 3600 if reported else 0.3)
    answer = reply("ada", 1, "here")
    ask = Ask(id="ada-1", user=answer.user, place=answer.place, said_at=answer.said_at, text="?")
    relay = Relay(bus, platform, consumer=CONSUMER, subject=SUBJECT, partials=PARTIALS)
    task = asyncio.create_task(relay.run())
    await until_ready_for_partials(bus, platform)
    if sign == "reply elsewhere":
        await Receipts(bus, platform.name).claim("ada-1.0")
    relay.asked(ask)
    if sign == "partial":
        await bus.show_partial(partial(answer, "he", 1))
    elif sign == "reply":
        await bus.journal(answer)
    async with asyncio.timeout(20):
        while relay._no_progress._timers:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)  # in which the notice would be shown
    statuses = [p.status for p in platform.shown if p.status]
    assert statuses == ([no_progress.NO_PROGRESS] if sign == "none" else [])
    if sign == "none":
        await bus.show_partial(partial(answer, "he", 1))
        await platform.until(lambda: platform.shown[-1].text == "he")
    await end(task)


async def test_after_a_restart_a_late_partial_of_a_withdrawn_answer_is_not_shown(
    bus: Bus, platform: FakePlatform
) -> None:
    """Nothing was posted, so only the claim tells the next relay that the answer is finished."""
    withdrawn = reply("ada", 1, "", "withdrawn")
    await bus.journal(withdrawn)
    async with relaying(bus, platform):
        await until_acknowledged(bus, 1)
    async with relaying(bus, platform):
        await bus.journal(reply("bob", 1, "ready"))
        await platform.until_posts(1)
        await bus.show_partial(partial(withdrawn, "late", 1))
        await bus.show_partial(partial(reply("eve", 1, "x"), "in time", 1))
        await platform.until(lambda: bool(platform.shown))
    assert [p.text for p in platform.shown] == ["in time"]


async def test_the_preview_of_an_answer_that_is_never_shown_is_removed(
    bus: Bus, platform: FakePlatform
) -> None:
    """The platform accepts neither the answer nor the notice."""
    answer = reply("ada", 1, "refused")
    platform.always["ada-1.0"] = Never("nothing at all")
    async with relaying(bus, platform):
        await until_ready_for_partials(bus, platform)
        await bus.show_partial(partial(answer, "ref", 1))
        await platform.until(lambda: bool(platform.previews))
        await bus.journal(answer)
        await until_acknowledged(bus, 2)
    assert [r.prompt_id for r in platform.withdrawn] == ["ada-1"]


async def test_a_partial_that_hangs_or_fails_does_not_delay_the_answer(
    bus: Bus, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Partials are best effort: the answer is posted without waiting for them."""
    monkeypatch.setattr(preview, "PREVIEW_ENDS_WITHIN_S", 0.3)
    platform.partial_s = 3600
    hanging, broken = reply("ada", 1, "hung"), reply("bob", 1, "broke")
    async with relaying(bus, platform):
        await until_ready_for_partials(bus, platform)
        await bus.show_partial(partial(hanging, "h", 1))
        await platform.until(lambda: bool(platform.shown))
        platform.partial_raises = True
        await bus.show_partial(partial(broken, "b", 1))
        await bus.journal(hanging)
        await bus.journal(broken)
        await platform.until_posts(2, seconds=5)
        await until_acknowledged(bus, 3)
    assert sorted(platform.texts()) == ["broke", "hung"]
    assert platform.partials_at_once == 0


async def test_a_relay_that_ended_shows_no_partial(bus: Bus, platform: FakePlatform) -> None:
    async with relaying(bus, platform):
        await until_ready_for_partials(bus, platform)
    await bus.show_partial(partial(reply("ada", 1, "x"), "x", 1))
    await bus.client.flush()
    await asyncio.sleep(0.3)  # time in which it would be shown
    assert platform.shown == []
