"""The model reads the same messages around a question in Slack as people do."""

from typing import Any

import pytest

from bots.slack.quotes import QUOTES_CHARS
from shared.messages import EVENT_LIMIT_BYTES, Ask, Quote
from tests.contract.test_slack_messages import nothing_more, only
from tests.contract.worlds.slack import SlackWorld
from tests.fakes.slack import BOT, ROOM, TEAM
from tests.fakes.slack_shapes import SECRET_ROOM, channel_info, forwarded

ALERT = {
    "subtype": "bot_message", "bot_id": "BGRAF", "username": "Grafana",
    "attachments": [{
        "color": "D63232", "title": "Disk on db1", "text": "97 % &gt; 90 %", "fallback": "alert",
        "fields": [{"title": "Host", "value": "db1"}],
    }],
}  # fmt: skip


async def test_a_mention_below_an_alert_quotes_it() -> None:
    """The alert has no text, and its author is an app with a name of its own."""
    async with SlackWorld() as world:
        root = world.slack.say("", user="", **ALERT)
        world.slack.mention("what is wrong?", thread=root)
        ask = await only(world)
        assert ask.quotes == (Quote(author="Grafana", text="Disk on db1\n97 % > 90 %\nHost: db1"),)
        assert "BGRAF" not in [args.get("user") for _, args in world.slack.calls]


async def test_the_beginning_of_a_long_thread_is_never_lost() -> None:
    """The first message may be longer than others before it is cut, with a note."""
    async with SlackWorld() as world:
        root = world.slack.say("", user="", bot_id="B7", bot_profile={"name": "CI"},
                               attachments=[{"text": "step " * 2_000}])  # fmt: skip
        for n in range(30):
            world.slack.say(f"reply {n} " + "x" * 500, user="UBOB", thread=root)
        world.slack.mention("and?", thread=root)
        ask = await only(world)
        first, *others = ask.quotes
        assert first.author == "CI"
        assert first.text.startswith("step step")
        assert "[cut: 4,0" in first.text
        assert others[-1].text.startswith("reply 29")
        assert sum(len(quote.text) for quote in ask.quotes) <= QUOTES_CHARS + 100


async def test_everything_in_a_thread_is_read_or_named() -> None:
    """This includes files, huddles, polls, reminders, workflows and reactions."""
    async with SlackWorld() as world:
        slack = world.slack
        root = slack.say(
            "plan", user="UBOB", files=[slack.file("plan.pdf", "application/pdf", b"")]
        )
        slack.say("", user="UBOB", thread=root, files=[{"id": "F1", "mode": "tombstone"}])
        slack.say("", user="USLACKBOT", thread=root, subtype="huddle_thread",
                  room={"participant_history": ["UADA", "UBOB"]})  # fmt: skip
        slack.say("Reminder: pay.", user="USLACKBOT", thread=root)
        slack.say("", user="UPOLL", bot_id="B2", bot_profile={"name": "Polly"}, thread=root,
                  blocks=[{"type": "section", "text": {"type": "mrkdwn", "text": "*Eat?* <@UBOB>"},
                           "accessory": {"type": "button", "action_id": "v",
                                         "text": {"type": "plain_text", "text": "Vote"}}}],
                  reactions=[{"name": "pizza", "users": ["UBOB"], "count": 1}])  # fmt: skip
        slack.mention("sum up", thread=root)
        ask = await only(world)
        assert [(quote.author, quote.text) for quote in ask.quotes] == [
            ("Bob", "plan\n[file: plan.pdf]"),
            ("Bob", "[file, but it was deleted]"),
            ("Slackbot", "[huddle with 2 people]"),
            ("Slackbot", "Reminder: pay."),
            ("Polly", "*Eat?* @Bob\n[button: Vote]\n[reactions: :pizza: 1]"),
        ]


