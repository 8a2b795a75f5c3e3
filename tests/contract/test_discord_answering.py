"""How answers appear on Discord, and what happens if posting fails: the real client and a fake."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bots.discord import client, deferred, posting, working
from bots.discord.errors import BANNED_S, RETRY_S, bounded_wait
from bots.discord.wording import notice_text
from bots.parts import parts_of
from bots.platform import Forbidden, Gone, Later, Never, Part
from shared.messages import AnyEvent
from shared.replies import Outcome, Partial, Reply
from tests.contract.worlds.discord import DiscordWorld
from tests.contract.worlds.world import answer
from tests.fakes.discord_shapes import THINKING


@pytest.fixture
async def world() -> AsyncIterator[DiscordWorld]:
    async with DiscordWorld() as world:
        yield world


async def asked(world: DiscordWorld, **how: Any) -> tuple[int, AnyEvent]:
    before = len(world.heard)
    message = await world.fake.say("what is wax?", mention=True, **how)
    await world.until_heard(before + 1)
    return message, world.heard[-1]


def part(event: AnyEvent, text: str, index: int = 0, count: int = 1, **fields: Any) -> Part:
    reply = answer(event, fields.pop("whole", text)).model_copy(update=fields)
    return Part(reply, text, index, count)


def partial(event: AnyEvent, text: str, sequence: int = 1) -> Partial:
    return Partial(
        prompt_id=event.id, user=event.user, place=event.place, address=event.address, text=text,
        attempt=1, sequence=sequence,
    )  # fmt: skip


async def test_the_thread_is_named_after_the_question_and_holds_all_parts(
    world: DiscordWorld,
) -> None:
    """The thread is opened once, and only the last part has buttons."""
    message, event = await asked(world)
    for index in range(3):
        await world.platform.post(part(event, f"part {index}", index, 3))
    assert world.fake.read(message) == ["part 0", "part 1", "part 2"]
    assert world.fake.channels[message]["name"] == "what is wax?"
    assert [bool(m["components"]) for m in world.fake.posts(message)] == [False, False, True]
    assert world.fake.read() == []


@pytest.mark.parametrize("code", [160006, 50013])
async def test_without_a_thread_the_answer_is_a_reply(world: DiscordWorld, code: int) -> None:
    """With too many threads, or without permission to open one, the answer is in the channel."""
    message, event = await asked(world)
    world.fake.fail("POST", "/threads$", status=403 if code == 50013 else 400, code=code)
    await world.platform.post(part(event, "inline"))
    assert world.fake.replies_to(message) == ["inline"]
    assert message not in world.fake.channels


async def test_a_thread_that_exists_already_is_used(world: DiscordWorld) -> None:
    """After a restart, the thread is found by the id of its message."""
    message, event = await asked(world)
    await world.platform.post(part(event, "one", 0, 2))
    await world.disconnect()
    await world.connect()
    await world.platform.post(part(event, "two", 1, 2))
    assert world.fake.read(message) == ["one", "two"]


@pytest.mark.parametrize(("answer_in", "references"), [("reply", True), ("place", False)])
async def test_answers_can_stay_in_the_channel(answer_in: str, *, references: bool) -> None:
    """The setting chooses between a reply to the question and a plain message."""
    async with DiscordWorld(DISCORD_ANSWER_IN=answer_in) as world:
        message, event = await asked(world)
        await world.platform.post(part(event, "here"))
        (posted,) = world.fake.posts()
        assert posted["content"] == "here"
        assert ("message_reference" in posted) is references
        assert message not in world.fake.channels


async def test_nobody_is_pinged_and_no_link_unfolds(world: DiscordWorld) -> None:
    """This holds for whatever the model writes."""
    message, event = await asked(world)
    text = "@everyone @here <@1> <@&2> https://example.org"
    await world.platform.show_partial(partial(event, text))
    await world.platform.post(part(event, text))
    await world.fake.command("ask", question="q")
    await world.until_heard(2)
    await world.platform.post(part(world.heard[1], text))
    assert world.fake.pings == []
    assert all(not m["embeds"] for c in (message, world.fake.general) for m in world.fake.posts(c))


# --- exactly once ---------------------------------------------------------------------------------


async def test_a_lost_response_leaves_one_message(world: DiscordWorld) -> None:
    """Discord has posted the message: posting it again returns the same message."""
    message, event = await asked(world)
    world.fake.fail("POST", r"/messages$", kind="lost")
    with pytest.raises(Later) as later:
        await world.platform.post(part(event, "once"))
    assert later.value.maybe_posted
    assert await world.platform.find_posted(part(event, "once")) is not None
    await world.platform.post(part(event, "once"))
    assert world.fake.read(message) == ["once"]


async def test_a_preview_of_a_crashed_process_is_completed(world: DiscordWorld) -> None:
    """This works long after Discord has forgotten the nonce, so no half answer remains."""
    message, event = await asked(world)
    await world.platform.show_partial(partial(event, "half of"))
    await world.disconnect()
    world.fake.nonce_window_s = 0.0
    await world.connect()
    whole = part(event, "half of it all")
    assert await world.platform.find_posted(whole) is None
    await world.platform.post(whole)
    assert world.fake.read(message) == ["half of it all"]


async def test_a_recent_preview_is_completed_without_a_search(
    world: DiscordWorld,
) -> None:
    """The repeated post returns the preview, which is then edited."""
    message, event = await asked(world)
    await world.platform.show_partial(partial(event, "half of"))
    await world.disconnect()
    await world.connect()
    await world.platform.post(part(event, "half of it all"))
    assert world.fake.read(message) == ["half of it all"]


async def test_parts_are_found_long_after_a_crash(
    world: DiscordWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts without buttons are found by their text; two parts can have the same text."""
    message, event = await asked(world)
    same = "x" * 1990
    whole = f"{same}\n\n{same}\n\nend"
    await world.platform.post(part(event, same, 0, 3, whole=whole))
    monkeypatch.setattr(posting, "NONCE_HOLDS_S", 0.0)
    assert await world.platform.find_posted(part(event, same, 0, 3, whole=whole)) is not None
    assert await world.platform.find_posted(part(event, same, 1, 3, whole=whole)) is None
    assert await world.platform.find_posted(part(event, "end", 2, 3, whole=whole)) is None
    await world.platform.post(part(event, "end", 2, 3, whole=whole))
    assert await world.platform.find_posted(part(event, "end", 2, 3, whole=whole)) is not None
    assert len(world.fake.read(message)) == 2


