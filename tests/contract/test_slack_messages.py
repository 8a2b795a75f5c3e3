"""What people do in Slack, and which events the adapter publishes for it."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from bots.privacy import ALLOWED, FORBIDDEN
from bots.slack.ids import event_id
from bots.slack.wording import (
    EMPTY,
    ERASE,
    ERASING,
    EXPORT_FAILED,
    EXPORT_NOTHING,
    EXPORT_SCOPE,
    EXPORTED,
    EXPORTING,
    FORGET,
    FORGOTTEN,
    HELP,
    NOT_EXTERNAL,
    NOT_GUESTS,
    NOT_HERE,
    NOT_NOW,
    NOT_YOU,
    PRIVACY,
)
from shared.messages import Ask, Configure, Deleted, Edited, Forget, Quote, Reset, Stop
from shared.own_history import NotNow
from tests.contract.worlds.slack import SlackWorld
from tests.fakes.slack import BOT, GROUP, ROOM, SECRET_ROOM, TEAM, FakeSlack, Fault


def prompt(channel: str, ts: str) -> str:
    return event_id(TEAM, channel, ts)


async def only(world: SlackWorld) -> Ask:
    (event,) = await world.until_heard()
    assert isinstance(event, Ask)
    return event


async def nothing_more(world: SlackWorld) -> None:
    """Asks another question, and checks that it is the next published event."""
    before = len(world.heard)
    ts = world.slack.dm("the end", user="UCARL")
    await world.until_heard(before + 1)
    assert [e.id for e in world.heard[before:]] == [prompt("DCARL", ts)]


async def test_a_mention_becomes_one_question_with_place_and_return_address() -> None:
    """Slack sends two events for it. Thread, audience, user and time come from Slack."""
    async with SlackWorld() as world:
        ts = world.slack.mention("what is <https://nats.io|NATS> &amp; why?")
        await world.until_acknowledged(2)
        ask = await only(world)
        assert ask.text == "what is NATS (https://nats.io) & why?"
        assert ask.id == prompt(ROOM, ts)
        assert ask.user == "slack:T1-UADA"
        place = ask.place
        assert (place.space, place.channel, place.thread, place.audience) == (
            f"{TEAM}/{ROOM}",
            ROOM,
            ts,
            "public",
        )
        assert ask.address == {
            "team": TEAM, "channel": ROOM, "thread_ts": ts, "ts": ts, "user": "UADA",
        }  # fmt: skip
        assert ask.said_at == datetime.fromtimestamp(float(ts), UTC)


async def test_group_messages_need_a_mention_and_bots_are_ignored() -> None:
    """Messages without a mention, from bots, from us, or from Slack itself are ignored."""
    async with SlackWorld() as world:
        world.slack.send("just talk")
        world.slack.send("group talk", channel=GROUP)
        await world.say("I am a bot", author="otherbot")
        await world.say("I am you", author="self")
        world.slack.send("ada joined", subtype="channel_join")
        await world.until_acknowledged(7)
        await nothing_more(world)


async def test_other_bots_are_answered_if_the_setting_says_so() -> None:
    """SLACK_ALLOW_BOTS admits other bots, but never this bot itself."""
    async with SlackWorld(SLACK_ALLOW_BOTS=True, SLACK_ALLOW_USERS="UOTHER,UBOT,UCARL") as world:
        await world.say("I am you", author="self")
        await world.say("I am a bot", author="otherbot")
        assert (await only(world)).user == "slack:T1-UOTHER"
        await nothing_more(world)


async def test_an_undecided_mention_is_not_marked_as_seen() -> None:
    """The `message` event does not show that it is a mention, so `app_mention` must still count."""
    async with SlackWorld() as world:
        ts = world.slack.say("hello bot, through a group's name")
        (event,) = world.slack.events_of(ROOM, ts)
        await world.slack.deliver(event)
        assert world.heard == []
        await world.slack.deliver({**event, "type": "app_mention"})
        assert (await only(world)).id == prompt(ROOM, ts)


@pytest.mark.parametrize(
    ("mode", "heard"), [("always", {"UADA", "UBOB"}), ("asker", {"UADA"}), ("mention", set())]
)
async def test_the_setting_decides_which_follow_ups_need_no_mention(
    mode: str, heard: set[str]
) -> None:
    """In a thread with the bot, everybody's follow-ups count, or only the asker's, or nobody's."""
    async with SlackWorld(SLACK_FOLLOW_UP=mode) as world:
        root = world.slack.mention("first")
        await world.until_acknowledged(2)
        await world.restart()  # the new process has to ask Slack who is in the thread
        for user in ("UADA", "UBOB"):
            world.slack.send("and then?", user=user, thread=root)
            world.slack.send("<@UCARL> lunch?", user=user, thread=root)
        await world.until_acknowledged(6)
        followed = {e.address["user"] for e in world.heard[1:]}
        assert followed == heard
        assert len(world.heard) == 1 + len(heard)


