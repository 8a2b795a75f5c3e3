"""If Slack refuses an optional part of an answer, the answer appears once and without it."""

import pytest

from bots.platform import Later, Part
from shared.messages import AnyEvent
from tests.contract.test_slack_answers import Growing, asked, parts_of, seen, where
from tests.contract.worlds.slack import SlackWorld
from tests.contract.worlds.world import answer
from tests.fakes.slack import ROOM, Fault

CODES = ("invalid_arguments", "a_code_of_tomorrow")
TEXT = "An answer, see https://evil.example/?q=secret and <!channel>."

OPTIONAL = {
    "chat.postMessage": {
        "thread_ts": ("restricted_action_thread_locked", "cannot_reply_to_message"),
        "unfurl_links": (), "unfurl_media": (),
        "metadata": ("invalid_metadata_format", "metadata_too_large"),
        "blocks": ("invalid_blocks", "msg_blocks_too_long"),
        "blocks.markdown": ("invalid_blocks",), "blocks.actions": ("invalid_blocks",),
        "blocks.context_actions": ("invalid_blocks",),
    },
    "chat.update": {
        "metadata": ("invalid_metadata_format",), "blocks": ("invalid_blocks",),
        "blocks.markdown": ("invalid_blocks",), "blocks.context_actions": ("invalid_blocks",),
        "text": (),
    },
    "chat.startStream": {
        "recipient_team_id": ("missing_recipient_team_id",), "recipient_user_id": (),
        "markdown_text": (), "thread_ts": ("thread_not_found",),
    },
    "chat.appendStream": {"markdown_text": ("message_not_in_streaming_state",)},
    "chat.stopStream": {
        "metadata": ("invalid_metadata_schema",), "blocks": ("invalid_blocks",),
        "session_status": (), "markdown_text": (),
    },
    "agents.sessions.setStatus": {"thread_ts": (), "status": ("feature_not_enabled",)},
    "assistant.threads.setStatus": {"thread_ts": (), "status": ()},
    "chat.delete": {"ts": ("cant_delete_message",)},
}  # fmt: skip
"""All optional arguments that we send, with the error codes that Slack documents for them."""

CASES = [
    (method, argument, code)
    for method, arguments in OPTIONAL.items()
    for argument, codes in arguments.items()
    for code in (*codes, *CODES)
]


def part_of(ask: AnyEvent, text: str = TEXT) -> Part:
    reply = answer(ask, text).model_copy(update={"prompt_text": "question"})
    (part,) = parts_of(reply)
    return part


def everywhere(world: SlackWorld) -> list[str]:
    """The texts of all messages from the bot."""
    found = []
    for channel in (ROOM, "DADA"):
        threads = {m.get("thread_ts") for m in world.slack.messages[channel].values()}
        for thread in threads | {None}:
            found += world.slack.thread(channel, thread)
    return found


@pytest.mark.parametrize("grown", [False, True])
@pytest.mark.parametrize(("method", "argument", "code"), CASES)
async def test_refusing_an_optional_part_does_not_lose_the_answer(
    method: str, argument: str, code: str, grown: bool
) -> None:
    """With any error code, nobody is pinged, and no link from the model is previewed."""
    async with SlackWorld() as world:
        world.slack.refuses[method, argument] = code
        ask = await asked(world, direct="Stream" in method)
        part = part_of(ask)
        if grown:
            grow = Growing(world, ask)
            await grow.to("An ")
            await grow.to("An answer, ")
        await world.platform.post(part)
        shown = [text.replace("[:]//", "://") for text in everywhere(world)]
        assert [text.removeprefix("> question\n") for text in shown] == [TEXT], world.slack.calls
        assert world.slack.pings == []
        assert world.slack.unfurled == []
        await world.restart()
        if await world.platform.find_posted(part) is None:
            await world.platform.post(part)
            assert len(everywhere(world)) == 1


@pytest.mark.parametrize("code", CODES)
async def test_all_optional_parts_of_an_answer_can_be_refused(code: str) -> None:
    """Only the text is shown."""
    async with SlackWorld() as world:
        for argument in ("metadata", "blocks", "unfurl_links", "unfurl_media"):
            world.slack.refuses["chat.postMessage", argument] = code
        ask = await asked(world)
        await world.platform.post(part_of(ask))
        assert [text.replace("[:]//", "://") for text in seen(world, ask)] == [TEXT]
        assert world.slack.unfurled == []
        assert world.slack.pings == []


@pytest.mark.parametrize("argument", ["blocks.context_actions", "metadata", "blocks.actions"])
async def test_only_what_slack_refuses_is_left_out(argument: str) -> None:
    """Without feedback buttons, Again remains; without metadata, all buttons remain."""
    expected = {
        "blocks.context_actions": ["Again"], "blocks.actions": [],
        "metadata": ["Again", "Good answer", "Bad answer"],
    }[argument]  # fmt: skip
    async with SlackWorld() as world:
        world.slack.refuses["chat.postMessage", argument] = "a_code_of_tomorrow"
        ask = await asked(world)
        receipt = await world.platform.post(part_of(ask))
        assert world.slack.buttons(ROOM, receipt.partition("/")[2]) == expected