async def test_a_deleted_preview_does_not_lose_the_answer(world: DiscordWorld) -> None:
    """If a moderator deletes the preview, the answer is posted as a new message."""
    message, event = await asked(world)
    await world.platform.show_partial(partial(event, "half"))
    (preview,) = world.fake.posts(message)
    await world.fake.delete(int(preview["id"]))
    await world.platform.post(part(event, "whole"))
    assert world.fake.read(message) == ["whole"]


async def test_a_withdrawn_answer_disappears(world: DiscordWorld) -> None:
    """A person who deletes a question no longer sees half an answer."""
    message, event = await asked(world)
    await world.platform.show_partial(partial(event, "half"))
    await world.platform.withdraw(answer(event, ""))
    assert world.fake.read(message) == []


# --- previews -------------------------------------------------------------------------------------


async def test_a_preview_shows_that_it_grows_and_respects_the_limit(world: DiscordWorld) -> None:
    """It has a cursor, a Stop button and at most 2000 characters, and is not edited too often."""
    message, event = await asked(world)
    for number in range(1, 40):
        await world.platform.show_partial(partial(event, "word " * 60 * number, number))
    (text,) = world.fake.read(message)
    assert text.endswith("▌")
    assert len([c for c in world.fake.calls if c[0] == "PATCH"]) == 0
    await asyncio.sleep(posting.EDIT_EVERY_S)
    await world.platform.show_partial(partial(event, "word " * 5000, 41))
    (text,) = world.fake.read(message)
    assert 1500 < len(text) <= 2000
    await world.platform.post(part(event, "done"))
    assert world.fake.read(message) == ["done"]


