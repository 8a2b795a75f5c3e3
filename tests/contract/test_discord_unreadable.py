"""If the library cannot read a message, nothing else is lost, and its author gets a notice."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bots.discord.wording import notice_text
from bots.platform import Part
from shared.messages import Ask
from tests.contract.worlds.discord import DiscordWorld
from tests.contract.worlds.world import answer
from tests.fakes.discord_shapes import MISSING, Json

QUIET_S = 0.3

TOO_DEEP = 330 if sys.version_info < (3, 12) else 600
"""For discord.py, but not for the JSON of its gateway: newer Pythons use fewer frames per level."""


def nested(depth: int) -> Json:
    """Components within components."""
    inner: Json = {"type": 17, "components": []}
    for _ in range(depth):
        inner = {"type": 17, "components": [inner]}
    return inner


MALFORMED: dict[str, Json] = {
    "no content": {"content": MISSING},
    "no type": {"type": MISSING},
    "bad snapshot": {"message_snapshots": [{"message": {"content": 1}}]},
    "snapshot of nothing": {"message_snapshots": [None]},
    "bad poll": {"poll": {"question": "no object"}},
    "bad component": {"components": [{"type": 1, "components": None}]},
    "nested components": {"components": [nested(TOO_DEEP)]},
    "bad attachment": {"attachments": [{"id": "1"}]},
    "bad embed": {"embeds": [{"timestamp": "yesterday"}]},
    "bad reaction": {"reactions": [{}]},
    "bad sticker": {"sticker_items": [{"name": 1}]},
    "bad reference": {"message_reference": {"message_id": "x"}},
    "bad mentions": {"mentions": [3]},
    "bad time": {"edited_timestamp": "never"},
    "bad metadata": {"interaction_metadata": {}},
}
SILENT: dict[str, Json] = {
    "null author": {"author": None},
    "no author": {"author": MISSING},
    "no id": {"id": "x"},
    "no channel": {"channel_id": None},
    "of another kind": {"type": 4711, "poll": {}},
}
"""Messages that name no person to notify, or no place for a notice."""


@pytest.fixture
async def world() -> AsyncIterator[DiscordWorld]:
    async with DiscordWorld() as world:
        yield world


def texts(world: DiscordWorld) -> list[str]:
    return [event.text for event in world.heard if isinstance(event, Ask)]


@pytest.mark.parametrize("where", ["channel", "direct"])
async def test_unreadable_messages_get_a_notice_and_the_session_goes_on(
    world: DiscordWorld, where: str
) -> None:
    """Each gets one notice, and the next message is asked."""
    fake = world.fake
    channel = fake.general if where == "channel" else await fake.direct()
    mention = where == "channel"
    for fields in MALFORMED.values():
        before = fake.read(channel)
        await fake.say("lost", channel=channel, mention=mention, malformed=fields)
        await fake.until(lambda known=before: fake.read(channel) != known)
    assert fake.read(channel) == [notice_text("unreadable")] * len(MALFORMED)
    await fake.say("heard", channel=channel, mention=mention)
    await world.until_heard(1)
    assert texts(world) == ["heard"]
    assert len(fake.gateway.identifies) == 1


async def test_unreadable_messages_to_others_get_no_notice(world: DiscordWorld) -> None:
    """The messages are not for the bot, and nobody else is affected."""
    for fields in SILENT.values():
        await world.fake.say("lost", mention=True, malformed=fields)
    await world.fake.say("chatter", malformed=MALFORMED["bad poll"])
    await world.fake.say("a bot", mention=True, author="otherbot", malformed=MALFORMED["bad poll"])
    await world.fake.say("heard", mention=True)
    await world.until_heard(1)
    await asyncio.sleep(QUIET_S)
    assert texts(world) == ["heard"]
    assert world.fake.read() == []
    assert len(world.fake.gateway.identifies) == 1


async def test_the_history_is_read_around_unreadable_messages(world: DiscordWorld) -> None:
    """All readable messages in all channels are asked; authors of unreadable ones get a notice."""
    fake = world.fake
    direct = await fake.direct()
    await fake.say("before", channel=direct)
    await world.until_heard(1)
    await world.disconnect()
    for number, fields in enumerate([*MALFORMED.values(), *SILENT.values()]):
        await fake.say(f"channel {number}", mention=True)
        await fake.say("lost", mention=True, malformed=fields)
        await fake.say(f"direct {number}", channel=direct)
    count = len(MALFORMED) + len(SILENT)
    await world.connect()
    # A message that does not name its channel belongs to the channel that is being read.
    await world.until_heard(2 + 2 * count)
    await fake.until(lambda: len(fake.read()) >= len(MALFORMED))
    await asyncio.sleep(QUIET_S)
    assert sorted(texts(world)) == sorted(
        [
            "before",
            "lost",
            *(f"{where} {n}" for where in ("channel", "direct") for n in range(count)),
        ]
    )
    assert set(fake.read()) == {notice_text("unreadable")}
    assert len(fake.read()) == len(MALFORMED)


async def test_access_lists_hold_for_unreadable_messages() -> None:
    """People who are not allowed to ask get no notice about them."""
    async with DiscordWorld(DISCORD_DIRECT_MESSAGES="nobody") as world:
        direct = await world.fake.direct()
        await world.fake.say("lost", channel=direct, malformed=MALFORMED["bad poll"])
        await world.fake.say("heard", mention=True)
        await world.until_heard(1)
        await asyncio.sleep(QUIET_S)
        assert world.fake.read(direct) == []


async def test_a_malformed_message_in_a_thread_loses_no_question(
    world: DiscordWorld,
) -> None:
    """At most, quotes of other people's messages are lost."""
    message = await world.fake.say("one", mention=True)
    await world.until_heard(1)
    await world.platform.post(Part(answer(world.heard[0], "hello"), "hello", 0, 1))
    for malformed in ({"author": None}, {"author": []}, {"content": None}, {"components": 3}):
        await world.fake.say("bad", channel=message, author="bob", malformed=malformed)
    await world.fake.say("two", channel=message)
    await world.until_heard(2)
    assert "two" in texts(world)