async def test_a_thread_without_the_bot_is_ignored() -> None:
    """Slack is asked about each thread once."""
    async with SlackWorld() as world:
        root = world.slack.say("our own thread")
        for _ in range(3):
            ts = world.slack.say("reply", thread=root)
            await world.slack.deliver(world.slack.events_of(ROOM, ts)[0])
        assert world.heard == []
        assert [m for m, _ in world.slack.calls].count("conversations.replies") == 1


async def test_an_undecided_message_is_delivered_again() -> None:
    """If Slack cannot say who is in the thread, the next delivery of the event decides."""
    async with SlackWorld() as world:
        root = world.slack.mention("first")
        await world.until_acknowledged(2)
        await world.restart()
        world.slack.sockets.ack_s = 0.5
        world.slack.faults["conversations.replies"].append(Fault("status"))
        world.slack.send("second", thread=root)
        await world.until_heard(2)
        await world.until_acknowledged(3)
        assert world.slack.deliveries[-1].attempts == 2


async def test_a_message_is_acknowledged_only_after_it_is_stored() -> None:
    """The bus refuses it three times; Slack delivers it until it is stored, once."""
    async with SlackWorld() as world:
        world.slack.sockets.ack_s = 0.3
        world.slack.sockets.retries_s = (0.05, 0.05, 0.05)
        world.unavailable = 3
        world.slack.dm("hold on")
        await world.until_acknowledged(1)
        assert [getattr(e, "text", "") for e in world.heard] == ["hold on"]
        assert world.slack.deliveries[0].attempts == 4


async def test_the_thread_is_quoted_with_the_question() -> None:
    """Messages of others and of the asker are quoted, but not messages to the bot."""
    async with SlackWorld() as world:
        root = world.slack.say("Deploy failed &lt;again&gt;")
        world.slack.say("<@UCARL> broke it", user="UBOB", thread=root)
        world.slack.mention("what happened, <@UBOB>?", thread=root)
        await world.until_acknowledged(2)
        ask = await only(world)
        assert ask.quotes == (
            Quote(author="Ada", text="Deploy failed <again>"),
            Quote(author="Bob", text="@Carl broke it"),
        )
        assert ask.text == "what happened, @Bob?"
        for _ in range(3):
            world.slack.mention("and now?", user="UBOB", thread=root)
        await world.until_acknowledged(8)
        assert [m for m, _ in world.slack.calls].count(
            "users.info"
        ) == 3  # each person is looked up once


async def test_a_rate_limit_while_reading_the_thread_does_not_delay_the_question() -> None:
    """The thread helps, but is optional."""
    async with SlackWorld() as world:
        root = world.slack.say("context", user="UBOB")
        world.slack.always["conversations.replies"] = Fault("limit", retry_after_s=30)
        world.slack.mention("hello", thread=root)
        assert (await only(world)).quotes == ()


async def test_edits_and_deletions_of_a_question_are_published() -> None:
    """Each is published once. A link preview is not an edit."""
    async with SlackWorld() as world:
        ts = world.slack.mention("old")
        await world.until_acknowledged(2)
        world.slack.edit(ROOM, ts, f"<@{BOT}> new")
        await world.until_heard(2)
        world.slack.edit(ROOM, ts, f"<@{BOT}> new")
        world.slack.delete(ROOM, ts)
        _, edited, deleted = await world.until_heard(3)
        assert isinstance(edited, Edited)
        assert (edited.prompt_id, edited.text, edited.ask_again) == (prompt(ROOM, ts), "new", False)
        assert isinstance(deleted, Deleted)
        assert deleted.prompt_id == prompt(ROOM, ts)
        await nothing_more(world)


