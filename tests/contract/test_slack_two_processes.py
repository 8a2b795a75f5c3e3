"""Two Slack adapters of one app: what a person does next may come to the other process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bots.platform import Part
from bots.slack.platform import Slack
from bots.slack.wording import TOO_LONG
from shared.bus import TooLarge
from shared.messages import Ask, Deleted, Edited, Rate
from shared.replies import Partial
from shared.tasks import end
from tests.contract.test_slack_answers import answered, asked, seen
from tests.contract.test_slack_messages import nothing_more, prompt
from tests.contract.test_slack_order import kinds
from tests.contract.worlds.slack import SlackWorld
from tests.contract.worlds.world import answer
from tests.fakes.slack import BOT, ROOM, FakeSlack


class TwoProcesses:
    """Two adapters that store their events in the same stream; `send_to` says which one is next."""

    def __init__(self, world: SlackWorld) -> None:
        self.world = world
        self.slack = world.slack
        self.both: list[Slack] = [world.platform, world.make()]
        self._sockets = [list(world.slack.sockets.live)]

    async def start(self) -> "asyncio.Task[None]":
        listening = asyncio.create_task(self.both[1].listen())
        await self.both[1].listening.wait()
        live, first = self.slack.sockets.live, self._sockets[0]
        self._sockets.append([sock for sock in live if sock not in first])
        self.send_to(0)
        return listening

    def send_to(self, number: int) -> None:
        self.slack.sockets.only = self._sockets[number]


@asynccontextmanager
async def two_processes(**settings: object) -> AsyncIterator[TwoProcesses]:
    async with SlackWorld(**settings) as world:
        two = TwoProcesses(world)
        listening = await two.start()
        try:
            yield two
        finally:
            await two.both[1].close()
            await end(listening)


def change(two: TwoProcesses, what: str, ts: str) -> None:
    if what == "edit":
        two.slack.edit(ROOM, ts, f"<@{BOT}> what is that?")
    else:
        two.slack.delete(ROOM, ts)


@pytest.mark.parametrize("what", ["edit", "delete"])
async def test_a_change_that_comes_before_its_question(what: str) -> None:
    """The new text is asked, or nothing. The process with the question comes too late."""
    async with two_processes() as two:
        ts = two.slack.say(f"<@{BOT}> what is this?")
        events = two.slack.events_of(ROOM, ts)
        two.send_to(1)
        change(two, what, ts)
        await two.world.until_heard()
        two.send_to(0)
        await asyncio.gather(*map(two.slack.deliver, events))
        found = [(event.kind, event.id, getattr(event, "text", "")) for event in two.world.heard]
        wanted = "what is that?" if what == "edit" else ""
        assert found == [({"edit": "ask", "delete": "deleted"}[what], prompt(ROOM, ts), wanted)]
        assert two.slack.status(ROOM, ts) == ""
        if what == "edit":
            two.slack.edit(ROOM, ts, f"<@{BOT}> and now?")
            edited = (await two.world.until_heard(2))[1]
            assert isinstance(edited, Edited)
            assert (edited.prompt_id, edited.text) == (prompt(ROOM, ts), "and now?")
        await nothing_more(two.world)


@pytest.mark.parametrize("what", ["edit", "delete"])
async def test_a_change_of_a_question_that_another_process_has_stored(what: str) -> None:
    """NATS knows that it is stored."""
    async with two_processes() as two:
        ts = two.slack.mention("what is this?")
        await two.world.until_acknowledged(2)
        two.send_to(1)
        change(two, what, ts)
        changed = (await two.world.until_heard(2))[1]
        assert isinstance(changed, Edited if what == "edit" else Deleted)
        assert changed.prompt_id == prompt(ROOM, ts) != changed.id
        await nothing_more(two.world)


@pytest.mark.parametrize("what", ["edit", "delete"])
async def test_a_change_at_the_moment_in_which_another_process_stores_its_question(
    what: str,
) -> None:
    """NATS has just said that it is not stored. The change is stored as one of the old text."""
    async with two_processes() as two:
        ts = two.slack.mention("what is this?")
        await two.world.until_acknowledged(2)

        async def not_yet(user: str, event_id: str) -> bool:
            del user, event_id
            return False

        two.both[1]._context.is_stored = not_yet
        two.send_to(1)
        change(two, what, ts)
        await two.world.until_heard(2)
        assert kinds(two.world) == ["ask", {"edit": "edited", "delete": "deleted"}[what]]
        assert two.world.heard[1].id != prompt(ROOM, ts)


async def test_an_edit_of_a_question_that_another_process_refused_asks_it() -> None:
    """The shorter text is asked, although the other process knows nothing of the longer one."""
    async with two_processes() as two:
        two.world.publish_raises = TooLarge(2, 1)
        ts = two.slack.mention("far too long")
        await two.world.until_acknowledged(2)
        assert two.slack.told("UADA") == [TOO_LONG]
        two.world.publish_raises = None
        two.send_to(1)
        two.slack.edit(ROOM, ts, f"<@{BOT}> short")
        (ask,) = await two.world.until_heard()
        assert (ask.kind, ask.id, getattr(ask, "text", "")) == ("ask", prompt(ROOM, ts), "short")


@pytest.mark.parametrize("asked_before", [True, False])
async def test_an_edit_in_a_thread_asks_only_what_was_written_to_the_bot(
    asked_before: bool,
) -> None:
    """Ada wrote to Bob, and asked the bot to join later: correcting a typo is not a question."""
    async with two_processes() as two:
        root = two.slack.say("shall we?")
        if asked_before:
            two.slack.say(f"<@{BOT}> shall we?", thread=root)
        ts = two.slack.say("tomorow", thread=root)
        two.slack.mention("what do you think?", thread=root)
        await two.world.until_acknowledged(2)
        two.send_to(1)
        two.slack.edit(ROOM, ts, "tomorrow")
        await two.world.until_heard(2)
        assert kinds(two.world) == ["ask", "ask" if asked_before else "edited"]


async def test_a_form_is_sent_to_the_process_that_did_not_open_it() -> None:
    """Its metadata names the question. The answer was shown by one of the two, and rated here."""
    async with two_processes() as two:
        ask, ts = await answered(two.world)
        two.send_to(1)
        await two.slack.click(ROOM, ts, "Bad answer")
        two.send_to(0)
        await two.slack.submit(reason="too short")
        thumb, words = (event for event in two.world.heard if isinstance(event, Rate))
        assert (thumb.thumb, words.reason, words.prompt_id) == ("down", "too short", ask.id)


async def test_a_link_of_the_question_stays_a_link_in_an_answer_of_the_other_process() -> None:
    """It was made harmless in the stream, because only the answer brings the question along."""
    async with two_processes() as two:
        ask = await asked(two.world, direct=True, text="what is https://wax.example/a?")
        assert isinstance(ask, Ask)
        text = "See https://wax.example/a for more."
        growing = Partial(
            prompt_id=ask.id, user=ask.user, place=ask.place, address=ask.address, text=text,
            attempt=1, sequence=1,
        )  # fmt: skip
        other = two.both[1]
        await other.show_partial(growing)
        reply = answer(ask, text).model_copy(update={"prompt_text": ask.text})
        await other.post(Part(reply, text, 0, 1))
        assert seen(two.world, ask) == [text]


@pytest.mark.parametrize("when", ["later", "meanwhile"])
async def test_somebody_asked_the_bot_in_the_other_process_and_goes_on_without_a_mention(
    when: str,
) -> None:
    """This process has seen the thread without the bot, or is reading it when it is told."""
    async with two_processes() as two:
        root = two.slack.say("shall we?")
        two.send_to(1)
        two.slack.mention("what do you think?", thread=root)
        (ask,) = await two.world.until_heard()
        await two.world.until_acknowledged(2)
        mention = two.slack.messages[ROOM].pop(ask.address["ts"])  # Slack reads the thread before

        def told(method: str, phase: str) -> None:
            if (method, phase) == ("conversations.replies", "after") and when == "meanwhile":
                two.both[0].asked_elsewhere(ask.address)

        two.slack.hook = told
        two.send_to(0)
        two.slack.send("hm", thread=root, user="UBOB")
        await two.world.until_acknowledged(3)
        two.slack.messages[ROOM][ask.address["ts"]] = mention
        if when == "later":
            two.both[0].asked_elsewhere(ask.address)
        follow_up = two.slack.send("and why?", thread=root)
        assert [e.address["ts"] for e in (await two.world.until_heard(2))[1:]] == [follow_up]


@pytest.mark.parametrize("over_http", [False, True])
async def test_a_paused_process_gets_no_events_until_it_resumes(over_http: bool) -> None:
    """Slack sends them to the other one: at once over HTTP, and over its connections otherwise."""
    how: dict[str, object] = {}
    if over_http:
        secret = FakeSlack().sockets.signing_secret
        how = {"SLACK_APP_TOKEN": None, "SLACK_SIGNING_SECRET": secret, "SLACK_HTTP_PORT": 0}
    async with two_processes(**how) as two:
        sockets, platform = two.slack.sockets, two.both[0]
        sockets.only, sockets.retries_s = [], (0.05,) * 20
        if over_http:
            sockets.http_urls = [one.where.partition(" ")[0] for one in two.both]
        platform.pause()
        if not over_http:
            await sockets.until_connected(2)
        for number in range(4):
            two.slack.mention(f"number {number}")
        await two.world.until_heard(4)
        await two.world.until_acknowledged(8)
        assert over_http or all(delivery.attempts == 1 for delivery in two.slack.deliveries)
        platform.resume()
        if not over_http:
            await sockets.until_connected(4)
            return
        sockets.http_urls = sockets.http_urls[:1]
        two.slack.mention("again")
        await two.world.until_heard(5)
