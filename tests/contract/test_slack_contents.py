"""Slack messages with forwards, quoted answers, broken text and malformed fields."""

import json
import logging

import pytest

from bots.slack.messages import ONLY_FORWARDED
from shared.messages import Ask, Quote
from tests.contract.test_slack_answers import Growing, asked, show, where
from tests.contract.test_slack_messages import nothing_more, only
from tests.contract.worlds.slack import SlackWorld
from tests.contract.worlds.world import answer
from tests.fakes.slack import BOT, ROOM, FakeSlack
from tests.fakes.slack_shapes import forwarded

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 100
HALF = "half \ud83d"
REPAIRED = "half \ufffd"


async def test_the_bots_answer_to_somebody_else_is_quoted() -> None:
    """Bob asks below the answer to Ada, which is quoted completely and with her name."""
    words = "The **deploy** failed & <why>. " * 20
    async with SlackWorld() as world:
        ask = await asked(world, text="what happened?")
        await show(world, answer(ask, words))
        world.slack.mention("explain that", user="UBOB", thread=where(ask)[1])
        bobs = (await world.until_heard(2))[1]
        assert isinstance(bobs, Ask)
        assert bobs.quotes == (
            Quote(author="Ada", text="@bot what happened?"),
            Quote(author="bot, to Ada", text=words.strip()),
        )
        world.slack.send("and then?", thread=where(ask)[1])
        adas = (await world.until_heard(3))[2]
        assert isinstance(adas, Ask)
        assert adas.quotes == (Quote(author="Bob", text="@bot explain that"),)


async def test_a_growing_answer_is_not_quoted() -> None:
    """The missing half may say the opposite."""
    async with SlackWorld(SLACK_STREAMING="native") as world:
        ask = await asked(world)
        await Growing(world, ask).to("It is not ")
        world.slack.mention("explain that", user="UBOB", thread=where(ask)[1])
        bobs = (await world.until_heard(2))[1]
        assert isinstance(bobs, Ask)
        assert [quote.author for quote in bobs.quotes] == ["Ada"]
        await show(world, answer(ask, "It is not so."))
        world.slack.mention("and now?", user="UBOB", thread=where(ask)[1])
        bobs = (await world.until_heard(3))[2]
        assert isinstance(bobs, Ask)
        assert bobs.quotes[-1] == Quote(author="bot, to Ada", text="It is not so.")


async def test_a_forwarded_message_alone_is_a_question() -> None:
    """The forwarded message is quoted with its files."""
    async with SlackWorld() as world:
        file = world.slack.file("a.png", "image/png", PNG)
        attachment = forwarded("Disk &lt;full&gt; on <@UBOB>'s host", files=[file])
        world.slack.dm("", attachments=[attachment])
        ask = await only(world)
        assert ask.text == ONLY_FORWARDED
        assert ask.quotes == (Quote(author="Carl, forwarded", text="Disk <full> on @Bob's host"),)
        assert [one.name for one in ask.attachments] == ["a.png"]
        assert world.slack.told("UADA") == []


@pytest.mark.parametrize(
    "fields",
    [
        {"text": ""}, {"text": "", "fallback": 5}, {"is_share": False}, {"is_msg_unfurl": False},
        {"text": None, "message_blocks": "x"},
    ],
)  # fmt: skip
async def test_a_forwarded_message_is_read_wherever_slack_puts_it(
    fields: dict[str, object],
) -> None:
    """It can be in the text, the blocks or the summary of both. A comment on it is the question."""
    async with SlackWorld() as world:
        world.slack.mention("what now?", attachments=[{**forwarded("Disk full"), **fields}])
        ask = await only(world)
        assert ask.text == "what now?"
        assert [quote.text.removeprefix("[today] Carl: ") for quote in ask.quotes] == ["Disk full"]


async def test_a_link_preview_is_data_and_not_an_edit() -> None:
    """Slack adds the preview as an attachment, and reports that as an edit."""
    preview = {"title": "A page", "text": "words of a page", "from_url": "https://a.example"}
    async with SlackWorld() as world:
        ts = world.slack.mention("see https://a.example", attachments=[preview])
        assert (await only(world)).quotes == (
            Quote(author="link preview", text="A page\nwords of a page"),
        )
        world.slack._changed(
            ROOM, "message_changed", message={**world.slack.messages[ROOM][ts], "attachments": []},
            previous_message=world.slack.messages[ROOM][ts],
        )  # fmt: skip
        await world.until_acknowledged(3)
        await nothing_more(world)


async def test_a_forward_without_a_mention_in_a_channel_is_not_for_the_bot() -> None:
    """Nothing says that it is meant for the bot."""
    async with SlackWorld() as world:
        world.slack.send("", attachments=[forwarded("Disk full")])
        await world.until_acknowledged(1)
        await nothing_more(world)


async def test_a_forward_in_a_thread_with_the_bot_is_a_follow_up() -> None:
    """It is a question if the person asked in that thread before."""
    async with SlackWorld() as world:
        root = world.slack.mention("hello")
        await world.until_acknowledged(2)
        world.slack.send("", thread=root, attachments=[forwarded("Disk full")])
        ask = (await world.until_heard(2))[1]
        assert getattr(ask, "text", "") == ONLY_FORWARDED