async def test_a_hostile_answer_has_few_parts_and_is_found_again(world: DiscordWorld) -> None:
    """An example is a table of a thousand columns."""
    message, event = await asked(world)
    text = "|a" * 1_000 + "|\n" + "|-" * 1_000 + "|\n" + "|same words|\n" * 15_000
    await world.platform.show_partial(partial(event, text[:16_000]))
    pieces = await parts_of(world.platform, text)
    assert len(pieces) == world.platform.parts_limit
    for index, piece in enumerate(pieces):
        await world.platform.post(part(event, piece, index, len(pieces), whole=text))
    assert world.fake.read(message) == pieces
    last = part(event, pieces[-1], len(pieces) - 1, len(pieces), whole=text)
    assert await world.platform.find_posted(last) == world.fake.posts(message)[-1]["id"]


async def test_showing_a_preview_never_raises(world: DiscordWorld) -> None:
    """The answer is posted, whatever Discord responds to its preview."""
    message, event = await asked(world)
    world.fake.fail("POST", r"/messages$", status=403, code=50013)
    await world.platform.show_partial(partial(event, "half"))
    await world.platform.post(part(event, "whole"))
    assert world.fake.read(message) == ["whole"]


async def test_the_typing_indicator_starts_and_ends(
    world: DiscordWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is shown from the question to the answer, but not forever if no answer comes."""
    monkeypatch.setattr(working, "AGAIN_AFTER_S", 0.1)
    monkeypatch.setattr(working, "GIVE_UP_AFTER_S", 0.5)
    _, event = await asked(world)
    await world.fake.until(lambda: len(world.fake.typing) >= 2)
    await world.platform.post(part(event, "done"))
    count = len(world.fake.typing)
    await asyncio.sleep(0.4)
    assert len(world.fake.typing) <= count + 1
    await asked(world)
    await asyncio.sleep(1.0)
    count = len(world.fake.typing)
    await asyncio.sleep(0.4)
    assert len(world.fake.typing) == count


# --- commands -------------------------------------------------------------------------------------


async def test_an_answer_after_its_token_has_expired_is_a_new_message(
    world: DiscordWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A placeholder can be edited for 15 minutes. Shortly before, it says that it takes longer."""
    monkeypatch.setattr(deferred, "TOKEN_LIFE_S", 2.5)
    monkeypatch.setattr(deferred, "NOTICE_BEFORE_S", 2.0)
    monkeypatch.setattr(deferred, "SAFE_S", 0.5)
    world.fake.token_life_s = 2.5
    await world.fake.command("ask", question="slow one", locale="fr")
    await world.until_heard(1)
    await world.fake.until(lambda: "plus de temps" in str(world.fake.read()))
    await asyncio.sleep(2.5)
    await world.platform.post(part(world.heard[0], "at last"))
    assert world.fake.read()[1:] == ["at last"]
    assert THINKING not in world.fake.read()


async def test_a_token_that_discord_refuses_does_not_lose_the_answer(world: DiscordWorld) -> None:
    """The placeholder is deleted, and the answer is posted as a message."""
    await world.fake.command("ask", question="slow one")
    await world.until_heard(1)
    await world.fake.until(lambda: world.fake.read() == [THINKING])
    world.fake.token_life_s = 0.0
    await world.platform.post(part(world.heard[0], "at last"))
    assert world.fake.read() == ["at last"]


async def test_a_command_that_cannot_be_acknowledged_is_answered_anyway(
    world: DiscordWorld,
) -> None:
    """Discord answers "unknown interaction" (10062), but the question is stored already."""
    world.fake.command_life_s = -1.0
    await world.fake.command("ask", question="late")
    await world.until_heard(1)
    await world.platform.post(part(world.heard[0], "an answer"))
    assert world.fake.read() == ["an answer"]


async def test_a_placeholder_whose_acknowledgement_was_lost_is_filled(world: DiscordWorld) -> None:
    """Discord shows the placeholder although its response was lost, and the answer replaces it."""
    world.fake.fail("POST", r"/callback$", kind="lost", times=5)
    await world.fake.command("ask", question="lost one")
    await world.until_heard(1)
    await world.platform.post(part(world.heard[0], "an answer"))
    assert world.fake.read() == ["an answer"]


async def test_a_command_whose_acknowledgement_never_arrived_is_answered(
    world: DiscordWorld,
) -> None:
    """There is no placeholder, so the answer is posted as a new message."""
    world.fake.fail("POST", r"/callback$", kind="reset", times=5)
    await world.fake.command("ask", question="lost one")
    await world.until_heard(1)
    await world.platform.post(part(world.heard[0], "an answer"))
    assert world.fake.read() == ["an answer"]


async def test_a_long_answer_to_a_command_continues_in_messages(world: DiscordWorld) -> None:
    """The first part replaces the placeholder, and the others follow it."""
    await world.fake.command("ask", question="long")
    await world.until_heard(1)
    for index in range(3):
        await world.platform.post(part(world.heard[0], f"part {index}", index, 3))
    assert world.fake.read() == ["part 0", "part 1", "part 2"]


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 403, "code": 50001, "times": 9}, Forbidden),
        ({"status": 403, "code": 50013, "times": 9}, Forbidden),
        ({"status": 403, "code": 0}, Later),
        ({"status": 403, "code": 50007}, Gone),
        ({"status": 403, "code": 50278}, Gone),
        ({"status": 404, "code": 10003, "times": 9}, Gone),
        ({"status": 400, "code": 200000}, Never),
        ({"status": 400, "code": 50035, "times": 9}, Never),
        ({"status": 400, "code": 50035, "fields": ["content"]}, Never),
        ({"status": 503, "code": 0}, Later),
        ({"status": 429, "retry_after": 60.0}, Later),
        ({"status": 429, "via": False}, Later),
        ({"kind": "reset"}, Later),
    ],
)
async def test_each_failed_post_raises_the_error_for_the_relays_next_step(
    world: DiscordWorld, fault: dict[str, Any], error: type[Exception]
) -> None:
    """The errors are `Later`, `Never`, `Gone` and `Forbidden`."""
    _, event = await asked(world)
    world.fake.fail("POST", r"/messages$", **fault)
    with pytest.raises(error) as raised:
        await world.platform.post(part(event, "hello"))
    if isinstance(raised.value, Later) and "retry_after" in fault:
        assert raised.value.wait_s == pytest.approx(60, abs=1)


