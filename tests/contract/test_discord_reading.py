"""What the model reads of a rich message on Discord."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bots.discord.events import ABOUT_THAT, FORWARDED, LOOK
from bots.discord.quotes import DELETED, NOT_LOADED, NOTE
from shared.messages import EVENT_LIMIT_BYTES, Ask, Edited
from tests.contract.worlds.discord import DiscordWorld
from tests.fakes.discord_shapes import MISSING, VIEW_CHANNEL

ALERT = {"type": "rich", "title": "db1 is down", "description": "since 9:58",
         "footer": {"text": "Grafana"}}  # fmt: skip
ALERT_TEXT = "[embed]\ndb1 is down\nsince 9:58\nGrafana"
POLL = {"question": {"text": "Lunch?"}, "allow_multiselect": False, "layout_type": 1,
        "expiry": "2030-01-01T00:00:00+00:00", "answers": [
            {"answer_id": 1, "poll_media": {"text": "Pizza"}},
            {"answer_id": 2, "poll_media": {"text": "Sushi"}}]}  # fmt: skip
POLL_TEXT = "[poll] Lunch?\n- Pizza\n- Sushi\n(open until 2030-01-01T00:00:00+00:00)"
LAYOUT = [{"type": 17, "id": 1, "components": [
    {"type": 10, "id": 2, "content": "Release 1.2"},
    {"type": 1, "id": 3, "components": [
        {"type": 2, "id": 4, "style": 1, "custom_id": "a", "label": "Approve"}]}]}]  # fmt: skip
STICKER = {"sticker_items": [{"id": "1", "name": "Wave", "format_type": 1}]}
EVE = {"id": "3", "username": "eve", "discriminator": "0", "avatar": None}
CASES: list[tuple[dict[str, Any], str]] = [
    ({"embeds": [ALERT]}, ALERT_TEXT),
    ({"poll": POLL}, POLL_TEXT),
    (STICKER, "[sticker: Wave]"),
    ({"components": LAYOUT, "flags": 1 << 15}, "Release 1.2\n[button: Approve]"),
    ({"type": 7}, "[joined the server]"),
    ({"type": 20, "content": "It rains.", "interaction": {
        "id": "1", "type": 2, "name": "weather", "user": EVE}},
     "[result of the command weather, used by eve]\nIt rains."),
    ({"flags": 2, "content": "news", "webhook_id": "8", "message_reference": {
        "type": 0, "channel_id": "5", "guild_id": "6", "message_id": "7"}}, "news"),
]  # fmt: skip


@pytest.fixture
async def world() -> AsyncIterator[DiscordWorld]:
    async with DiscordWorld() as world:
        yield world


async def asked(world: DiscordWorld, text: str, **how: Any) -> Ask:
    count = len(world.heard)
    await world.fake.say(text, **{"mention": True, **how})
    await world.until_heard(count + 1)
    event = world.heard[-1]
    assert isinstance(event, Ask)
    return event


def quoted(ask: Ask) -> list[tuple[str, str]]:
    return [(quote.author, quote.text) for quote in ask.quotes]


# --- the message that is replied to ---------------------------------------------------------------


@pytest.mark.parametrize(("fields", "text"), CASES)
async def test_a_replied_to_message_is_read_completely(
    world: DiscordWorld, fields: dict[str, Any], text: str
) -> None:
    """This holds for messages without text, and for replies as well as the message menu."""
    fake = world.fake
    message = await fake.say("", author="bob", fields=fields)
    assert quoted(await asked(world, "what is this?", reply_to=message)) == [("Bob", text)]
    await fake.command("Ask about this", target=message)
    await world.until_heard(2)
    ask = world.heard[1]
    assert isinstance(ask, Ask)
    assert quoted(ask) == [("Bob", text)]


async def test_a_reply_that_only_names_the_bot_is_a_question(world: DiscordWorld) -> None:
    """A person who mentions the bot below an alert wants it to look at the alert."""
    alert = await world.fake.say("", author="otherbot", fields={"embeds": [ALERT]})
    ask = await asked(world, "", reply_to=alert)
    assert (ask.text, quoted(ask)) == (ABOUT_THAT, [("Otherbot", ALERT_TEXT)])


async def test_a_deleted_replied_to_message_is_mentioned(world: DiscordWorld) -> None:
    """If it was deleted before the adapter read the reply, the model learns that it existed."""
    fake = world.fake
    await asked(world, "first")
    message = await fake.say("soon gone", author="bob")
    await world.disconnect()
    await fake.say("what was that?", mention=True, reply_to=message)
    await fake.delete(message)
    await world.connect()
    await world.until_heard(2)
    event = world.heard[1]
    assert isinstance(event, Ask)
    assert quoted(event) == [(NOTE, DELETED.text)]


@pytest.mark.parametrize(
    ("where", "quotes"),
    [("here", [("Bob", ALERT_TEXT)]), ("elsewhere", [(NOTE, NOT_LOADED.text)])],
)
async def test_a_replied_to_message_that_discord_left_out_is_fetched(
    world: DiscordWorld, where: str, quotes: list[tuple[str, str]]
) -> None:
    """Only messages from the same channel are fetched, never those of other channels."""
    fake = world.fake
    channel = fake.general if where == "here" else fake.secret
    alert = await fake.say("", author="bob", channel=channel, fields={"embeds": [ALERT]})
    reference = {"type": 0, "message_id": str(alert), "channel_id": str(channel)}
    ask = await asked(
        world, "what is this?",
        malformed={"type": 19, "message_reference": reference, "referenced_message": MISSING},
    )  # fmt: skip
    assert quoted(ask) == quotes


@pytest.mark.parametrize("fault", [{"status": 404, "code": 10008}, {"status": 403, "code": 50001}])
async def test_if_a_replied_to_message_cannot_be_fetched_only_that_message_is_lost(
    world: DiscordWorld, fault: dict[str, Any]
) -> None:
    """The question is asked without that message."""
    fake = world.fake
    alert = await fake.say("", author="bob", fields={"embeds": [ALERT]})
    fake.fail("GET", rf"/messages/{alert}$", **fault)
    reference = {"type": 0, "message_id": str(alert), "channel_id": str(fake.general)}
    ask = await asked(
        world, "what is this?",
        malformed={"type": 19, "message_reference": reference, "referenced_message": MISSING},
    )  # fmt: skip
    assert quoted(ask) == [(NOTE, NOT_LOADED.text)]


async def test_a_question_about_a_giant_alert_is_asked(world: DiscordWorld) -> None:
    """It is cut with a note and never refused, whatever else is attached."""
    fake = world.fake
    control = "\x01" * 200_000
    alert = await fake.say("", author="bob", fields={"embeds": [{"description": control}] * 3})
    files = {f"{n}.txt": b"\x02" * 37_000 for n in range(4)}
    ask = await asked(world, "what is this?", reply_to=alert, files=files)
    assert ask.text == "what is this?"
    assert len(ask.wire()) < EVENT_LIMIT_BYTES
    assert len(ask.quotes) == 1
    assert [file.name for file in ask.attachments] == list(files)
    assert all(file.text or file.note for file in ask.attachments)
    assert any(file.note or "[cut: " in (file.text or "") for file in ask.attachments)


# --- kinds of messages ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "text"),
    [(STICKER, "[sticker: Wave]"), ({"poll": POLL}, POLL_TEXT),
     ({"activity": {"type": 1}, "application": {"id": "1", "name": "Chess", "icon": None,
                                               "description": ""}}, "[invites to join Chess]")],
)  # fmt: skip
async def test_a_message_without_text_is_a_question(
    world: DiscordWorld, fields: dict[str, Any], text: str
) -> None:
    """It can be a sticker, a poll, or an invitation in a direct message."""
    direct = await world.fake.direct()
    ask = await asked(world, "", channel=direct, mention=False, fields=fields)
    assert ask.text == text


async def test_a_link_preview_is_quoted(world: DiscordWorld) -> None:
    """The text of a page is not the asker's."""
    ask = await asked(world, "https://x.example good?", fields={"embeds": [ALERT]})
    assert ask.text == "https://x.example good?"
    assert quoted(ask) == [("previews of links", ALERT_TEXT)]


