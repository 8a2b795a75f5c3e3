"""Places on Discord identify their readers: different audiences have different places."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bots.discord.wording import notice_text
from bots.platform import Part
from dataflow.audience import may_recall
from shared.messages import Again, Ask, Place
from tests.contract.test_discord_answering import partial
from tests.contract.worlds.discord import DiscordWorld
from tests.contract.worlds.world import answer
from tests.fakes.discord import FakeDiscord
from tests.fakes.discord_gateway import GUILD_MESSAGES, GUILDS
from tests.fakes.discord_shapes import (
    ADMINISTRATOR,
    EVERYTHING,
    FORUM,
    READ_HISTORY,
    STAGE,
    TEXT,
    VIEW_CHANNEL,
    VOICE,
)


@pytest.fixture
async def world() -> AsyncIterator[DiscordWorld]:
    async with DiscordWorld() as world:
        yield world


async def place_in(world: DiscordWorld, channel: int, **how: Any) -> Place:
    """Mentions the bot in a channel; returns the place of the question."""
    count = len(world.heard)
    await world.fake.say("what is wax?", mention=True, channel=channel, **how)
    await world.until_heard(count + 1)
    return world.heard[-1].place


def audience_key(place: Place) -> tuple[str, str]:
    """The fields of a place that identify its audience."""
    return place.space, place.channel


async def test_a_private_thread_has_its_own_audience(world: DiscordWorld) -> None:
    """Nothing from it is used in its parent channel or in another thread."""
    fake = world.fake
    one = await fake.private_thread("salaries", "ada", "self")
    other = await fake.private_thread("plans", "ada", "bob", "self")
    places = [await place_in(world, channel) for channel in (one, other, fake.general)]
    assert len({audience_key(place) for place in places}) == 3
    assert [place.audience for place in places] == ["private", "private", "public"]


async def test_a_public_thread_shares_its_parents_audience(world: DiscordWorld) -> None:
    """Everyone who sees a channel or forum, even a hidden one, sees its public threads."""
    fake = world.fake
    fake.channels[fake.forum]["permission_overwrites"] = []
    thread = await fake.say("a thread", mention=True)
    await world.until_heard(1)
    await world.platform.post(Part(answer(world.heard[0], "hello"), "hello", 0, 1))
    assert audience_key(await place_in(world, thread)) == audience_key(
        await place_in(world, fake.general)
    )
    posts = [await fake.post_in_forum(f"post {n}", "hello") for n in range(2)]
    await world.until_heard(5)
    assert [e.place.thread for e in world.heard[3:]] == [str(post) for post in posts]
    assert {audience_key(e.place) for e in world.heard[3:]} == {
        (str(fake.guild_id), str(fake.forum))
    }


async def test_a_thread_of_an_unknown_parent_has_its_own_audience(world: DiscordWorld) -> None:
    """The bot cannot find out who can read it."""
    fake = world.fake
    await fake._add_thread(
        thread := fake.snowflake(), fake.snowflake(), "lost", fake.users["ada"], 11
    )
    place = await place_in(world, thread)
    assert place.channel.startswith(str(thread))
    assert place.audience == "private"


async def test_a_channel_that_cannot_be_parsed_has_its_own_audience() -> None:
    """No question is lost, neither there nor elsewhere in the server."""
    fake = FakeDiscord()
    del fake.channels[fake.secret]["name"]
    async with DiscordWorld(fake=fake) as world:
        places = [await place_in(world, channel) for channel in (fake.secret, fake.general)]
    assert {place.space for place in places} == {str(fake.guild_id)}
    assert places[0].channel.startswith(str(fake.secret))
    assert places[0].audience == "private"


async def test_a_channel_of_an_unknown_server_is_not_direct(world: DiscordWorld) -> None:
    """Its messages are not used elsewhere."""
    fake = world.fake
    message = fake._message(fake.general, fake.users["ada"], f"<@{fake.application_id}> hello")
    elsewhere = {**message, "guild_id": str(fake.snowflake()), "channel_id": "1234"}
    await fake.gateway.dispatch("MESSAGE_CREATE", GUILD_MESSAGES, lambda _: elsewhere)
    await world.until_heard(1)
    place = world.heard[0].place
    assert (place.space, place.audience) == (elsewhere["guild_id"], "private")
    assert place.channel.startswith("1234")


@pytest.mark.parametrize("kind", [VOICE, STAGE])
async def test_the_chat_of_a_voice_channel_is_private(kind: int) -> None:
    """People from outside the server can be invited to a voice channel."""
    fake = FakeDiscord()
    lounge = fake._channel("lounge", kind)
    async with DiscordWorld(fake=fake) as world:
        place = await place_in(world, lounge)
        assert audience_key(place) != audience_key(await place_in(world, fake.general))
    assert place.audience == "private"


# --- closed histories -----------------------------------------------------------------------------


def overwrite(fake: FakeDiscord, role: int, **pair: int) -> dict[str, Any]:
    allow, deny = (str(pair.get(key, 0)) for key in ("allow", "deny"))
    return {"id": str(role or fake.guild_id), "type": 0, "allow": allow, "deny": deny}


@pytest.mark.parametrize("kind", [TEXT, VOICE, FORUM])
async def test_with_a_closed_history_each_question_is_on_its_own(kind: int) -> None:
    """Newcomers cannot read earlier questions, so later answers must not repeat them."""
    fake = FakeDiscord()
    if kind == FORUM:
        fake.channels[fake.forum]["permission_overwrites"] = [overwrite(fake, 0, deny=READ_HISTORY)]
        here = await fake.post_in_forum("a post", "hello")
    else:
        here = fake._channel("no past", kind, deny=READ_HISTORY)
    async with DiscordWorld(fake=fake) as world:
        places = [await place_in(world, here) for _ in range(2)]
    assert all(place.alone for place in places)


@pytest.mark.parametrize(
    ("everyone", "overwrites", "shared"),
    [
        (EVERYTHING, [], True),
        (EVERYTHING & ~READ_HISTORY, [], False),
        (EVERYTHING & ~READ_HISTORY, [("all", {"allow": READ_HISTORY})], True),
        (EVERYTHING, [("staff", {"deny": READ_HISTORY})], False),
        (EVERYTHING, [("staff", {"deny": READ_HISTORY | 1 << 10})], True),
        (EVERYTHING, [("all", {"deny": 1 << 10}), ("staff", {"allow": 1 << 10})], True),
        (
            EVERYTHING & ~READ_HISTORY,
            [("all", {"deny": 1 << 10}), ("staff", {"allow": 1 << 10})],
            False,
        ),
        (
            EVERYTHING & ~READ_HISTORY,
            [("all", {"deny": 1 << 10}), ("staff", {"allow": 1 << 10 | READ_HISTORY})],
            True,
        ),
    ],
)
async def test_a_history_is_closed_if_somebody_sees_the_channel_without_it(
    everyone: int, overwrites: list[tuple[str, dict[str, int]]], *, shared: bool
) -> None:
    """The permissions of @everyone and each overwrite of the channel can cause this."""
    fake = FakeDiscord()
    fake.everyone = everyone & ~(1 << 3)
    here = fake._channel("here", TEXT)
    roles = {"all": 0, "staff": fake.staff_role_id}
    fake.channels[here]["permission_overwrites"] = [
        overwrite(fake, roles[who], **pair) for who, pair in overwrites
    ]
    async with DiscordWorld(fake=fake) as world:
        places = [await place_in(world, here) for _ in range(2)]
    assert audience_key(places[0]) == audience_key(places[1])
    assert [place.alone for place in places] == [not shared] * 2


async def test_a_mix_of_roles_that_hides_the_history_closes_it() -> None:
    """One role denies both permissions, another allows viewing, and a member can have both."""
    fake = FakeDiscord()
    fake.everyone = EVERYTHING & ~ADMINISTRATOR
    crew = fake.role("crew")
    here = fake._channel("here", TEXT)
    deny = overwrite(fake, fake.staff_role_id, deny=VIEW_CHANNEL | READ_HISTORY)
    own = {"id": fake.users["eve"]["id"], "type": 1, "allow": str(VIEW_CHANNEL), "deny": "0"}
    fake.channels[here]["permission_overwrites"] = [deny]
    async with DiscordWorld(fake=fake) as world:
        assert not (await place_in(world, here)).alone
        thread = await fake.say("a thread", mention=True, channel=here)
        await world.until_heard(2)
        await world.platform.post(Part(answer(world.heard[1], "hello"), "hello", 0, 1))
        for other in (overwrite(fake, crew, allow=VIEW_CHANNEL), own):
            await change(world, here, deny, other)
            assert (await place_in(world, here)).alone
            assert (await place_in(world, thread)).alone
            await change(world, here, deny)
            assert not (await place_in(world, thread)).alone


async def change(world: DiscordWorld, channel: int, *overwrites: dict[str, Any]) -> None:
    """Changes a channel's permissions; Discord reports it before the next message."""
    fake = world.fake
    fake.channels[channel]["permission_overwrites"] = list(overwrites)
    changed = dict(fake.channels[channel])
    await fake.gateway.dispatch("CHANNEL_UPDATE", GUILDS, lambda _: changed)