@pytest.mark.parametrize(("via", "wait_s"), [(True, RETRY_S), (False, BANNED_S)])
async def test_a_rate_limit_in_a_burst_is_not_taken_for_a_ban(
    world: DiscordWorld, *, via: bool, wait_s: float
) -> None:
    """The library gives up when others were faster five times; a ban comes from a proxy."""
    _, event = await asked(world)
    world.fake.fail("POST", r"/messages$", status=429, retry_after=0.01, times=5, via=via)
    with pytest.raises(Later) as later:
        await world.platform.post(part(event, "hello"))
    assert later.value.wait_s == wait_s


async def test_one_refusal_does_not_affect_the_next_answer(world: DiscordWorld) -> None:
    """The next question in the channel is answered there."""
    events = [(await asked(world, author=name))[1] for name in ("ada", "bob")]
    await closed_to_all(world)
    world.fake.fail("POST", "/threads$", status=403, code=50013)
    world.fake.fail("POST", r"/messages$", status=403, code=50013)
    with pytest.raises(Forbidden):
        await world.platform.post(part(events[0], "one"))
    await world.platform.post(part(events[1], "two"))
    assert world.fake.read() == ["two"]


async def closed_to_all(world: DiscordWorld) -> None:
    """A server in which nobody accepts direct messages from the bot."""
    for name in ("ada", "bob"):
        world.fake.denied[await world.fake.direct(name)] = {"closed"}


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("how", [{"page": True}, {"code": 0}])
@pytest.mark.parametrize("path", ["/threads$", r"/messages$"])
async def test_a_refusal_without_a_code_comes_from_a_proxy(
    world: DiscordWorld, status: int, how: dict[str, Any], path: str
) -> None:
    """The answer is posted later, unchanged."""
    message, event = await asked(world)
    world.fake.fail("POST", path, status=status, **how)
    with pytest.raises(Later):
        await world.platform.post(part(event, "hello"))
    await world.platform.post(part(event, "hello"))
    assert world.fake.read(message) == ["hello"]
    assert world.fake.read() == []


