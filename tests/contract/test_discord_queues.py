"""Each person on Discord has a queue: their events are stored in the order they happened."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bots.discord import acknowledgement, downloads, held_messages, interaction_queue
from bots.discord.wording import notice_text
from bots.platform import Part
from shared.blobs import BlobStoreFull
from shared.bus import OverQuota, StoreFull, TooLarge
from shared.connection import Unavailable
from shared.messages import Again, AnyEvent, Ask, Deleted, Edited, Rate, Reset, Stop
from tests.contract.worlds.discord import DiscordWorld
from tests.contract.worlds.world import answer

PNG = {"cat.png": b"\x89PNG" + bytes(1000)}
QUIET_S = 0.3
"""How long to wait for an event that must not come; an event takes a tenth of this."""


@pytest.fixture
async def world() -> AsyncIterator[DiscordWorld]:
    async with DiscordWorld() as world:
        yield world


def kinds(events: list[AnyEvent]) -> list[type[AnyEvent]]:
    return [type(event) for event in events]


async def test_everything_waits_while_a_questions_files_are_stored(world: DiscordWorld) -> None:
    """Messages, commands, presses, edits and deletions wait for their person's earlier events."""
    fake = world.fake
    first = await fake.say("one", mention=True)
    await world.until_heard(1)
    posted = await world.platform.post(Part(answer(world.heard[0], "hello"), "hello", 0, 1))
    world.may_store.clear()
    picture = await fake.say("look", mention=True, files=PNG)
    await fake.command("ask", question="by command")
    await fake.say("and when?", mention=True)
    await fake.click(int(posted), "up")
    await fake.edit(picture, f"<@{fake.application_id}> look again")
    await fake.command("reset")
    await fake.click(int(posted), "again")
    await fake.delete(first)
    await fake.delete(picture)
    await asyncio.sleep(QUIET_S)
    assert len(world.heard) == 1
    world.may_store.set()
    await world.until_heard(10)
    assert kinds(world.heard[1:]) == [
        Ask, Ask, Ask, Rate, Edited, Reset, Again, Deleted, Deleted,
    ]  # fmt: skip
    asked = [event.text for event in world.heard[1:] if isinstance(event, Ask)]
    assert asked == ["look", "by command", "and when?"]
    gone = [event.prompt_id for event in world.heard if isinstance(event, Deleted)]
    assert gone == [f"discord-{first}", f"discord-{picture}"]


async def test_nobody_waits_for_somebody_else(world: DiscordWorld) -> None:
    """Bob's message is taken while Ada's picture is being stored."""
    world.may_store.clear()
    await world.fake.say("look", mention=True, files=PNG)
    await world.fake.say("hello", mention=True, author="bob")
    await world.until_heard(1)
    assert isinstance(world.heard[0], Ask)
    assert world.heard[0].text == "hello"
    world.may_store.set()


async def test_a_bulk_deletion_does_not_wait_for_one_person(world: DiscordWorld) -> None:
    """A moderator clears a channel while a picture is being stored."""
    fake = world.fake
    world.may_store.clear()
    mine = await fake.say("look", mention=True, files=PNG)
    other = await fake.say("hello", mention=True, author="bob")
    await world.until_heard(1)
    gone = {"ids": [str(mine), str(other)], "channel_id": str(fake.general)}
    await fake._tell(fake.general, "MESSAGE_DELETE_BULK", gone)
    await world.until_heard(2)
    assert kinds(world.heard) == [Ask, Deleted]
    world.may_store.set()
    await world.until_heard(4)
    assert kinds(world.heard[2:]) == [Ask, Deleted]


async def test_a_question_deleted_before_its_turn_is_not_asked(
    world: DiscordWorld,
) -> None:
    """It was still in the history when the history was read."""
    fake = world.fake
    direct = await fake.direct()
    await fake.say("before", channel=direct)
    await world.until_heard(1)
    await world.disconnect()
    world.may_store.clear()
    await fake.say("look", channel=direct, files=PNG)
    regretted = await fake.say("regretted", channel=direct)
    await world.connect()
    await fake.until(lambda: any("/cdn/" not in p and p.endswith("/messages") for _, p, _ in
                                 fake.calls[-3:]))  # fmt: skip
    await fake.delete(regretted)
    await asyncio.sleep(QUIET_S)
    world.may_store.set()
    await world.until_heard(2)
    await asyncio.sleep(QUIET_S)
    assert "regretted" not in [e.text for e in world.heard if isinstance(e, Ask)]


