"""An answer appears exactly once even if Discord refuses one of its optional fields."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bots.discord import channels
from bots.platform import Never
from shared.messages import AnyEvent
from tests.contract.test_discord_answering import part, partial
from tests.contract.worlds.discord import DiscordWorld
from tests.fakes.discord_rules import FieldRefused


@pytest.fixture
async def world() -> AsyncIterator[DiscordWorld]:
    async with DiscordWorld(DISCORD_ANSWER_IN="reply") as world:
        yield world


async def asked(world: DiscordWorld, **how: Any) -> tuple[int, AnyEvent]:
    count = len(world.heard)
    message = await world.fake.say("what is wax?", mention=True, **how)
    await world.until_heard(count + 1)
    return message, world.heard[-1]


@pytest.mark.parametrize(
    ("key", "status", "code", "named"),
    [
        ("message_reference", 403, 160002, False),
        ("message_reference", 403, 999_999, False),
        ("message_reference", 400, 50035, True),
        ("message_reference", 400, 50035, False),
        ("message_reference", 404, 10008, False),
        ("components", 400, 50035, True),
        ("components", 400, 50035, False),
        ("flags", 400, 50035, True),
        ("flags", 400, 999_999, False),
        ("nonce", 400, 50035, True),
        ("nonce", 400, 50035, False),
        ("enforce_nonce", 400, 50035, True),
        ("allowed_mentions", 400, 50035, True),
        ("allowed_mentions", 400, 50035, False),
    ],
)
async def test_an_answer_appears_once_without_the_refused_field(
    world: DiscordWorld, key: str, status: int, code: int, *, named: bool
) -> None:
    """So does the next one: the channel does not count as forbidden."""
    world.fake.fields_refused.append(FieldRefused(key, status, code, named))
    for number in range(2):
        _, event = await asked(world)
        await world.platform.post(part(event, f"answer {number} @everyone"))
    shown = [text.replace("＠", "@") for text in world.fake.read()]  # noqa: RUF001
    assert shown == ["answer 0 @everyone", "answer 1 @everyone"]
    assert world.fake.pings == []


async def test_without_access_to_the_history_the_answer_is_not_a_reply(world: DiscordWorld) -> None:
    """It and later answers are plain messages; no further reply is tried."""
    world.fake.denied[world.fake.general] = {"read_message_history"}
    for number in range(4):
        _, event = await asked(world)
        await world.platform.post(part(event, f"answer {number}"))
    assert world.fake.read() == [f"answer {number}" for number in range(4)]
    assert world.fake.invalid_requests == 1


async def test_all_optional_fields_can_be_refused_at_once(world: DiscordWorld) -> None:
    """The plain text of the answer is posted."""
    for key in ("message_reference", "components", "flags", "nonce", "allowed_mentions"):
        world.fake.fields_refused.append(FieldRefused(key, 400, 50035, named=False))
    _, event = await asked(world)
    await world.platform.post(part(event, "<@1> an answer"))
    assert world.fake.read() == ["<＠1> an answer"]  # noqa: RUF001


async def test_a_finished_preview_loses_its_stop_button_when_buttons_are_refused(
    world: DiscordWorld,
) -> None:
    """The edit that completes the preview removes its buttons."""
    _, event = await asked(world)
    await world.platform.show_partial(partial(event, "half"))
    world.fake.fields_refused.append(FieldRefused("components", 400, 50035))
    await world.platform.post(part(event, "whole"))
    (shown,) = world.fake.posts()
    assert (shown["content"], shown["components"]) == ("whole", [])


async def test_a_placeholder_is_filled_without_the_refused_field(world: DiscordWorld) -> None:
    """The answer to a command needs no buttons either."""
    await world.fake.command("ask", question="wax?")
    await world.until_heard(1)
    world.fake.fail("PATCH", "@original$", status=400, code=50035, fields=("components",))
    await world.platform.post(part(world.heard[0], "an answer"))
    assert world.fake.read() == ["an answer"]


@pytest.mark.parametrize(
    "refusal", [{"code": 200_000}, {"code": 50_035, "fields": ("content",)}, {"code": 50_006}]
)
async def test_a_refused_text_is_not_retried_without_optional_fields(
    world: DiscordWorld, refusal: dict[str, Any]
) -> None:
    """AutoMod can refuse a text; leaving out the buttons would change nothing."""
    _, event = await asked(world)
    calls = len(world.fake.calls)
    world.fake.fail("POST", r"/messages$", status=400, times=9, **refusal)
    with pytest.raises(Never):
        await world.platform.post(part(event, "a bad word"))
    posted = [path for method, path, _ in world.fake.calls[calls:] if method == "POST"]
    assert len([path for path in posted if path.endswith("/messages")]) == 1


# --- threads --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, 50035), (400, 160006), (403, 50013), (403, 40_333), (404, 10008), (400, 999_999),
     (405, 0), (409, 0), (422, 0)],
)  # fmt: skip
async def test_an_answer_does_not_need_its_thread(status: int, code: int) -> None:
    """Whatever Discord's reason, this answer and the next are replies, and each is shown once."""
    async with DiscordWorld() as world:
        world.fake.fail("POST", "/threads$", status=status, code=code, times=99)
        for number in range(2):
            message, event = await asked(world)
            for index in range(2):
                await world.platform.post(part(event, f"{number}.{index}", index, 2))
            assert message not in world.fake.channels
        assert world.fake.read() == ["0.0", "0.1", "1.0", "1.1"]
        tried = [path for _, path, _ in world.fake.calls if path.endswith("/threads")]
        assert len(tried) <= 2


async def test_threads_are_retried_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server may no longer have too many threads."""
    monkeypatch.setattr(channels, "LEFT_ALONE_S", 0.0)
    async with DiscordWorld() as world:
        world.fake.fail("POST", "/threads$", status=400, code=160006)
        for text in ("inline", "in a thread"):
            message, event = await asked(world)
            await world.platform.post(part(event, text))
        assert world.fake.read(message) == ["in a thread"]


async def test_a_refused_thread_title_is_replaced() -> None:
    """AutoMod also checks the names of threads."""
    async with DiscordWorld() as world:
        message, event = await asked(world)
        world.fake.fail("POST", "/threads$", status=400, code=200_000)
        await world.platform.post(part(event, "an answer"))
        assert world.fake.read(message) == ["an answer"]
        assert world.fake.channels[message]["name"] == channels.NEUTRAL_TITLE


async def test_a_locked_thread_does_not_close_its_channel() -> None:
    """A moderator locked only that thread."""
    async with DiscordWorld() as world:
        message, event = await asked(world)
        await world.platform.post(part(event, "one", 0, 2))
        world.fake.channels[message]["thread_metadata"]["locked"] = True
        await world.platform.post(part(event, "two", 1, 2))
        assert world.fake.read(await world.fake.direct()) == ["two"]
        other, event = await asked(world)
        await world.platform.post(part(event, "elsewhere"))
        assert world.fake.read(other) == ["elsewhere"]
