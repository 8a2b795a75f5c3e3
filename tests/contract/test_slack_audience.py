"""Places in Slack: each has one audience. If it is unknown, other people may be reading."""

import asyncio

import pytest

from bots.slack.wording import ELSEWHERE, NOT_EXTERNAL, NOT_GUESTS, NOT_HERE
from shared.messages import AnyEvent, Place
from tests.contract.worlds.slack import SlackWorld
from tests.contract.worlds.world import answer
from tests.fakes.slack import (
    BOT,
    GROUP,
    ORG_ROOM,
    PENDING_ROOM,
    ROOM,
    SECRET_ROOM,
    SHARED_ROOM,
    TEAM,
    FakeSlack,
    Fault,
)

ROOMS = (ROOM, SECRET_ROOM, GROUP, SHARED_ROOM, ORG_ROOM, PENDING_ROOM)


async def place_in(world: SlackWorld, channel: str, *, user: str = "UADA") -> Place:
    count = len(world.heard)
    world.slack.mention("here", channel=channel, user=user)
    await world.until_heard(count + 1)
    return world.heard[-1].place


def key_fields(place: Place) -> tuple[str, str, str]:
    return place.space, place.channel, place.audience


async def test_every_channel_has_a_space_of_its_own() -> None:
    """A guest can read some channels and not others, and Slack does not say which."""
    async with SlackWorld(SLACK_ALLOW_EXTERNAL=True) as world:
        found = {channel: await place_in(world, channel) for channel in ROOMS}
        assert [found[c].audience for c in ROOMS] == [
            "public", "private", "private", "public", "public", "public",
        ]  # fmt: skip
        assert len({place.space for place in found.values()}) == len(ROOMS)
        for channel in (ROOM, SECRET_ROOM, GROUP):
            assert found[channel].space == f"{TEAM}/{channel}"
        for channel in (SHARED_ROOM, ORG_ROOM, PENDING_ROOM):
            assert found[channel].space.startswith(f"{TEAM}/{channel}/")


async def test_direct_messages_have_one_place_per_workspace() -> None:
    """All direct messages of a person have the same place, without a call to Slack."""
    async with SlackWorld() as world:
        world.slack.dm("in private")
        await world.until_heard()
        assert key_fields(world.heard[0].place) == (TEAM, "DADA", "direct")
        assert "conversations.info" not in [method for method, _ in world.slack.calls]


@pytest.mark.parametrize(
    "flags",
    [
        {"is_ext_shared": True, "shared_team_ids": [TEAM, "T2"]},
        {"is_org_shared": True, "shared_team_ids": [TEAM, "T9"]},
        {"is_shared": True},
        {"is_shared": False, "is_pending_ext_shared": True},
        {"is_shared": False, "pending_shared": ["T2"]},
        {"is_shared": False, "pending_connected_team_ids": ["T2"]},
    ],
)
async def test_a_channel_becomes_another_place_when_it_is_shared(
    flags: dict[str, object],
) -> None:
    """New readers could not read earlier messages."""
    async with SlackWorld() as world:
        before = await place_in(world, ROOM)
        world.slack.share(ROOM, **flags)
        await world.restart()  # the new process asks Slack again
        after = await place_in(world, ROOM)
        assert before.space != after.space
        assert await place_in(world, ROOM) == after.model_copy(
            update={"thread": world.heard[-1].place.thread}
        )


async def test_one_more_company_makes_another_audience() -> None:
    """Slack lists the workspaces that share a channel; with one more, the place changes."""
    async with SlackWorld() as world:
        before = await place_in(world, SHARED_ROOM)
        world.slack.share(SHARED_ROOM, shared_team_ids=[TEAM, "T2", "T3"])
        await world.restart()
        assert (await place_in(world, SHARED_ROOM)).space != before.space


async def test_the_first_event_after_a_channel_was_shared_counts() -> None:
    """Each message event says whether another company reads the channel."""
    async with SlackWorld() as world:
        before = await place_in(world, ROOM)
        world.slack.share(ROOM, is_ext_shared=True)
        after = await place_in(world, ROOM)
        assert before.space != after.space
        # An interaction does not say so, but has the same place.
        await world.slack.command("/ask", "and now?")
        assert world.heard[-1].place.space == after.space