async def test_a_forwarded_alert_is_read_with_its_files(world: DiscordWorld) -> None:
    """Its embeds, stickers and files are read, even without a comment."""
    fake = world.fake
    files = {"cat.png": b"\x89PNG", "b.zip": b"PK"}
    alert = await fake.say("", author="bob", files=files, fields={"embeds": [ALERT], **STICKER})
    direct = await fake.direct()
    ask = await asked(world, "", channel=direct, mention=False, forward=alert)
    assert ask.text == FORWARDED
    shown = f"[sticker: Wave]\n{ALERT_TEXT}\n[picture: cat.png]\n[file: b.zip]"
    assert quoted(ask) == [("forwarded", shown)]
    assert [bool(file.blob) for file in ask.attachments] == [True, False]


@pytest.mark.parametrize("author", ["ada", "bob"])
async def test_a_comment_on_a_forward_is_asked_with_it(world: DiscordWorld, author: str) -> None:
    """Discord sends the comment as a separate message directly after the forward."""
    fake = world.fake
    alert = await fake.say("", author="eve", channel=fake.secret, files={"log.txt": b"E1"},
                           fields={"embeds": [ALERT]})  # fmt: skip
    await fake.say("", author=author, forward=alert)
    ask = await asked(world, "what is this?")
    if author == "ada":
        assert quoted(ask) == [("forwarded", f"{ALERT_TEXT}\n[file: log.txt]")]
        assert [file.text for file in ask.attachments] == ["E1"]
    else:
        assert quoted(ask) == []
    assert quoted(await asked(world, "and this?")) == []