EVENTS = ("again", "up", "stop", "edit", "delete", "ask", "reset")


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("change_to", ["closed", "opened", "hidden"])
async def test_every_event_has_the_current_audience(event: str, change_to: str) -> None:
    """The channel changes between a question and a press, an edit, a deletion or a command."""
    hide = {"deny": VIEW_CHANNEL}
    async with DiscordWorld(DISCORD_EDIT_ASKS_AGAIN=True) as world:
        fake = world.fake
        here = fake.general
        if change_to == "opened":
            await change(world, here, overwrite(fake, 0, **hide))
        asked = await fake.say("what is wax?", mention=True)
        await world.until_heard(1)
        first = world.heard[0]
        if event == "stop":
            await world.platform.show_partial(partial(first, "so far"))
            posted = int(fake.posts(asked)[0]["id"])
        else:
            part = Part(answer(first, "hello"), "hello", 0, 1)
            posted = int(await world.platform.post(part))
        match change_to:
            case "closed":
                await change(world, here, overwrite(fake, 0, deny=READ_HISTORY))
            case "opened":
                await change(world, here)
            case "hidden":
                await change(world, here, overwrite(fake, 0, **hide))
        match event:
            case "edit":
                await fake.edit(asked, f"<@{fake.application_id}> what is a thread?")
            case "delete":
                await fake.delete(asked)
            case "ask":
                await fake.command("ask", question="and then?", channel=asked)
            case "reset":
                await fake.command("reset", channel=asked)
            case _:
                await fake.click(posted, event)
        await world.until_heard(2)
        now = world.heard[1].place
        fresh = await place_in(world, asked)
    assert now == fresh
    assert now.thread == first.place.thread
    assert (now.audience, now.alone) != (first.place.audience, first.place.alone)