async def test_an_edit_can_make_a_question() -> None:
    """An edit that adds a mention asks a question; other edits are not for the bot."""
    async with SlackWorld() as world:
        talk, late = world.slack.say("talk"), world.slack.say("hello")
        world.slack.edit(ROOM, talk, "other talk")
        world.slack.edit(ROOM, late, f"<@{BOT}> hello")
        ask = await only(world)
        assert (ask.id, ask.text) == (prompt(ROOM, late), "hello")


@pytest.mark.parametrize("direct", [True, False])
async def test_text_commands_work_in_threads(direct: bool) -> None:
    """`!reset`, `!stop` and `!help` cause events and notices, but are never questions."""
    async with SlackWorld() as world:
        send = world.slack.dm if direct else world.slack.mention
        channel = "DADA" if direct else ROOM
        root = send("hello")
        await world.until_heard()
        for text in ("!stop", "!reset", "!HELP"):
            send(text, thread=root)
        _, first, second = await world.until_heard(3)
        kinds = sorted((type(first).__name__, type(second).__name__))
        assert kinds == ["Reset", "Stop"]
        assert {e.place.thread for e in (first, second)} == {root}
        await world.slack.until(lambda: len(world.slack.told("UADA")) == 2)
        assert sorted(world.slack.told("UADA")) == sorted([FORGOTTEN, HELP])
        assert {e["channel"] for e in world.slack.ephemerals} == {channel}
        await nothing_more(world)


async def test_privacy_explains_and_stores_a_choice() -> None:
    """As a slash command, and as a text command in a thread; only the person reads the result."""
    async with SlackWorld() as world:
        assert (await world.slack.command("/privacy")).response == {"text": PRIVACY}
        off = await world.slack.command("/privacy", "training off")
        assert off.response == {"text": FORBIDDEN}
        root = world.slack.dm("hello")
        await world.until_heard(2)
        world.slack.dm("!privacy Training ON", thread=root)
        first, _, second = await world.until_heard(3)
        assert isinstance(first, Configure)
        assert isinstance(second, Configure)
        assert (first.settings, second.settings) == ({"training": "no"}, {"training": "yes"})
        await world.slack.until(lambda: world.slack.told("UADA") == [ALLOWED])
        world.slack.dm("!privacy", thread=root)
        await world.slack.until(lambda: world.slack.told("UADA")[1:] == [PRIVACY])
        await nothing_more(world)


async def test_each_slash_command_does_what_it_says() -> None:
    """`/ask` asks a question that the channel sees; `/reset` and `/help` answer at once."""
    async with SlackWorld() as world:
        asked = await world.slack.command("/ask", "what is &lt;this&gt;?")
        assert asked.response == {"response_type": "in_channel", "text": ""}
        ask = await only(world)
        assert (ask.text, ask.place.channel, ask.place.audience) == (
            "what is <this>?",
            ROOM,
            "public",
        )
        assert ask.address["thread_ts"] == ""
        reset = await world.slack.command("/reset")
        assert reset.response == {"text": FORGOTTEN}
        assert isinstance(world.heard[1], Reset)
        assert (await world.slack.command("/help")).response == {"text": HELP}
        assert "Write your question" in (await world.slack.command("/ask")).response["text"]
        world.unavailable = 1
        assert (await world.slack.command("/ask", "now")).response == {"text": NOT_NOW}
        denied = await world.slack.command("/ask", "me?", user="UGUEST")
        assert denied.response == {"text": NOT_GUESTS}


async def test_forget_is_confirmed_by_a_button() -> None:
    """The button asks once more; only its press erases anything, and only for its own person."""
    async with SlackWorld() as world:
        asked = (await world.slack.command("/forget")).response
        assert asked["text"] == FORGET
        (button,) = asked["blocks"][1]["elements"]
        assert button["confirm"]["confirm"]["text"] == ERASE
        assert world.heard == []
        ts = world.slack.new_ts()
        world.slack.messages[ROOM][ts] = {**asked, "user": BOT, "ts": ts}
        await world.slack.click(ROOM, ts, ERASE, user="UBOB")
        await world.slack.click(ROOM, ts, ERASE)
        (event,) = await world.until_heard()
        assert isinstance(event, Forget)
        assert (event.user, event.silent) == ("slack:T1-UADA", False)
        assert event.address["channel"] == ROOM
        await world.slack.until(lambda: world.slack.told("UADA") == [ERASING])