async def test_a_voice_message_is_mentioned(world: DiscordWorld) -> None:
    """The model learns that it exists, how long it is, and that it cannot be heard."""
    fake = world.fake
    direct = await fake.direct()
    voice = fake._attachment("voice-message.ogg", b"OggS") | {
        "content_type": "audio/ogg", "duration_secs": 72.4, "waveform": "AAAA"}  # fmt: skip
    ask = await asked(world, "", channel=direct, mention=False,
                      fields={"flags": 1 << 13, "attachments": [voice]})  # fmt: skip
    assert ask.text == LOOK
    (file,) = ask.attachments
    assert (file.blob, file.text) == (None, None)
    assert file.note == "it is a voice message (1:12 min)"
    message = await fake.say("", author="bob", fields={"flags": 1 << 13, "attachments": [voice]})
    ask = await asked(world, "what does he say?", reply_to=message)
    assert quoted(ask) == [("Bob", "[voice message: voice-message.ogg, 1:12 min]")]


async def test_files_of_a_replied_to_message_are_taken(world: DiscordWorld) -> None:
    """A person who replies to a picture asks about it. Each file is taken once."""
    fake = world.fake
    shown = await fake.say("mine", author="bob", files={"a.png": b"\x89PNG", "log.txt": b"E1"})
    ask = await asked(world, "which is better?", reply_to=shown, files={"b.png": b"\x89PNG2"})
    assert [file.name for file in ask.attachments] == ["b.png", "a.png", "log.txt"]
    assert [world.blobs.get(file.blob or "") for file in ask.attachments] == [
        b"\x89PNG2", b"\x89PNG", None]  # fmt: skip
    assert ask.attachments[2].text == "E1"
    assert quoted(ask) == [("Bob", "mine\n[picture: a.png]\n[file: log.txt]")]


async def test_pictures_beyond_the_limit_are_mentioned(world: DiscordWorld) -> None:
    """At most 14 MiB are taken together, the asker's own first."""
    big = b"\x89PNG" + bytes(9 << 20)
    shown = await world.fake.say("", author="bob", files={"theirs.png": big})
    ask = await asked(world, "same?", reply_to=shown, files={"mine.png": big})
    assert [bool(file.blob) for file in ask.attachments] == [True, False]
    assert "14 MiB" in ask.attachments[1].note


# --- names ----------------------------------------------------------------------------------------


async def test_ids_are_replaced_by_names(world: DiscordWorld) -> None:
    """This covers people, roles, channels that everybody here sees, emoji, times and commands."""
    fake = world.fake
    bob = fake.users["bob"]["id"]
    ask = await asked(
        world, f"<@{bob}> <@&{fake.staff_role_id}> <#{fake.forum}> <:wave:1> <t:0> </ask:5>"
    )
    assert ask.text == "@Bob @staff #forum :wave: 1970-01-01 00:00 UTC /ask"
    assert fake.channels[int(ask.place.channel)]["name"] == "general"


@pytest.mark.parametrize("where", ["general", "secret"])
async def test_a_hidden_channel_is_named_only_to_its_own_readers(
    world: DiscordWorld, where: str
) -> None:
    """An answer could reveal its name to everybody who reads here."""
    fake = world.fake
    text = f"see <#{fake.secret}>"
    ask = await asked(world, text, channel=getattr(fake, where))
    assert ask.text == ("see #secret" if where == "secret" else text)
    pair = {"id": str(fake.guild_id), "type": 0, "allow": str(VIEW_CHANNEL), "deny": "0"}
    fake.channels[fake.secret]["permission_overwrites"] = [pair]
    await fake.gateway.dispatch("CHANNEL_UPDATE", 1, lambda _: fake.channels[fake.secret])
    assert (await asked(world, text)).text == "see #secret"


async def test_an_edit_is_read_like_a_question(world: DiscordWorld) -> None:
    """It contains names, and a sticker that is still there."""
    fake = world.fake
    message = await fake.say("hi", mention=True, fields=STICKER)
    await world.until_heard(1)
    await fake.edit(message, f"<@{fake.application_id}> hi <:wave:1>")
    await world.until_heard(2)
    assert isinstance(world.heard[1], Edited)
    assert world.heard[1].text == "hi :wave:\n[sticker: Wave]"


async def test_missed_messages_are_read_completely(world: DiscordWorld) -> None:
    """Messages from the history are read like those from the gateway."""
    fake = world.fake
    await asked(world, "first")
    await world.disconnect()
    alert = await fake.say("", author="bob", fields={"embeds": [ALERT]})
    await fake.say("what is this?", mention=True, reply_to=alert)
    await world.connect()
    await world.until_heard(2)
    event = world.heard[1]
    assert isinstance(event, Ask)
    assert quoted(event) == [("Bob", ALERT_TEXT)]