async def test_a_private_question_is_not_repeated_after_the_channel_was_opened() -> None:
    """Pressing Again below another answer in the channel does not repeat it either."""
    async with DiscordWorld() as world:
        fake = world.fake
        await change(world, fake.general, overwrite(fake, 0, deny=VIEW_CHANNEL))
        said = await place_in(world, fake.general)
        await place_in(world, fake.general)
        posted = await world.platform.post(Part(answer(world.heard[1], "hello"), "hello", 0, 1))
        await change(world, fake.general)
        await fake.click(int(posted), "again")
        await world.until_heard(3)
    assert said.audience == "private"
    assert not may_recall(said, world.heard[2].place)


async def test_again_asks_in_the_place_of_the_original_question() -> None:
    """This holds even if each question is on its own: the button belongs to its question."""
    fake = FakeDiscord()
    here = fake._channel("no past", TEXT, deny=READ_HISTORY)
    async with DiscordWorld(fake=fake) as world:
        await place_in(world, here)
        posted = await world.platform.post(Part(answer(world.heard[0], "hello"), "hello", 0, 1))
        for count in (2, 3):
            await fake.click(int(posted), "again")
            await world.until_heard(count)
            again = world.heard[-1]
            assert isinstance(again, Again)
            assert again.place == world.heard[0].place
            posted = await world.platform.post(Part(answer(again, "again"), "again", 0, 1))


