"""Other people's words that travel with a question on Discord."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bots.discord import quotes
from bots.platform import Part
from shared.messages import Ask
from tests.contract.worlds.discord import DiscordWorld
from tests.contract.worlds.world import answer
from tests.fakes.discord_shapes import READ_HISTORY

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


def quoted(ask: Ask) -> list[tuple[str, str]]:
    return [(quote.author, quote.text) for quote in ask.quotes]


async def test_an_answer_to_somebody_else_is_quoted(world: DiscordWorld) -> None:
    """Bob reads it as Ada does, and may ask about it: in its thread and by replying to it."""
    first = await asked(world, "why does wax repel water?", mention=True)
    posted = await answered(world, first, EXPLANATION)
    thread = int(first.place.thread)
    for how in ({}, {"reply_to": posted}):
        ask = await asked(world, "explain that", author="bob", channel=thread, **how)
        assert quoted(ask).count(("Threadwax", EXPLANATION)) == 1
        assert ask.text == "explain that"
    assert ("Ada", "@Threadwax why does wax repel water?") in quoted(ask)


async def test_what_the_conversation_holds_is_not_quoted(world: DiscordWorld) -> None:
    """Neither the asker's own questions nor the answers to them."""
    first = await asked(world, "why?", mention=True)
    posted = await answered(world, first, "part one", "part two")
    thread = int(first.place.thread)
    assert quoted(await asked(world, "explain that", channel=thread)) == []
    assert quoted(await asked(world, "and this?", channel=thread, reply_to=posted)) == []


async def test_a_reply_in_a_channel_quotes_the_answer_to_another(world: DiscordWorld) -> None:
    """Where answers are not given in threads, too."""
    world.fake.denied[world.fake.general] = {"create_public_threads"}
    first = await asked(world, "why?", mention=True)
    posted = await answered(world, first, EXPLANATION)
    ask = await asked(world, "explain that", author="bob", reply_to=posted)
    assert quoted(ask) == [("Threadwax", EXPLANATION)]
    assert quoted(await asked(world, "explain that", reply_to=posted)) == []


async def test_a_peoples_thread_is_quoted_with_what_it_was_opened_on(world: DiscordWorld) -> None:
    """A mention in the middle of a discussion: what was said so far, but for what was asked."""
    fake = world.fake
    post = await fake.post_in_forum("Wax", "is it sticky?", author="bob")
    await world.until_heard(1)
    await fake.say("I think so", channel=post, author="eve")
    await fake.say("it depends", channel=post)
    ask = await asked(world, "who is right?", mention=True, channel=post)
    texts = [text for _, text in quoted(ask)]
    assert texts[0].endswith("is it sticky?")
    assert texts[1:] == ["I think so", "it depends"]
    starter = await fake.say("the first message", author="bob")
    thread = fake.snowflake()
    await fake._add_thread(thread, fake.general, "people's", fake.users["bob"], 11)
    opening = await fake.say("", channel=thread, author="bob", kind=21)
    fake._find(opening)["referenced_message"] = fake._find(starter)
    ask = await asked(world, "what about it?", mention=True, channel=thread)
    assert quoted(ask) == [("Bob", "the first message")]


async def test_quotes_have_a_limit(world: DiscordWorld) -> None:
    """The newest are kept, in order; a long one is cut."""
    first = await asked(world, "why?", mention=True)
    thread = int(first.place.thread)
    await answered(world, first, "because")
    ada = world.fake.users["ada"]["id"]
    for number in range(30):
        await world.fake.say(f"<@{ada}> {number} " + "x" * 1500, channel=thread, author="bob")
    ask = await asked(world, "who is right?", channel=thread, author="eve")
    texts = [text for _, text in quoted(ask)]
    assert 0 < len(texts) <= quotes.THREAD_MESSAGES
    assert sum(map(len, texts)) <= quotes.THREAD_CHARS
    assert [text.split()[1] for text in texts] == [str(n) for n in range(30 - len(texts), 30)]
    assert all(len(text) == quotes.THREAD_QUOTE_CHARS + 1 for text in texts)


async def test_a_growing_answer_and_notices_are_not_quoted(world: DiscordWorld) -> None:
    """Half an answer is none."""
    from tests.contract.test_discord_answering import partial  # noqa: PLC0415

    first = await asked(world, "why?", mention=True)
    thread = int(first.place.thread)
    await world.platform.show_partial(partial(first, "because of"))
    ask = await asked(world, "hurry", channel=thread, author="bob")
    assert quoted(ask) == [("Ada", "@Threadwax why?")]


async def test_where_the_past_is_not_shared_it_is_not_quoted(world: DiscordWorld) -> None:
    """Whoever came later did not read it; a reply to one message is what its author wants shown."""
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
async def test_a_thread_that_cannot_be_read_costs_the_quotes_only(
    world: DiscordWorld, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    """The question goes its way."""
    from bots.discord import asking  # noqa: PLC0415

    monkeypatch.setattr(asking, "THREAD_WITHIN_S", 0.5)
    first = await asked(world, "why?", mention=True)
    await answered(world, first, "because")
    world.fake.fail("GET", r"/messages$", **fault)
    ask = await asked(world, "so?", channel=int(first.place.thread), author="bob")
    assert quoted(ask) == []