@pytest.mark.parametrize("denied", [{"send_messages"}, {"view_channel"}])
async def test_an_answer_that_the_channel_forbids_becomes_a_direct_message(
    world: DiscordWorld, denied: set[str]
) -> None:
    """All parts arrive once and in order; each answer tries the channel again first."""
    fake = world.fake
    _, event = await asked(world)
    fake.denied[fake.general] = {*denied, "create_public_threads"}
    whole = "\n\n".join(letter * 1990 for letter in "ab")
    parts = [part(event, letter * 1990, n, 2, whole=whole) for n, letter in enumerate("ab")]
    receipts = [await world.platform.post(one) for one in parts]
    direct = await fake.direct()
    assert fake.read(direct) == [notice_text("elsewhere"), "a" * 1990, "b" * 1990]
    assert fake.read() == []
    fake.nonce_window_s = 0.0
    assert [await world.platform.find_posted(one) for one in parts][1] == receipts[1]
    fake.denied.clear()
    message, event = await asked(world)
    await world.platform.post(part(event, "here again"))
    assert fake.replies_to(message) == ["here again"]


async def test_without_direct_messages_a_forbidden_answer_is_a_dead_letter(
    world: DiscordWorld,
) -> None:
    """The adapter gives up after a few requests."""
    _, event = await asked(world)
    await closed_to_all(world)
    world.fake.denied[world.fake.general] = {"send_messages", "create_public_threads"}
    with pytest.raises(Forbidden):
        await world.platform.post(part(event, "hello"))
    before = world.fake.invalid_requests
    assert before <= 4
    for sequence in range(5):
        await world.platform.show_partial(partial(event, f"preview {sequence}", sequence))
    assert world.fake.invalid_requests == before


@pytest.mark.parametrize("previewed", [True, False])
async def test_an_answer_whose_thread_was_deleted_is_posted_below_its_question(
    world: DiscordWorld, *, previewed: bool
) -> None:
    """The thread is deleted while the answer grows, or between two of its parts."""
    message, event = await asked(world)
    if previewed:
        await world.platform.show_partial(partial(event, "so"))
    else:
        await world.platform.post(part(event, "so far", 0, 3))
    await world.fake.delete_thread(message)
    for index in (0, 1, 2) if previewed else (1, 2):
        await world.platform.post(part(event, f"part {index}", index, 3))
    shown = world.fake.posts()
    texts = ["part 0", "part 1", "part 2"] if previewed else ["part 1", "part 2"]
    assert [post["content"] for post in shown] == texts
    if previewed:
        assert int(shown[0]["message_reference"]["message_id"]) == message