async def test_lone_surrogates_from_slack_are_repaired() -> None:
    """This holds for texts, names, file names, quotes, forwards, commands and edits."""
    async with SlackWorld() as world:
        slack: FakeSlack = world.slack
        slack.users["UBOB"]["profile"] = {"display_name": f"Bob {HALF}"}
        root = slack.say(f"root {HALF}", user="UBOB")
        files = [
            slack.file("a", "text/plain", b"x") | {"name": f"a {HALF}"},
            slack.file("b", "application/zip", b"x") | {"name": f"b {HALF}"},
        ]
        slack.mention(
            f"<@UBOB> {HALF}", thread=root, files=files, attachments=[forwarded(HALF, author=HALF)]
        )
        (ask,) = await world.until_heard()
        assert isinstance(ask, Ask)
        assert ask.text == f"@Bob {REPAIRED} {REPAIRED}"
        assert [one.name for one in ask.attachments] == [f"a {REPAIRED}", f"b {REPAIRED}"]
        assert ask.quotes == (
            Quote(author=f"Bob {REPAIRED}", text=f"root {REPAIRED}"),
            Quote(author=f"{REPAIRED}, forwarded", text=REPAIRED),
        )
        await world.until_acknowledged(2)
        assert REPAIRED in slack.told("UADA")[0]
        slack.edit(ROOM, ask.address["ts"], f"<@{BOT}> again {HALF}")
        await world.until_heard(2)
        await slack.command("/ask", HALF)
        edited, command = (await world.until_heard(3))[1:]
        assert (edited.text, command.text) == (f"again {REPAIRED}", REPAIRED)  # type: ignore[union-attr]
        for event in world.heard:
            json.loads(event.wire())
        assert all(delivery.attempts == 1 for delivery in slack.deliveries)


FOREIGN: list[object] = [None, 5, True, [None], {"x": [5]}, "\ud83d"]

FIELDS = (
    "type", "subtype", "channel", "channel_type", "user", "ts", "thread_ts", "text", "files",
    "attachments", "blocks", "bot_id", "bot_profile", "user_team", "message", "previous_message",
    "edited", "metadata", "event_ts",
)  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
async def test_a_field_of_another_type_is_answered_or_ignored(
    field: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Slack does not deliver it again, and no unexpected error is logged."""
    caplog.set_level(logging.ERROR)
    async with SlackWorld() as world:
        world.slack.sockets.ack_s = 30.0
        channel = world.slack.direct("UADA")
        for value in FOREIGN:
            ts = world.slack.say("hello", channel=channel)
            event = world.slack.events_of(channel, ts)[0]
            for change in (
                {field: value},
                {"subtype": "message_changed", "message": event,
                 "previous_message": {**event, field: value}},
                {"subtype": "message_changed", "message": {**event, field: value},
                 "previous_message": {**event, "text": "old"}},
                {"files": [{field: value, "name": value, "mimetype": value, "size": value,
                            "url_private": value}]},
                {"attachments": [{"is_share": True, field: value, "message_blocks": value,
                                  "author_name": value, "fallback": value}]},
            ):  # fmt: skip
                delivery = await world.slack.deliver({**event, **change})
                assert delivery.attempts == 1, (field, value, change)
        assert caplog.records == []
        if field != "type":  # Bolt cannot parse some of these
            assert "it cannot be handled" not in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["command", "button", "reaction", "stop"])
async def test_interactions_of_any_shape_are_acknowledged(kind: str) -> None:
    """This holds whatever their fields contain."""
    async with SlackWorld() as world:
        world.slack.sockets.ack_s = 30.0
        for value in FOREIGN:
            for payload in interactions(kind, value):
                what = {"command": "slash_commands", "button": "interactive"}.get(kind)
                if what is None:
                    delivery = await world.slack.deliver(payload)
                else:
                    delivery = await world.slack.sockets.deliver(what, payload, again=False)
                assert delivery.acked_at is not None, payload
        assert world.heard == [] or kind != "reaction"


def interactions(kind: str, value: object) -> list[dict[str, object]]:
    """Copies of an interaction, each with one field replaced by `value`."""
    whole: dict[str, object] = {
        "command": {
            "command": "/ask", "text": "x", "user_id": "UADA", "team_id": "T1",
            "channel_id": ROOM, "trigger_id": "1.2", "api_app_id": "A1",
        },
        "button": {
            "type": "block_actions", "team": {"id": "T1"}, "user": {"id": "UADA"},
            "channel": {"id": ROOM}, "container": {"message_ts": "1.1"},
            "actions": [{"action_id": "threadwax_rate", "type": "button", "block_id": "b",
                         "value": "up|UADA|slack-1", "action_ts": "1.1"}],
        },
        "reaction": {
            "type": "reaction_added", "user": "UADA", "reaction": "+1", "event_ts": "1.1",
            "item_user": BOT, "item": {"type": "message", "channel": ROOM, "ts": "1.1"},
        },
        "stop": {
            "type": "agent_session_stopped", "user": "UADA", "channel": ROOM, "thread_ts": "1.1",
            "event_ts": "1.1",
        },
    }[kind]  # type: ignore[assignment]  # fmt: skip
    fixed = {"command", "type", "api_app_id"}
    found = [{**whole, name: value} for name in whole if name not in fixed]
    for name, inner in whole.items():
        if isinstance(inner, dict):
            found += [{**whole, name: {**inner, key: value}} for key in inner]
        if isinstance(inner, list):
            rest = set(inner[0]) - {"action_id", "type", "block_id"}
            found += [{**whole, name: [{**inner[0], key: value}]} for key in rest]
    return found