async def test_export_sends_a_person_their_own_data_in_a_direct_message() -> None:
    """Wherever it was asked for; nobody else sees anything of it."""
    async with SlackWorld() as world:
        world.history = f"# What slack:T1-UADA asked\n{'words ' * 100_000}".encode()
        for channel in (ROOM, SECRET_ROOM):
            asked = (await world.slack.command("/export", channel=channel)).response
            assert asked == {"text": EXPORTING}
            (sent,) = await world.slack.until(lambda: world.slack.bot_messages("DADA", None))
            (file,) = sent["files"]
            assert (sent["text"], file["title"][-3:]) == (EXPORTED, ".md")
            assert world.slack.uploads[file["id"]] == world.history
            world.slack.messages["DADA"].clear()
        assert world.asked_for == ["slack:T1-UADA"] * 2
        assert world.slack.bot_messages(ROOM, None) == []
        assert world.slack.told("UADA") == world.heard == []


@pytest.mark.parametrize(
    ("history", "fault", "words"),
    [
        (b"", None, EXPORT_NOTHING),
        (NotNow("no recorder"), None, EXPORT_FAILED),
        (b"data", ("files.getUploadURLExternal", "error", "missing_scope"), EXPORT_SCOPE),
        (b"data", ("files.completeUploadExternal", "error", "internal_error"), EXPORT_FAILED),
        (b"data", ("conversations.open", "page", ""), EXPORT_FAILED),
    ],
)
async def test_a_person_whose_data_cannot_be_sent_is_notified(
    history: bytes | Exception, fault: tuple[str, str, str] | None, words: str
) -> None:
    """They can ask again at once."""
    async with SlackWorld() as world:
        world.history = history
        if fault is not None:
            method, kind, code = fault
            world.slack.faults[method].append(Fault(kind, code=code))
        await world.slack.command("/export")
        await world.slack.until(lambda: world.slack.told("UADA") == [words])
        assert world.slack.bot_messages("DADA", None) == []
        world.history = b"data"
        await world.slack.command("/export")
        await world.slack.until(lambda: world.slack.bot_messages("DADA", None))


async def test_slacks_own_stop_button_stops_the_thread() -> None:
    """It becomes a `Stop` from that user, and the session leaves "processing"."""
    async with SlackWorld() as world:
        root = world.slack.dm("talk at length")
        await world.until_heard()
        await world.slack.until(lambda: world.slack.status("DADA", root) == "processing")
        world.slack.press_stop("DADA", root)
        stop = (await world.until_heard(2))[1]
        assert isinstance(stop, Stop)
        assert (stop.user, stop.place.thread, stop.prompt_id) == ("slack:T1-UADA", root, None)
        await world.slack.until(lambda: not world.slack.status("DADA", root))


@pytest.mark.parametrize(
    ("settings", "user", "channel", "words"),
    [
        ({}, "UGUEST", ROOM, NOT_GUESTS),
        ({}, "UEXT", ROOM, NOT_EXTERNAL),
        ({"SLACK_DENY_USERS": "UBOB, UADA"}, "UADA", ROOM, NOT_YOU),
        ({"SLACK_ALLOW_USERS": "UBOB"}, "UADA", ROOM, NOT_YOU),
        ({"SLACK_DENY_CHANNELS": ROOM}, "UADA", ROOM, NOT_HERE),
        ({"SLACK_ALLOW_CHANNELS": SECRET_ROOM}, "UADA", ROOM, NOT_HERE),
    ],
)
async def test_a_refused_person_gets_one_private_notice(
    settings: dict[str, str], user: str, channel: str, words: str
) -> None:
    """Two mentions are four events, but cause one notice, in the thread and only for the asker."""
    async with SlackWorld(**settings) as world:
        root = world.slack.say("root", user="UBOB", channel=channel)
        for _ in range(2):
            world.slack.mention("hello", user=user, channel=channel, thread=root)
        await world.until_acknowledged(4)
        await world.slack.until(lambda: world.slack.told(user))
        assert world.slack.told(user) == [words]
        assert world.slack.ephemerals[0]["thread_ts"] == root
        assert world.heard == []
        assert world.slack.thread(channel, root) == []