async def test_a_button_has_its_channels_current_audience(world: DiscordWorld) -> None:
    """A question from a public channel is asked again as private once the channel is private."""
    fake = world.fake
    before = await place_in(world, fake.general)
    posted = await world.platform.post(Part(answer(world.heard[0], "hello"), "hello", 0, 1))
    fake.channels[fake.general]["permission_overwrites"] = [overwrite(fake, 0, deny=READ_HISTORY)]
    await fake.gateway.dispatch("CHANNEL_UPDATE", 1, lambda _: fake.channels[fake.general])
    await fake.click(int(posted), "again")
    await world.until_heard(2)
    assert (before.alone, world.heard[-1].place.alone) == (False, True)


# --- commands -------------------------------------------------------------------------------------


async def test_a_command_in_a_thread_has_the_same_place_as_its_messages(
    world: DiscordWorld,
) -> None:
    """This holds for public, private and archived threads, whether or not the client knows them."""
    fake = world.fake
    public = await fake.say("a thread", mention=True)
    await world.until_heard(1)
    await world.platform.post(Part(answer(world.heard[0], "hello"), "hello", 0, 1))
    private = await fake.private_thread("salaries", "ada", "self")
    for thread in (public, private):
        said = await place_in(world, thread)
        await fake.archive(thread)
        await fake.command("ask", channel=thread, question="and then?")
        await world.until_heard(len(world.heard) + 1)
        assert world.heard[-1].place == said
        assert (await place_in(world, thread)) == said


@pytest.mark.parametrize("members", [("ada", "bob", "eve"), ("ada", "bob")])
async def test_a_command_in_other_peoples_conversations_is_never_direct(
    world: DiscordWorld, members: tuple[str, ...]
) -> None:
    """Others read along in a group or in somebody else's direct messages, so it is refused."""
    group = world.fake.group(*members)
    await world.fake.command("ask", channel=group, context=2, question="what did I tell you?")
    await world.fake.until(lambda: world.fake.read(group, author="ada"))
    assert world.fake.read(group, author="ada") == [notice_text("place")]
    assert world.heard == []


async def test_a_command_in_the_bots_direct_messages_is_direct(world: DiscordWorld) -> None:
    """Its place is the same as that of messages there."""
    direct = await world.fake.direct()
    await world.fake.say("hello", channel=direct)
    await world.until_heard(1)
    await world.fake.command("ask", channel=direct, question="and then?")
    await world.until_heard(2)
    assert world.heard[1].place == world.heard[0].place
    assert world.heard[1].place.audience == "direct"


# --- what Discord delivers ------------------------------------------------------------------------


async def test_a_private_thread_is_received_once_the_bot_is_a_member(world: DiscordWorld) -> None:
    """Discord delivers nothing from it before that, nor after the bot is removed."""
    fake = world.fake
    thread = await fake.private_thread("salaries", "ada")
    await fake.say("unheard", channel=thread, mention=True)
    await fake.join(thread, "self")
    await fake.join(thread, "bob")
    heard = await place_in(world, thread)
    await fake.leave(thread, "self")
    await fake.say("unheard, too", channel=thread, mention=True)
    await place_in(world, fake.general)
    asked = [event.text for event in world.heard if isinstance(event, Ask)]
    assert asked == ["what is wax?", "what is wax?"]
    assert audience_key(heard) == (str(fake.guild_id), str(thread))


async def test_a_private_thread_is_read_back_after_a_restart(world: DiscordWorld) -> None:
    """Its place is the same as before."""
    thread = await world.fake.private_thread("salaries", "ada", "self")
    before = await place_in(world, thread)
    await world.disconnect()
    await world.fake.say("missed", channel=thread, mention=True)
    await world.connect()
    await world.until_heard(2)
    assert world.heard[-1].place == before