async def test_a_button_that_waits_is_acknowledged_in_time(
    world: DiscordWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Discord allows 3 s. The press takes effect later, and its thumb is shown then."""
    monkeypatch.setattr(acknowledgement, "STORED_FIRST_S", 0.1)
    fake = world.fake
    await fake.say("one", mention=True)
    await world.until_heard(1)
    posted = int(await world.platform.post(Part(answer(world.heard[0], "hello"), "hello", 0, 1)))
    world.may_store.clear()
    await fake.say("look", mention=True, files=PNG)
    await asyncio.sleep(QUIET_S)
    token = await fake.click(posted, "up")
    await fake.until(lambda: fake.interactions[token]["answered"])
    world.may_store.set()
    await world.until_heard(3)
    assert isinstance(world.heard[2], Rate)
    await fake.until(lambda: '"style": 3' in str(fake._find(posted)).replace("'", '"'))


async def test_a_command_that_waits_too_long_gets_a_notice(
    world: DiscordWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command or a press that cannot be stored gets a response."""
    monkeypatch.setattr(acknowledgement, "STORED_FIRST_S", 0.1)
    monkeypatch.setattr(interaction_queue, "GIVE_UP_AFTER_S", 0.5)
    world.publish_raises = Unavailable("away")
    await world.fake.command("ask", question="wax?")
    await world.fake.command("reset")
    await world.fake.until(lambda: notice_text("not taken") in world.fake.read())
    await world.fake.until(
        lambda: world.fake.read(author="ada").count(notice_text("not taken")) == 2
    )


# --- limits and outages ---------------------------------------------------------------------------


async def test_a_picture_that_does_not_fit_into_the_store_is_left_out(world: DiscordWorld) -> None:
    """The question is asked, the model learns of the file, and the person gets one notice."""
    world.store_raises = BlobStoreFull("full")
    await world.fake.say("look", mention=True, files=PNG)
    await world.fake.say("and then?", mention=True)
    await world.until_heard(2)
    first = world.heard[0]
    assert isinstance(first, Ask)
    assert [(file.name, file.blob) for file in first.attachments] == [("cat.png", None)]
    assert first.attachments[0].note == "there is no room for files at the moment"
    await world.fake.until(world.fake.read)
    assert world.fake.read() == [notice_text("no room")]


async def test_a_command_about_a_picture_that_does_not_fit_is_asked(world: DiscordWorld) -> None:
    """The person gets a private notice that the file was left out."""
    picture = await world.fake.say("a cat", author="bob", files=PNG)
    world.store_raises = BlobStoreFull("full")
    await world.fake.command("Ask about this", target=picture)
    await world.until_heard(1)
    await world.fake.until(lambda: notice_text("no room") in world.fake.read(author="ada"))
    assert notice_text("no room") not in world.fake.read()


async def test_a_long_outage_of_the_file_store_loses_only_the_picture(
    world: DiscordWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Storing the picture is retried for minutes; then the question is asked without it."""
    monkeypatch.setattr(downloads, "STORE_WITHIN_S", 0.5)
    world.store_raises = Unavailable("away")
    await world.fake.say("look", mention=True, files=PNG)
    await world.until_heard(1)
    await world.fake.until(world.fake.read)
    assert world.fake.read() == [notice_text("no room")]


async def test_a_short_outage_of_the_file_store_loses_nothing(world: DiscordWorld) -> None:
    """The question waits during an outage, but not after other failures."""
    world.store_raises = Unavailable("away")
    await world.fake.say("look", mention=True, files=PNG)
    await asyncio.sleep(QUIET_S)
    world.store_raises = None
    await world.until_heard(1)
    assert len(world.blobs) == 1


@pytest.mark.parametrize(
    ("error", "key"),
    [(OverQuota(), "over quota"), (StoreFull(), "not taken"), (TooLarge(2, 1), "too long")],
)
async def test_a_refused_event_gets_one_notice_and_the_next_is_taken(
    world: DiscordWorld, error: Exception, key: str
) -> None:
    """Questions, edits, commands and presses get a notice; deletions have nobody to notify."""
    fake = world.fake
    edited = await fake.say("one", mention=True)
    await world.until_heard(1)
    posted = await world.platform.post(Part(answer(world.heard[0], "hello"), "hello", 0, 1))
    world.publish_raises = error
    await fake.say("two", mention=True)
    await fake.edit(edited, f"<@{fake.application_id}> three")
    await fake.command("ask", question="four")
    await fake.click(int(posted), "again")
    if isinstance(error, OverQuota):
        await fake.delete(edited)
    await fake.until(lambda: fake.read(author="ada").count(notice_text(key)) == 3)
    await fake.until(lambda: notice_text(key) in fake.read(edited, author="ada"))
    world.publish_raises = None
    await fake.say("five", mention=True)
    await world.until_heard(2)
    assert isinstance(world.heard[1], Ask)
    assert world.heard[1].text == "five"
    await asyncio.sleep(QUIET_S)
    assert fake.read(author="ada").count(notice_text(key)) == 3


async def test_a_stop_comes_after_its_question(world: DiscordWorld) -> None:
    """It is pressed on a preview while the next question is being stored."""
    from tests.contract.test_discord_answering import partial  # noqa: PLC0415

    message = await world.fake.say("one", mention=True)
    await world.until_heard(1)
    await world.platform.show_partial(partial(world.heard[0], "so far"))
    world.may_store.clear()
    await world.fake.say("look", mention=True, files=PNG)
    await asyncio.sleep(QUIET_S)
    await world.fake.click(int(world.fake.posts(message)[0]["id"]), "stop")
    await asyncio.sleep(QUIET_S)
    world.may_store.set()
    await world.until_heard(3)
    assert kinds(world.heard) == [Ask, Ask, Stop]


# --- missed messages and new ones -----------------------------------------------------------------


def asked(world: DiscordWorld) -> list[str]:
    return [event.text for event in world.heard if isinstance(event, Ask)]


@pytest.mark.parametrize("where", ["direct", "channel"])
async def test_missed_messages_come_before_new_ones(world: DiscordWorld, where: str) -> None:
    """After a restart, Discord briefly returns no history; other channels do not wait for it."""
    fake = world.fake
    channel = fake.general if where == "channel" else await fake.direct()
    mention = where == "channel"
    await fake.say("first", channel=channel, mention=mention)
    await world.until_heard(1)
    await world.disconnect()
    for number in range(3):
        await fake.say(f"missed {number}", channel=channel, mention=mention)
    fake.fail("GET", rf"/{channel}/messages$", status=503, times=2)
    await world.connect()
    for number in range(3):
        await fake.say(f"live {number}", channel=channel, mention=mention)
    await fake.say("elsewhere", channel=fake.secret, mention=True, author="bob")
    await world.until_heard(2)
    assert asked(world) == ["first", "elsewhere"]
    await fake.say("live 3", channel=channel, mention=mention)
    await world.until_heard(9)
    order = [text for text in asked(world) if text != "elsewhere"]
    assert order == ["first", *(f"{which} {n}" for which in ("missed", "live") for n in range(3)),
                     "live 3"]  # fmt: skip
    await fake.say("live 4", channel=channel, mention=mention)
    await world.until_heard(10)


async def test_an_unavailable_history_delays_new_messages_only_briefly(
    world: DiscordWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New messages wait only for a while; missed ones follow as soon as they can be read."""
    monkeypatch.setattr(held_messages, "HELD_S", 0.5)
    fake = world.fake
    direct = await fake.direct()
    await fake.say("first", channel=direct)
    await world.until_heard(1)
    await world.disconnect()
    await fake.say("missed", channel=direct)
    fake.fail("GET", rf"/{direct}/messages$", status=503, times=2)
    await world.connect()
    for number in range(2):
        await fake.say(f"live {number}", channel=direct)
    await world.until_heard(4)
    assert asked(world) == ["first", "live 0", "live 1", "missed"]


async def test_held_messages_are_read_at_the_next_start(
    world: DiscordWorld,
) -> None:
    """This holds even if the adapter stops before it has read anything."""
    fake = world.fake
    direct = await fake.direct()
    await fake.say("first", channel=direct)
    await world.until_heard(1)
    await world.disconnect()
    await fake.say("missed", channel=direct)
    fake.fail("GET", rf"/{direct}/messages$", status=503, times=1)
    await world.connect()
    await fake.say("live", channel=direct)
    await asyncio.sleep(QUIET_S)
    await world.disconnect()
    await world.connect()
    await world.until_heard(3)
    assert asked(world) == ["first", "missed", "live"]


async def test_one_error_page_of_a_proxy_does_not_lose_a_channel(world: DiscordWorld) -> None:
    """A direct channel that is briefly "not found" is still read later."""
    fake = world.fake
    direct = await fake.direct()
    await fake.say("first", channel=direct)
    await world.until_heard(1)
    await world.disconnect()
    await fake.say("missed", channel=direct)
    for status in (403, 404):
        fake.fail("GET", rf"/{direct}/messages$", status=status, page=True)
    await world.connect()
    await world.until_heard(2)
    assert asked(world) == ["first", "missed"]