@pytest.mark.parametrize(
    ("settings", "user"),
    [
        ({"SLACK_ALLOW_GUESTS": True}, "UGUEST"),
        ({"SLACK_ALLOW_EXTERNAL": True}, "UEXT"),
        ({"SLACK_ALLOW_USERS": "UGUEST"}, "UGUEST"),
        ({"SLACK_ALLOW_CHANNELS": ROOM}, "UADA"),
    ],
)
async def test_an_admitted_person_is_answered(settings: dict[str, object], user: str) -> None:
    """Each kind of setting admits people."""
    async with SlackWorld(**settings) as world:
        world.slack.mention("hello", user=user)
        assert (await only(world)).user == f"slack:T1-{user}"


async def test_an_unknown_person_counts_as_an_outsider() -> None:
    """Without the scope, Slack does not say who the person is, so the person is refused."""
    slack = FakeSlack()
    slack.scopes = {"chat:write"}
    async with SlackWorld(slack=slack) as world:
        world.slack.dm("hello")
        await world.slack.until(lambda: world.slack.told("UADA"))
        assert world.slack.told("UADA") == [NOT_YOU]
        assert world.heard == []


async def test_persona_and_model_depend_on_the_slack_channel() -> None:
    """SLACK_CHANNELS sets them by channel; `dm` stands for direct messages."""
    channels = (
        f'{{"{ROOM}": {{"persona": "A pirate.", "model": "big"}}, "dm": {{"model": "small"}}}}'
    )
    async with SlackWorld(SLACK_CHANNELS=json.loads(channels)) as world:
        world.slack.mention("ahoy")
        world.slack.dm("hello")
        world.slack.mention("quiet", channel=SECRET_ROOM)
        await world.until_heard(3)
        found = {e.place.channel: (e.persona, e.model) for e in world.heard if isinstance(e, Ask)}
        assert found == {
            ROOM: ("A pirate.", "big"), "DADA": (None, "small"), SECRET_ROOM: (None, None),
        }  # fmt: skip


async def test_a_mention_without_text_gets_a_notice() -> None:
    """The notice says what the bot can do, and nothing is asked."""
    async with SlackWorld() as world:
        world.slack.mention("")
        await world.slack.until(lambda: world.slack.told("UADA"))
        assert world.slack.told("UADA") == [EMPTY]
        assert world.heard == []


async def test_a_redelivered_message_causes_no_second_event() -> None:
    """It is delivered three more times over two connections, and once more after a restart."""
    async with SlackWorld() as world:
        ts = world.slack.mention("once")
        await world.until_acknowledged(2)
        await asyncio.gather(*(world.deliver_again(ts) for _ in range(3)))
        await world.restart()
        await world.deliver_again(ts)
        assert len(world.heard) == 1


@pytest.mark.parametrize(
    "event",
    [
        {}, {"type": "message"}, {"type": "message", "channel": "", "user": "U1", "ts": "1.1"},
        {"type": "message", "channel": "C1", "user": "U1", "ts": "yesterday", "text": "x"},
        {"type": "message", "channel": "C1", "user": "U1", "ts": "1.1", "files": "x", "text": 7},
        {"type": "message", "subtype": "message_changed", "channel": "C1", "message": 5},
        {"type": "message", "subtype": "message_deleted", "channel": "C1", "ts": "1.1"},
        {"type": "reaction_added", "user": "U1", "item": {}},
        {"type": "agent_session_stopped"}, {"type": "app_home_opened"},
        {"type": "something_new", "user": {"id": "U1"}},
    ],
)  # fmt: skip
async def test_a_malformed_event_is_acknowledged_and_dropped(event: dict[str, object]) -> None:
    """It would fail every time, so Slack must not deliver it again. The next event is handled."""
    async with SlackWorld() as world:
        world.slack.sockets.ack_s = 1.0
        delivery = await world.slack.deliver({"type": "message", **event})
        assert delivery.attempts == 1
        await nothing_more(world)