EVENTS: list[tuple[str, Any]] = [
    ("INTERACTION_CREATE", {"id": "1"}),
    ("MESSAGE_UPDATE", {"channel_id": "x"}),
    ("MESSAGE_DELETE", {}),
    ("MESSAGE_DELETE_BULK", {"ids": 3}),
    ("THREAD_CREATE", {"guild_id": "1x"}),
    ("THREAD_UPDATE", {}),
    ("CHANNEL_CREATE", {"type": 0}),
    ("GUILD_CREATE", {"id": "77", "channels": [None]}),
    ("GUILD_ROLE_UPDATE", []),
    ("SOMETHING_NEW", {"deep": [1]}),
    ("MESSAGE_CREATE", None),
    ("MESSAGE_CREATE", "text"),
]


async def test_no_event_ends_the_session(world: DiscordWorld) -> None:
    """This holds for every type of event, however malformed."""
    for event, data in EVENTS:
        await world.fake.gateway.dispatch(event, 0, lambda _, data=data: data)
    await world.fake.say("heard", mention=True)
    await world.until_heard(1)
    assert len(world.fake.gateway.identifies) == 1


# --- malformed fields -----------------------------------------------------------------------------

PICTURE: Json = {
    "id": "1", "filename": "a.png", "size": 3, "url": "http://127.0.0.1:9/a.png",
    "proxy_url": "http://127.0.0.1:9/a.png", "content_type": "image/png",
}  # fmt: skip
STRANGE_FILES: list[Json] = [
    {"size": None},
    {"size": "3"},
    {"size": -1},
    {"size": 1.5},
    {"size": [3]},
    {"content_type": 5},
    {"content_type": ["image/png"]},
    {"filename": None},
    {"filename": 7, "content_type": None},
    {"filename": "", "content_type": "text/plain"},
    {"filename": {}, "content_type": "text/plain", "size": None},
    {"url": None},
    {"url": 5, "content_type": "text/plain"},
    {"url": "no address"},
    {"url": None, "duration_secs": 1.5, "content_type": "audio/ogg"},
    {"duration_secs": "long", "content_type": "audio/ogg"},
]


@pytest.mark.parametrize("change", STRANGE_FILES)
async def test_a_malformed_file_does_not_lose_the_question(
    world: DiscordWorld, change: Json
) -> None:
    """The model learns the file's name and that it could not be read."""
    direct = await world.fake.direct()
    files = {"attachments": [{**PICTURE, **change}]}
    await world.fake.say("what is this?", channel=direct, malformed=files)
    await world.until_heard(1)
    ask = world.heard[0]
    assert isinstance(ask, Ask)
    (file,) = ask.attachments
    assert (file.blob, file.text) == (None, None)
    assert file.name
    assert file.note
    ask.wire()