async def test_everything_in_a_channel_happens_in_one_place() -> None:
    """Mentions, commands, buttons, reactions and Slack's Stop have it, even after a restart."""
    async with SlackWorld() as world:
        for channel in (SECRET_ROOM, ORG_ROOM, PENDING_ROOM):
            world.heard.clear()
            ts = world.slack.say(f"<@{BOT}> hello", channel=channel)
            mention = next(
                e for e in world.slack.events_of(channel, ts) if e["type"] == "app_mention"
            )
            assert "channel_type" not in mention
            await world.slack.deliver(mention)
            ask = world.heard[0]
            receipt = await world.platform.post(part(ask))
            posted = receipt.partition("/")[2]
            await world.restart()
            await world.slack.click(channel, posted, "Again")
            world.slack.react(channel, posted, "+1")
            await world.until_heard(3)
            world.slack.press_stop(channel, ts)
            await world.until_heard(4)
            await world.slack.command("/reset", channel=channel)
            assert len({key_fields(event.place) for event in world.heard}) == 1
            assert [event.kind for event in world.heard] == [
                "ask",
                "again",
                "rate",
                "stop",
                "reset",
            ]


def part(ask: AnyEvent) -> object:
    from bots.platform import Part  # noqa: PLC0415

    return Part(answer(ask, "An answer."), "An answer.", 0, 1)


async def test_each_channel_is_looked_up_once() -> None:
    """One call is enough for all messages and all kinds of events."""
    async with SlackWorld() as world:
        for _ in range(5):
            await place_in(world, ROOM)
        assert [method for method, _ in world.slack.calls].count("conversations.info") == 1


async def test_a_command_between_two_people_is_not_direct() -> None:
    """Somebody else reads that conversation. Only the asker gets the answer, which says so."""
    async with SlackWorld() as world:
        channel = world.slack.between("UADA", "UBOB")
        command = await world.slack.command("/ask", "what does Bob earn?", channel=channel)
        assert command.response == {"text": ELSEWHERE}
        ask = world.heard[0]
        assert key_fields(ask.place) == (f"{TEAM}/{channel}/unknown", channel, "private")
        await world.platform.post(part(ask))  # type: ignore[arg-type]
        assert world.slack.thread(channel, None) == []
        assert world.slack.thread("DADA", None) == ["An answer."]


async def test_a_command_in_the_bots_own_direct_message_is_direct() -> None:
    """Slack says whose conversation it is."""
    async with SlackWorld() as world:
        channel = world.slack.direct("UADA")
        command = await world.slack.command("/ask", "hello", channel=channel)
        assert command.response["response_type"] == "in_channel"
        assert key_fields(world.heard[0].place) == (TEAM, channel, "direct")


@pytest.mark.parametrize("missing", ["im:read", "channels:read"])
async def test_a_conversation_of_unknown_kind_does_not_count_as_direct(missing: str) -> None:
    """Without the scope, the place of a command shares nothing with any other place."""
    slack = FakeSlack()
    slack.scopes = {"chat:write", "users:read", "im:read", "channels:read"} - {missing}
    async with SlackWorld(slack=slack) as world:
        channel = slack.direct("UADA") if missing == "im:read" else ROOM
        await slack.command("/ask", "hello", channel=channel)
        assert key_fields(world.heard[0].place) == (f"{TEAM}/{channel}/unknown", channel, "private")


async def test_a_conversation_of_two_people_is_not_direct_for_the_access_lists() -> None:
    """SLACK_ALLOW_CHANNELS can admit direct messages to the bot, but no other ones."""
    async with SlackWorld(SLACK_ALLOW_CHANNELS=ROOM) as world:
        channel = world.slack.between("UADA", "UBOB")
        assert (await world.slack.command("/ask", "x", channel=channel)).response == {
            "text": NOT_HERE
        }
        await world.slack.command("/ask", "x", channel=world.slack.direct("UADA"))
        assert len(world.heard) == 1


async def test_people_of_other_companies_are_still_refused() -> None:
    """This holds for Slack Connect users and guests, in channels and in direct messages."""
    async with SlackWorld() as world:
        world.slack.mention("hello", user="UEXT", channel=SHARED_ROOM)
        world.slack.channels[world.slack.direct("UEXT")] |= {"is_ext_shared": True}
        world.slack.dm("hello", user="UEXT")
        world.slack.dm("hello", user="UGUEST")
        await world.slack.until(lambda: len(world.slack.ephemerals) == 3)
        assert world.slack.told("UEXT") == [NOT_EXTERNAL] * 2
        assert world.slack.told("UGUEST") == [NOT_GUESTS]
        assert world.heard == []


async def test_a_channel_that_cannot_be_looked_up_is_looked_up_later() -> None:
    """An outage must not change the place of a channel."""
    async with SlackWorld() as world:
        world.slack.sockets.ack_s = 0.5
        world.slack.faults["conversations.info"].append(Fault("status"))
        ts = world.slack.say(f"<@{BOT}> hello")
        await asyncio.gather(*map(world.slack.deliver, world.slack.events_of(ROOM, ts)))
        assert [event.place.space for event in world.heard] == [f"{TEAM}/{ROOM}"]
