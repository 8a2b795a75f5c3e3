"""Which messages of other people are quoted with a question on Discord."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bots.discord import quotes
from bots.platform import Part
from shared.messages import Ask
from tests.contract.worlds.discord import DiscordWorld
from tests.contract.worlds.world import answer
from tests.fakes.discord_shapes import READ_HISTORY, VOICE

EXPLANATION = "Wax repels water because it is not polar."


@pytest.fixture
async def world() -> AsyncIterator[DiscordWorld]:
    async with DiscordWorld() as world:
        yield world


async def asked(world: DiscordWorld, text: str, **how: Any) -> Ask:
    count = len(world.heard)
    await world.fake.say(text, **how)
    await world.until_heard(count + 1)
    event = world.heard[-1]
    assert isinstance(event, Ask)
    return event


async def answered(world: DiscordWorld, ask: Ask, *texts: str) -> int:
    parts = [Part(answer(ask, "".join(texts)), t, n, len(texts)) for n, t in enumerate(texts)]
    return int([await world.platform.post(part) for part in parts][-1])


def quoted(ask: Any) -> list[tuple[str, str]]:
    return [(quote.author, quote.text) for quote in ask.quotes]


async def test_an_answer_to_somebody_else_is_quoted(world: DiscordWorld) -> None:
    """Bob can read the answer to Ada, and ask about it in its thread or by replying to it."""
    first = await asked(world, "why does wax repel water?", mention=True)
    posted = await answered(world, first, EXPLANATION)
    thread = int(first.place.thread)
    for how in ({}, {"reply_to": posted}):
        ask = await asked(world, "explain that", author="bob", channel=thread, **how)
        assert quoted(ask).count(("Threadwax", EXPLANATION)) == 1
        assert ask.text == "explain that"
    assert ("Ada", "@Threadwax why does wax repel water?") in quoted(ask)


async def test_the_askers_own_conversation_is_not_quoted(world: DiscordWorld) -> None:
    """The asker's own questions and the answers to them are in the conversation already."""
    first = await asked(world, "why?", mention=True)
    posted = await answered(world, first, "part one", "part two")
    thread = int(first.place.thread)
    assert quoted(await asked(world, "explain that", channel=thread)) == []
    assert quoted(await asked(world, "and this?", channel=thread, reply_to=posted)) == []


async def test_a_reply_in_a_channel_quotes_somebody_elses_answer(world: DiscordWorld) -> None:
    """It is quoted even if answers are not in threads."""
    world.fake.denied[world.fake.general] = {"create_public_threads"}
    first = await asked(world, "why?", mention=True)
    posted = await answered(world, first, EXPLANATION)
    ask = await asked(world, "explain that", author="bob", reply_to=posted)
    assert quoted(ask) == [("Threadwax", EXPLANATION)]
    assert quoted(await asked(world, "explain that", reply_to=posted)) == []


async def test_a_forum_post_is_quoted_with_its_title_and_tags(world: DiscordWorld) -> None:
    """A mention in the middle of a discussion quotes everything except the question."""
    fake = world.fake
    post = await fake.post_in_forum("Wax", "is it sticky?", author="bob", tags=("bug", "solved"))
    await world.until_heard(1)
    title = ("title of this thread", "Wax\nTags: bug, solved")
    assert quoted(world.heard[0]) == [title]
    await fake.say("I think so", channel=post, author="eve", files={"proof.pdf": b"%PDF"})
    await fake.say("it depends", channel=post)
    await fake.say("", channel=post, author="bob", kind=6)
    ask = await asked(world, "who is right?", mention=True, channel=post)
    assert quoted(ask) == [
        title,
        ("Bob", "@Threadwax is it sticky?"),
        ("Eve", "I think so\n[file: proof.pdf]"),
        ("Ada", "it depends"),
        ("Bob", "[pinned a message]"),
    ]
    post = await fake.post_in_forum("Honey", "a post to nobody", author="bob", mention=False)
    ask = await asked(world, "really?", mention=True, channel=post)
    assert quoted(ask) == [("title of this thread", "Honey"), ("Bob", "a post to nobody")]


@pytest.mark.parametrize("between", [0, 3, quotes.THREAD_MESSAGES - 1, quotes.THREAD_MESSAGES, 50])
async def test_a_thread_is_quoted_with_its_starter(world: DiscordWorld, between: int) -> None:
    """Of a long thread, the first message and as many of the latest as fit are quoted."""
    fake = world.fake
    alert = {"embeds": [{"type": "rich", "title": "db1 is down", "description": "since 9:58"}]}
    starter = await fake.say("", author="bob", fields=alert)
    thread = await fake.thread_on(starter, "the outage")
    for number in range(between):
        await fake.say(f"idea {number}", channel=thread, author="eve")
    ask = await asked(world, "what about it?", mention=True, channel=thread)
    title, start, *said = quoted(ask)
    assert title == ("title of this thread", "the outage")
    assert start == ("Bob", "[embed]\ndb1 is down\nsince 9:58")
    newest = min(between, quotes.THREAD_MESSAGES)
    if newest < between:
        note, *said = said
        assert note == (quotes.NOTE, quotes.LEFT_OUT.text)
    assert said == [("Eve", f"idea {n}") for n in range(between - newest, between)]