@pytest.mark.parametrize(
    "address",
    [{}, {"channel": "x", "message": "1"}, {"channel": "1"}, {"channel": "1", "message": ""},
     {"channel": "1", "message": "2", "token": "t"}],
)  # fmt: skip
async def test_a_reply_without_an_address_is_gone(
    world: DiscordWorld, address: dict[str, str]
) -> None:
    """An example is the refusal of an event that could not be read."""
    _, event = await asked(world)
    lost = part(event, "hello", address=address)
    await world.platform.show_partial(
        partial(event, "hello").model_copy(update={"address": address})
    )
    assert await world.platform.find_posted(lost) is None
    await world.platform.withdraw(lost.reply)
    with pytest.raises(Gone):
        await world.platform.post(lost)


@pytest.mark.parametrize("wait", [1e9, float("inf"), float("nan"), float("-inf")])
async def test_a_wait_is_finite(world: DiscordWorld, wait: float) -> None:
    """This holds for any number that Discord sends, even while the adapter starts."""
    message, event = await asked(world)
    world.fake.fail("POST", r"/messages$", status=429, retry_after=wait)
    world.fake.fail("POST", "/threads$", status=400, code=160006)
    with pytest.raises(Later) as later:
        await world.platform.post(part(event, "hello"))
    assert 0 <= later.value.wait_s <= 600
    await world.disconnect()
    world.fake.fail("GET", "/users/@me$", status=429, retry_after=wait)
    await world.connect()
    await world.platform.post(part(event, "hello"))
    assert world.fake.replies_to(message) == ["hello"]


def test_a_wait_is_limited() -> None:
    """A wait is at most ten minutes, and one second if it is not a number."""
    given = [-5, 0, 1.5, 1e9, "7", "soon", None, [], float("nan"), float("inf"), 10**400]
    waits = [bounded_wait(one) for one in given]
    assert waits == [0, 0, 1.5, 600, 7, RETRY_S, RETRY_S, RETRY_S, RETRY_S, 600, RETRY_S]


async def test_a_cancelled_preview_does_not_hold_up_all_requests(
    world: DiscordWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library stops all requests for a global limit; a cancelled request must release them."""
    monkeypatch.setattr(posting, "PREVIEW_WITHIN_S", 0.2)
    monkeypatch.setattr(client, "GATE_OPENS_AFTER_S", 0.5)
    message, event = await asked(world)
    world.fake.fail("POST", r"/messages$", status=429, retry_after=5.0, is_global=True)
    await world.platform.show_partial(partial(event, "half"))
    async with asyncio.timeout(10):
        await world.platform.post(part(event, "whole"))
    assert world.fake.read(message) == ["whole"]


async def test_a_hanging_request_times_out(
    world: DiscordWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says that the part may have been posted."""
    monkeypatch.setattr(posting, "POST_WITHIN_S", 0.5)
    _, event = await asked(world)
    world.fake.fail("POST", r"/messages$", kind="hang")
    started = time.monotonic()
    with pytest.raises(Later) as later:
        await world.platform.post(part(event, "hello"))
    assert later.value.maybe_posted
    assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    ("outcome", "kinds"),
    [("answered", 3), ("failed", 1), ("stopped", 1), ("refused", 0)],
)
async def test_buttons_depend_on_the_outcome(
    world: DiscordWorld, outcome: Outcome, kinds: int
) -> None:
    """Any stored question can be asked again, but only an answer can be rated."""
    message, event = await asked(world)
    await world.platform.post(part(event, "text", outcome=outcome))
    rows = world.fake.posts(message)[0]["components"]
    assert sum(len(row["components"]) for row in rows) == kinds


async def test_a_reply_shown_yesterday_is_found(world: DiscordWorld) -> None:
    """So it is not shown again today."""
    message, event = await asked(world)
    yesterday: Reply = answer(event, "old").model_copy(
        update={"answered_at": datetime.now(UTC) - timedelta(days=1)}
    )
    receipt = await world.platform.post(Part(yesterday, "old", 0, 1))
    await world.disconnect()
    await world.connect()
    world.fake.nonce_window_s = 0.0
    assert await world.platform.find_posted(Part(yesterday, "old", 0, 1)) == receipt
    assert world.fake.read(message) == ["old"]