async def test_an_answer_without_metadata_is_found_and_works_like_any_other() -> None:
    """It is not posted again after a crash, and buttons, reactions and follow-ups work."""
    async with SlackWorld() as world:
        world.slack.refuses["chat.postMessage", "metadata"] = "invalid_metadata_format"
        ask = await asked(world)
        reply = answer(ask, "word " * 2000)
        receipts = [await world.platform.post(part) for part in parts_of(reply)]
        await world.restart()
        assert [await world.platform.find_posted(part) for part in parts_of(reply)] == receipts
        world.slack.react(ROOM, receipts[-1].partition("/")[2], "+1")
        world.slack.send("and then?", thread=ask.address["thread_ts"])
        rate, follow_up = (await world.until_heard(3))[1:]
        assert (rate.kind, follow_up.kind) == ("rate", "ask")


@pytest.mark.parametrize(
    "code",
    ["thread_not_found", "invalid_thread_ts", "cannot_reply_to_message",
     "restricted_action_thread_locked", "restricted_action_non_threadable_channel"],
)  # fmt: skip
@pytest.mark.parametrize("crashed", [False, True])
async def test_an_answer_refused_in_its_thread_goes_to_the_channel(
    code: str, crashed: bool
) -> None:
    """It appears at the top of the channel, names its question, and appears once after a crash."""
    async with SlackWorld() as world:
        world.slack.refuses["chat.postMessage", "thread_ts"] = code
        ask = await asked(world)
        for _ in range(2 if crashed else 1):
            await world.platform.post(part_of(ask, "An answer."))
            if crashed:
                await world.restart()
        assert everywhere(world) == ["> question\nAn answer."]
        assert world.slack.thread(ROOM, None) == ["> question\nAn answer."]
        await world.slack.until(lambda: not world.slack.status(*where(ask)))


@pytest.mark.parametrize("what", ["removed", "private", "archived", "thread only", "read only"])
async def test_an_answer_refused_in_its_channel_goes_to_the_asker(what: str) -> None:
    """The bot was removed or the channel was closed. The asker gets one direct message."""
    async with SlackWorld() as world:
        ask = await asked(world)
        match what:
            case "removed":
                world.slack.member_of.discard(ROOM)
            case "private":
                world.slack.channels[ROOM]["is_private"] = True
                world.slack.member_of.discard(ROOM)
            case "archived":
                world.slack.channels[ROOM]["is_archived"] = True
            case "thread only":
                world.slack.refuses["chat.postMessage", "thread_ts"] = "thread_not_found"
                world.slack.takes_no[ROOM] = "restricted_action_thread_only_channel"
            case _:
                world.slack.takes_no[ROOM] = "restricted_action_read_only_channel"
        for _ in range(2):
            await world.platform.post(part_of(ask, "An answer."))
            await world.restart()
        assert everywhere(world) == ["> question\nAn answer."]
        assert world.slack.thread("DADA", None) == ["> question\nAn answer."]


async def test_a_rate_limit_between_two_variants_does_not_start_over() -> None:
    """Refused variants are not tried again, so there is one call per rate limit."""
    async with SlackWorld() as world:
        world.slack.refuses["chat.postMessage", "metadata"] = "a_code_of_tomorrow"
        ask = await asked(world)
        for refused in (True, True, False):
            world.slack.faults["chat.postMessage"] += [Fault("none"), Fault("limit")]
            if refused:
                with pytest.raises(Later, match="rate limit"):
                    await world.platform.post(part_of(ask))
            else:
                await world.platform.post(part_of(ask))
        assert len(everywhere(world)) == 1


async def test_a_text_that_slack_always_refuses_is_reported_to_the_relay() -> None:
    """A known error code is final; an unknown one may be temporary and is retried."""
    async with SlackWorld() as world:
        ask = await asked(world)
        world.slack.always["chat.postMessage"] = Fault("error", code="a_code_of_tomorrow")
        with pytest.raises(Later) as later:
            await world.platform.post(part_of(ask))
        assert later.value.wait_s >= 10
        world.slack.always.clear()
        await world.platform.post(part_of(ask))
        assert len(everywhere(world)) == 1


@pytest.mark.parametrize("outcome", ["is_archived", "invalid_arguments", "restricted_action"])
async def test_the_status_line_is_cleared_if_an_answer_can_never_be_shown(outcome: str) -> None:
    """The bot no longer works on the answer, whatever its outcome."""
    async with SlackWorld() as world:
        ask = await asked(world)
        world.slack.always["chat.postMessage"] = Fault("error", code=outcome)
        with pytest.raises(Exception, match=outcome):
            await world.platform.post(part_of(ask))
        await world.slack.until(lambda: not world.slack.status(*where(ask)))


@pytest.mark.parametrize("code", ["thread_not_found", *CODES])
@pytest.mark.parametrize("argument", ["thread_ts", "user"])
async def test_a_notice_is_sent_whichever_part_slack_refuses(argument: str, code: str) -> None:
    """It is sent without its thread or as a direct message."""
    async with SlackWorld() as world:
        root = world.slack.say("root", user="UBOB")
        world.slack.refuses["chat.postEphemeral", argument] = code
        world.slack.mention("", thread=root)
        await world.slack.until(
            lambda: bool(world.slack.told("UADA") or world.slack.thread("DADA", None))
        )
        notices = world.slack.told("UADA") or world.slack.thread("DADA", None)
        assert len(notices) == 1
        assert "without a question" in notices[0]


async def test_a_notice_waits_for_a_rate_limit() -> None:
    """A rate limit must not lose a notice."""
    async with SlackWorld() as world:
        world.slack.faults["chat.postEphemeral"] += [Fault("limit"), Fault("status")]
        world.slack.mention("")
        await world.slack.until(lambda: world.slack.told("UADA"))