async def test_a_deleted_starter_is_mentioned(world: DiscordWorld) -> None:
    """A thread outlives its first message."""
    starter = await world.fake.say("the first message", author="bob")
    thread = await world.fake.thread_on(starter, "plans")
    await world.fake.delete(starter)
    ask = await asked(world, "what about it?", mention=True, channel=thread)
    assert quoted(ask)[1:] == [(quotes.NOTE, quotes.NO_START.text)]


async def test_a_mention_in_a_voice_channels_chat_is_answered_there(world: DiscordWorld) -> None:
    """The message that it replies to is quoted."""
    fake = world.fake
    voice = fake._channel("talk", VOICE)
    await fake.gateway.dispatch("CHANNEL_CREATE", 1, lambda _: fake.channels[voice])
    alert = await fake.say("", author="bob", channel=voice, fields={"embeds": [{"title": "x"}]})
    ask = await asked(world, "why?", mention=True, channel=voice, reply_to=alert)
    assert quoted(ask) == [("Bob", "[embed]\nx")]
    assert ask.place.channel == str(voice)
    await world.platform.post(Part(answer(ask, "because"), "because", 0, 1))
    assert fake.read(voice) == ["because"]


async def test_quotes_have_a_limit(world: DiscordWorld) -> None:
    """The first and the latest messages are kept in order; a long one is cut with a note."""
    first = await asked(world, "why?", mention=True)
    thread = int(first.place.thread)
    await answered(world, first, "because")
    ada = world.fake.users["ada"]["id"]
    for number in range(30):
        await world.fake.say(f"<@{ada}> {number} " + "x" * 1500, channel=thread, author="bob")
    ask = await asked(world, "who is right?", channel=thread, author="eve")
    start, note, *texts = [text for _, text in quoted(ask)]
    assert start == "@Threadwax why?"
    assert note == quotes.LEFT_OUT.text
    assert 0 < len(texts) <= quotes.THREAD_MESSAGES
    assert sum(map(len, texts)) <= quotes.THREAD_CHARS
    assert [text.split()[1] for text in texts] == [str(n) for n in range(30 - len(texts), 30)]
    assert all(text.endswith("more characters are not shown)") for text in texts)
    # The first message is missing: its author's own conversation contains it.
    ask = await asked(world, "and?", channel=thread)
    assert quoted(ask)[0] == (quotes.NOTE, quotes.LEFT_OUT.text)


async def test_a_growing_answer_and_notices_are_not_quoted(world: DiscordWorld) -> None:
    """Half an answer could mislead."""
    from tests.contract.test_discord_answering import partial  # noqa: PLC0415

    first = await asked(world, "why?", mention=True)
    thread = int(first.place.thread)
    await world.platform.show_partial(partial(first, "because of"))
    ask = await asked(world, "hurry", channel=thread, author="bob")
    assert quoted(ask) == [("Ada", "@Threadwax why?")]


async def test_a_closed_history_is_not_quoted(world: DiscordWorld) -> None:
    """Only a message that somebody replies to is quoted: the reply shows it to everybody."""
    fake = world.fake
    first = await asked(world, "why?", mention=True)
    posted = await answered(world, first, EXPLANATION)
    thread = int(first.place.thread)
    pair = {"id": str(fake.guild_id), "type": 0, "allow": "0", "deny": str(READ_HISTORY)}
    fake.channels[fake.general]["permission_overwrites"] = [pair]
    await fake.gateway.dispatch("CHANNEL_UPDATE", 1, lambda _: fake.channels[fake.general])
    assert quoted(await asked(world, "so?", channel=thread, author="bob")) == []
    ask = await asked(world, "explain that", channel=thread, author="bob", reply_to=posted)
    assert quoted(ask) == [("Threadwax", EXPLANATION)]


@pytest.mark.parametrize(
    "fault", [{"status": 403, "code": 50001}, {"status": 503}, {"kind": "hang"}]
)
async def test_if_a_thread_cannot_be_read_only_its_quotes_are_lost(
    world: DiscordWorld, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    """The question is asked without quotes."""
    from bots.discord import thread_reader  # noqa: PLC0415

    monkeypatch.setattr(thread_reader, "READ_WITHIN_S", 0.5)
    first = await asked(world, "why?", mention=True)
    await answered(world, first, "because")
    world.fake.fail("GET", r"/messages$", **fault)
    ask = await asked(world, "so?", channel=int(first.place.thread), author="bob")
    assert quoted(ask) == []