STRANGE: dict[str, Json] = {
    "content is a number": {"content": 5},
    "content is a list": {"content": ["a"]},
    "a name is a number": {
        "content": "<@7> hello",
        "mentions": [{"id": "7", "username": 5, "avatar": None, "discriminator": "0"}],
    },
    "a forward of a number": {
        "content": "",
        "message_reference": {"type": 1, "message_id": "1", "channel_id": "1"},
        "message_snapshots": [
            {"message": {"content": 7, "attachments": [], "embeds": [], "flags": 0, "type": 0,
                         "timestamp": "2026-11-26T00:00:00", "edited_timestamp": None}}
        ],
    },
    "no id of Discord's": {"id": str(10**30)},
}  # fmt: skip


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("how", ["new", "missed", "edited"])
async def test_a_malformed_message_gets_a_notice(
    world: DiscordWorld, capfd: pytest.CaptureFixture[str], strange: str, how: str
) -> None:
    """It gets one log line and one notice, or it is asked; so is the next message."""
    fake = world.fake
    direct = await fake.direct()
    await fake.say("before", channel=direct)
    await world.until_heard(1)
    if how == "missed":
        await world.disconnect()
    if how == "edited":
        message = await fake.say("fine", channel=direct)
        await world.until_heard(2)
        fake._find(message)["_malformed"] = {k: v for k, v in STRANGE[strange].items() if k != "id"}
        await fake.edit(message, "changed")
    else:
        await fake.say("hello there", channel=direct, malformed=STRANGE[strange])
    if how == "missed":
        await world.connect()
    heard = 1 + (how == "edited")
    async with asyncio.timeout(20):
        while not fake.read(direct) and len(world.heard) == heard:
            await asyncio.sleep(0.05)
    assert (fake.read(direct) == [notice_text("unreadable")]) is (len(world.heard) == heard)
    assert "Traceback" not in "".join(capfd.readouterr())
    count = len(world.heard)
    await fake.say("after", channel=direct)
    await world.until_heard(count + 1)
    assert texts(world)[-1] == "after"


async def test_people_without_access_get_no_notice_about_malformed_messages() -> None:
    """People who are not allowed to ask are told only that; messages to others get no notice."""
    async with DiscordWorld(DISCORD_DIRECT_MESSAGES="nobody") as world:
        direct = await world.fake.direct()
        await world.fake.say("lost", channel=direct, malformed={"content": 5})
        await world.fake.say("chatter", malformed={"content": 5})
        await world.fake.say("heard", mention=True)
        await world.until_heard(1)
        await asyncio.sleep(QUIET_S)
        assert world.fake.read(direct) == [notice_text("direct")]
        assert world.fake.read() == []


# --- lone surrogates ------------------------------------------------------------------------------

HALF = "\ud83d"


async def test_a_lone_surrogate_loses_and_blocks_nothing(world: DiscordWorld) -> None:
    """It can be in a text, a name, a title, a file name, a quote or an edit."""
    fake = world.fake
    fake.users["bob"]["global_name"] = f"B{HALF}b"
    other = await fake.say(f"quoted {HALF}", author="bob")
    files = {f"a{HALF}.txt": b"a text", f"b{HALF}.png": b"\x89PNG"}
    message = await fake.say(f"what {HALF} is", mention=True, reply_to=other, files=files)
    await world.until_heard(1)
    ask = world.heard[0]
    assert isinstance(ask, Ask)
    assert ask.text == "what \ufffd is"
    assert [(quote.author, quote.text) for quote in ask.quotes] == [("B\ufffdb", "quoted \ufffd")]
    assert [file.name for file in ask.attachments] == ["a\ufffd.txt", "b\ufffd.png"]
    ask.wire()
    await world.platform.post(Part(answer(ask, f"an {HALF} answer"), "an answer", 0, 1))
    assert fake.read(message) == ["an answer"]
    assert fake.channels[message]["name"] == "what \ufffd is"
    await fake.edit(message, f"<@{fake.application_id}> {HALF}")
    await fake.command("ask", question=f"and {HALF}?")
    await world.until_heard(3)
    json.dumps([event.model_dump(mode="json") for event in world.heard]).encode()


async def test_a_message_that_is_only_a_lone_surrogate_is_a_question(world: DiscordWorld) -> None:
    """It and the next message are asked."""
    await world.fake.say(HALF, mention=True)
    await world.fake.say("next", mention=True)
    await world.until_heard(2)
    assert texts(world) == ["\ufffd", "next"]
