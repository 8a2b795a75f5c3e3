"""The status line below a thread says that the bot is working, and why there is no answer yet."""

import asyncio

import pytest

from bots.platform import Part
from bots.slack import working
from shared.messages import AnyEvent
from shared.replies import Partial
from tests.contract.test_slack_answers import Growing, asked, seen, show, where
from tests.contract.worlds.slack import SlackWorld
from tests.contract.worlds.world import answer
from tests.fakes.slack import Fault

SESSIONS, LINES = "agents.sessions.setStatus", "assistant.threads.setStatus"
BUSY = "The model is busy. Your question is number 3 in the queue."


def called(world: SlackWorld, *methods: str) -> int:
    return sum(method in methods for method, _ in world.slack.calls)


async def test_a_fast_answer_needs_no_call_for_the_status_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The status line is neither set nor cleared, not even later."""
    monkeypatch.setattr(working, "SHOWN_AFTER_S", 3600)
    async with SlackWorld() as world:
        world.slack.mention("question")
        await world.until_heard(1)
        async with asyncio.timeout(5):
            while not world.platform._working._setting:
                await asyncio.sleep(0.01)
        done = answer(world.heard[0], "hello")
        await world.platform.post(Part(done, done.text, 0, 1))
        await world.platform._working.settled()
        assert SESSIONS not in [method for method, _ in world.slack.calls]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", status=404), Fault("status", status=403), Fault("status", status=405),
        Fault("status", status=501), Fault("error", code="unknown_method"),
        Fault("error", code="missing_scope"), Fault("error", code="not_allowed"),
        Fault("page", status=404), Fault("empty", status=404),
    ],
)  # fmt: skip
async def test_a_workspace_without_status_lines_is_called_once(
    fault: Fault, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some proxies and emulators have none, which causes no warning, delay or further call."""
    async with SlackWorld() as world:
        world.slack.always = {SESSIONS: fault, LINES: fault}
        for n in range(4):
            ask = await asked(world)
            await show(world, answer(ask, f"answer {n}"))
            await world.platform._working.settled()
            assert seen(world, ask) == [f"answer {n}"]
        assert [called(world, SESSIONS), called(world, LINES)] == [1, 1]
    assert "status not cleared" not in capsys.readouterr().out


async def test_an_outage_does_not_switch_the_status_line_off() -> None:
    """The next answer has its status line again."""
    async with SlackWorld() as world:
        world.slack.faults[SESSIONS].extend([Fault("status", status=502)])
        await asked(world)
        ask = await asked(world)
        assert world.slack.status(*where(ask)) == "processing"


async def say_why(
    world: SlackWorld, ask: AnyEvent, words: str, sequence: int = 1, *, early: bool = False
) -> None:
    await world.platform.show_partial(
        Partial(prompt_id=ask.id, user=ask.user, place=ask.place, address=ask.address, text="",
                attempt=0, sequence=sequence, status=words, early=early)
    )  # fmt: skip


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("sessions", [True, False])
async def test_the_status_line_says_why_there_is_no_text_yet(direct: bool, sessions: bool) -> None:
    """The reason disappears with the first text, and the status line with the answer."""
    async with SlackWorld() as world:
        if not sessions:
            world.slack.unknown.add(SESSIONS)
        ask = await asked(world, direct=direct)
        await say_why(world, ask, BUSY)
        assert world.slack.statuses[where(ask)] == BUSY
        assert seen(world, ask) == []
        await Growing(world, ask).to("One ")
        await world.platform._working.settled()
        assert world.slack.statuses[where(ask)] == ("" if sessions else working.WORDS)
        assert bool(world.slack.status(*where(ask)))
        await show(world, answer(ask, "One two."))
        assert seen(world, ask) == ["One two."]
        await world.platform._working.settled()
        assert not world.slack.status(*where(ask))
        assert not world.slack.statuses[where(ask)]


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("grown", [True, False])
async def test_without_a_status_line_the_preview_shows_the_reason(
    direct: bool, grown: bool
) -> None:
    """That message becomes the answer, so there is only one message."""
    async with SlackWorld() as world:
        world.slack.always[LINES] = Fault("status", status=404)
        ask = await asked(world, direct=direct)
        await say_why(world, ask, BUSY)
        assert seen(world, ask) == [f"_{BUSY}_"]
        grow = Growing(world, ask)
        if grown:
            await grow.to("One ")
            assert seen(world, ask) == ["One"]
            await say_why(world, ask, BUSY, 5)
            assert seen(world, ask) == ["One"]
        await show(world, answer(ask, "One two."))
        assert seen(world, ask) == ["One two."]


async def test_the_status_line_has_one_text_if_slack_refuses_a_list() -> None:
    """Older versions of Slack do not know `loading_messages`."""
    async with SlackWorld() as world:
        world.slack.refuses[LINES, "loading_messages"] = "invalid_arguments"
        ask = await asked(world)
        await say_why(world, ask, BUSY)
        assert world.slack.statuses[where(ask)] == BUSY


@pytest.mark.parametrize("mode", ["off", "update"])
async def test_with_streaming_off_only_the_status_line_shows_the_reason(mode: str) -> None:
    """The status line is not a message. Without a status line, the reason is not shown."""
    async with SlackWorld(SLACK_STREAMING=mode) as world:
        world.slack.always[LINES] = Fault("status", status=404)
        ask = await asked(world)
        await say_why(world, ask, BUSY)
        assert len(seen(world, ask)) == (mode != "off")


async def test_the_reason_is_cleared_after_a_crash() -> None:
    """The next process takes over the answer and clears the status line."""
    async with SlackWorld() as world:
        ask = await asked(world)
        await say_why(world, ask, BUSY)
        await world.restart()
        done = answer(ask, "hello")
        part = Part(done, done.text, 0, 1)
        assert await world.platform.find_posted(part) is None
        await world.platform.post(part)
        await world.platform._working.settled()
        assert not world.slack.statuses[where(ask)]
        assert seen(world, ask) == ["hello"]


@pytest.mark.parametrize("line", [True, False])
async def test_only_the_status_line_says_that_a_question_is_queued(line: bool) -> None:
    """A message would become an answer above the previous answer."""
    async with SlackWorld() as world:
        if not line:
            world.slack.always[LINES] = Fault("status", status=404)
        first = await asked(world)
        world.slack.mention("and?", thread=where(first)[1])
        second = (await world.until_heard(2))[1]
        await say_why(world, second, BUSY, early=True)
        assert world.slack.statuses.get(where(first), "") == (BUSY if line else "")
        assert seen(world, first) == []
        await show(world, answer(first, "one"))
        await Growing(world, second).to("tw")
        await show(world, answer(second, "two"))
        assert seen(world, first) == ["one", "two"]
        await world.platform._working.settled()
        assert not world.slack.statuses.get(where(first))