@pytest.mark.parametrize(
    "author",
    [
        {"user": "USLACKBOT"},
        {"user": "USLACKBOT", "subtype": "bot_message", "bot_id": "B01"},
        {"user": "UOTHER", "app_id": "A1"},
        {"user": "UOTHER", "bot_id": "BX", "bot_profile": {"app_id": "A1"}},
        {"user": "UOTHER", "bot_id": "BBOT", "subtype": "bot_message", "username": "Me"},
        {"user": BOT},
        {"user": "UADA", "subtype": "reminder_add"},
    ],
)
async def test_slackbot_and_our_own_copies_get_no_answer(author: dict[str, Any]) -> None:
    """Nobody waits for an answer, even if the setting lets the bot answer other bots."""
    async with SlackWorld(SLACK_ALLOW_BOTS="true") as world:
        ts = world.slack.say(f"Reminder: <@{BOT}> status?", **author)
        event = {**world.slack.events_of(ROOM, ts)[0], "type": "message", "channel_type": "channel"}
        if author.get("subtype"):
            event["subtype"] = author["subtype"]
        await world.slack.deliver(event)
        await nothing_more(world)
        assert world.slack.ephemerals == []


def preview(channel: str) -> dict[str, Any]:
    """The preview of a linked message, as the bot sees it."""
    return forwarded("salaries", is_share=False, channel_id=channel)


@pytest.mark.parametrize(
    ("channel", "asker", "seen"),
    [
        (ROOM, "UADA", True), ("COPEN", "UADA", True), (SECRET_ROOM, "UADA", False),
        ("CNOWHERE", "UADA", False), ("COPEN", "UGUEST", False), (ROOM, "UGUEST", True),
    ],
)  # fmt: skip
async def test_a_linked_message_is_quoted_to_those_who_can_open_it(
    channel: str, asker: str, seen: bool
) -> None:
    """The bot can be a member of channels in which the asker is not."""
    async with SlackWorld(SLACK_ALLOW_GUESTS="true") as world:
        world.slack.channels["COPEN"] = channel_info("COPEN")
        root = world.slack.say("see", user="UBOB", attachments=[preview(channel)])
        world.slack.mention("why?", user=asker, thread=root)
        ask = await only(world)
        assert ("salaries" in ask.quotes[0].text) is seen
        assert ask.quotes[0].text.startswith("see\n")


async def test_a_question_in_a_huge_thread_is_asked() -> None:
    """Forwards, files and quotes are cut with notes until they fit; the question is not cut."""
    async with SlackWorld() as world:
        slack = world.slack
        giant = "日本" * 6_000
        root = slack.say(giant, user="UBOB")
        for _ in range(25):
            slack.say("", user="", thread=root, **ALERT | {"attachments": [{"text": giant}]})
        files = [slack.file(f"{n}.txt", "text/plain", ("語" * 60_000).encode()) for n in range(5)]
        words = "what is all this? " + "長" * 20_000
        slack.mention(words, thread=root, files=files, attachments=[forwarded(giant)] * 12)
        ask = await only(world)
        assert ask.text == words
        assert len(ask.wire()) <= EVENT_LIMIT_BYTES
        assert len(ask.wire()) > 0.9 * EVENT_LIMIT_BYTES
        cut = [a.text or "" for a in ask.attachments] + [quote.text for quote in ask.quotes]
        assert sum("[cut: " in text for text in cut) > 10
        assert world.slack.told("UADA") == []
        assert isinstance(ask, Ask)


async def test_ids_with_an_underscore_are_answered() -> None:
    """Emulators of Slack use such ids."""
    async with SlackWorld() as world:
        world.slack.users["U_EVE"] = {"id": "U_EVE", "team_id": TEAM,
                                      "profile": {"display_name": "Eve"}}  # fmt: skip
        world.slack.mention("hello <@U_EVE>", user="U_EVE")
        ask = await only(world)
        assert ask.text == "hello @Eve"
        assert ask.address["user"] == "U_EVE"


async def test_ids_of_another_shape_are_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """The log says why nothing happens, without the text of the message."""
    async with SlackWorld() as world:
        ts = world.slack.say(f"<@{BOT}> secret", user="uada.1")
        await world.slack.deliver(world.slack.events_of(ROOM, ts)[0])
        await nothing_more(world)
    out = capsys.readouterr().out
    assert "ids or time stamps are not like Slack's" in out
    assert "secret" not in out


async def test_only_public_channels_are_named() -> None:
    """Slack sends only ids. The name of a private channel must not reach people outside it."""
    async with SlackWorld() as world:
        world.slack.channels["COPEN"] = channel_info("COPEN", name="general")
        world.slack.channels[SECRET_ROOM]["name"] = "layoffs"
        world.slack.mention(f"what is <#COPEN|> or <#{SECRET_ROOM}> or <#CGONE|>?")
        ask = await only(world)
        assert ask.text == f"what is #general or #{SECRET_ROOM} or #CGONE?"
