"""Answers in Slack as a person sees them: the real client and the fake Slack."""

import asyncio
import re
from typing import Any

import pytest

from bots import parts
from bots.platform import Forbidden, Gone, Later, Part
from bots.slack import api
from bots.slack.answer_blocks import PART_CHARS
from bots.slack.markup import escaped_length
from bots.slack.origin import Origin
from bots.split_text import split_text
from shared.messages import AnyEvent
from shared.replies import Outcome, Partial, Reply
from tests.contract.worlds.slack import SlackWorld
from tests.contract.worlds.world import answer
from tests.fakes.slack import ROOM, FakeSlack, Fault

FINAL_BUTTONS = ["Again", "Good answer", "Bad answer"]


def parts_of(reply: Reply) -> list[Part]:
    pieces = split_text(reply.text, PART_CHARS, length=escaped_length)
    return [Part(reply, piece, n, len(pieces)) for n, piece in enumerate(pieces)]


async def show(world: SlackWorld, reply: Reply) -> list[str]:
    pieces = await parts.parts_of(world.platform, reply.text)
    whole = [Part(reply, piece, n, len(pieces)) for n, piece in enumerate(pieces)]
    return [await world.platform.post(part) for part in whole]


async def asked(world: SlackWorld, *, direct: bool = False, text: str = "question") -> AnyEvent:
    """Asks a question, and waits until it is published and its status line is shown."""
    count = len(world.heard)
    send = world.slack.dm if direct else world.slack.mention
    send(text)
    await world.until_heard(count + 1)
    await world.platform._working.settled()
    return world.heard[-1]


def where(ask: AnyEvent) -> tuple[str, str]:
    return ask.address["channel"], ask.address["thread_ts"]


def seen(world: SlackWorld, ask: AnyEvent) -> list[str]:
    return world.slack.thread(*where(ask))


class Growing:
    """Shows partials of one answer, as if enough time had passed between them."""

    def __init__(self, world: SlackWorld, ask: AnyEvent) -> None:
        self.world, self.ask, self.sequence = world, ask, 0

    async def to(self, text: str, *, attempt: int = 1, soon: bool = False) -> None:
        self.sequence += 1
        ask, platform = self.ask, self.world.platform
        preview = platform._posting._previews.get(ask.id)
        if preview is not None and not soon:
            preview._next = 0.0
        await platform.show_partial(
            Partial(prompt_id=ask.id, user=ask.user, place=ask.place, address=ask.address,
                    text=text, attempt=attempt, sequence=self.sequence)
        )  # fmt: skip


async def test_an_answer_is_posted_in_the_thread_with_its_buttons() -> None:
    """The answer and its notification have the text, and the status line is gone."""
    async with SlackWorld() as world:
        ask = await asked(world)
        assert world.slack.status(*where(ask)) == "processing"
        (receipt,) = await show(world, answer(ask, "# Yes\n\n| a | b |\n|---|---|\n| 1 | 2 |"))
        assert seen(world, ask) == ["# Yes\n\n| a | b |\n|---|---|\n| 1 | 2 |"]
        (message,) = world.slack.bot_messages(*where(ask))
        assert receipt == f"{ROOM}/{message['ts']}"
        assert message["text"].startswith("# Yes")
        assert world.slack.buttons(ROOM, message["ts"]) == FINAL_BUTTONS
        await world.slack.until(lambda: not world.slack.status(*where(ask)))
        assert world.slack.unfurled == []


async def test_a_failure_is_one_notice_without_buttons() -> None:
    """It has no Again button."""
    async with SlackWorld() as world:
        ask = await asked(world)
        failed = answer(ask, "The model cannot be reached.").model_copy(
            update={"outcome": "failed"}
        )
        await show(world, failed)
        assert seen(world, ask) == ["The model cannot be reached."]
        (message,) = world.slack.bot_messages(*where(ask))
        assert world.slack.buttons(ROOM, message["ts"]) == []
        await world.slack.until(lambda: not world.slack.status(*where(ask)))


async def test_a_long_answer_comes_in_parts_without_losing_text() -> None:
    """Every part of a text of 20,000 characters closes its code block; the last has the buttons."""
    text = "\n\n".join(
        f"Part {n}\n\n```python\n" + f"x = {n} < 3 & 4\n" * 60 + "```" for n in range(20)
    )
    async with SlackWorld() as world:
        ask = await asked(world)
        await show(world, answer(ask, text))
        shown = seen(world, ask)
        assert len(shown) > 4
        assert all(part.count("```") % 2 == 0 for part in shown)
        words = re.findall(r"\w+", text.replace("```python", ""))
        assert re.findall(r"\w+", "\n".join(shown).replace("```python", "")) == words
        buttons = [
            world.slack.buttons(ROOM, m["ts"]) for m in world.slack.bot_messages(*where(ask))
        ]
        assert buttons[-1] == FINAL_BUTTONS
        assert not any(buttons[:-1])


INJECTIONS = "<!channel> <!here> <!everyone> <!subteam^S1> <@UBOB> <@UBOB|x> <!date^1^x|y> & <b>"


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("growing", [True, False])
async def test_a_models_text_notifies_nobody(direct: bool, growing: bool) -> None:
    """Posts, edits and streams mention nobody, even if a mention is split into two chunks."""
    async with SlackWorld() as world:
        ask = await asked(world, direct=direct)
        if growing:
            grow = Growing(world, ask)
            for end in range(1, len(INJECTIONS), 3):
                await grow.to(INJECTIONS[:end])
        await show(world, answer(ask, INJECTIONS))
        assert seen(world, ask) == [INJECTIONS]
        assert world.slack.pings == []


async def test_unknown_links_in_a_stream_are_made_harmless() -> None:
    """Slack would fetch them for previews. Links from the user or the settings stay."""
    text = (
        "See https://evil.example/?q=secret and [x](HTTP://evil.example/y), "
        "https://docs.good.example/a, https://mine.example/b ok"
    )
    async with SlackWorld(SLACK_LINK_HOSTS="good.example") as world:
        ask = await asked(world, direct=True, text="read <https://mine.example/a>")
        grow = Growing(world, ask)
        for end in range(1, len(text), 2):
            await grow.to(text[:end])
        await show(world, answer(ask, text))
        (shown,) = seen(world, ask)
        assert shown == text.replace("https://evil", "https[:]//evil").replace(
            "HTTP://", "HTTP[:]//"
        )
        assert {link.rstrip(",") for link in world.slack.unfurled} == {
            "https://docs.good.example/a",
            "https://mine.example/b",
        }
        assert not any("evil" in link for link in world.slack.unfurled)


async def test_a_direct_message_streams_natively() -> None:
    """The answer grows as a Slack stream, and ends complete with buttons and metadata."""
    async with SlackWorld() as world:
        ask = await asked(world, direct=True)
        grow = Growing(world, ask)
        for text in ("One ", "One two ", "One two three "):
            await grow.to(text)
            assert seen(world, ask) == [text.rpartition(" ")[0] + text[-1:] + " [typing]"]
        await show(world, answer(ask, "One two three four."))
        assert seen(world, ask) == ["One two three four."]
        (message,) = world.slack.bot_messages(*where(ask))
        assert world.slack.buttons(where(ask)[0], message["ts"]) == FINAL_BUTTONS
        assert message["metadata"]["event_payload"]["final"] is True
        methods = [m for m, _ in world.slack.calls]
        assert "chat.update" not in methods
        assert "chat.postMessage" not in methods
        await world.slack.until(lambda: not world.slack.status(*where(ask)))


async def test_in_a_channel_the_preview_is_an_edited_message() -> None:
    """It has a Stop button only while it grows, and is not edited too often."""
    async with SlackWorld() as world:
        ask = await asked(world)
        grow = Growing(world, ask)
        await grow.to("One")
        (message,) = world.slack.bot_messages(*where(ask))
        assert world.slack.buttons(ROOM, message["ts"]) == ["Stop"]
        await grow.to("One two", soon=True)
        assert seen(world, ask) == ["One"]
        await grow.to("One two three")
        assert seen(world, ask) == ["One two three"]
        await show(world, answer(ask, "One two three four."))
        assert seen(world, ask) == ["One two three four."]
        assert world.slack.buttons(ROOM, message["ts"]) == FINAL_BUTTONS
        assert not any(m.endswith("Stream") for m, _ in world.slack.calls)


async def test_a_long_growing_answer_shows_its_first_part_only() -> None:
    """It stays within the limit while it grows; the other parts follow at the end."""
    text = "word " * 3000
    async with SlackWorld() as world:
        for direct in (True, False):
            ask = await asked(world, direct=direct)
            grow = Growing(world, ask)
            for end in (100, 5000, 14_000):
                await grow.to(text[:end])
            await show(world, answer(ask, text))
            assert " ".join(seen(world, ask)).split() == text.split()


async def test_a_very_long_answer_ends_with_a_notice() -> None:
    """The number of messages is limited, and the last one has the buttons."""
    async with SlackWorld() as world:
        ask = await asked(world)
        await show(world, answer(ask, "word " * 30_000))
        shown = seen(world, ask)
        assert len(shown) == world.platform.parts_limit
        assert re.search(r"\([\d,]+ more characters of this answer are not shown here", shown[-1])
        last = world.slack.bot_messages(*where(ask))[-1]
        assert world.slack.buttons(ROOM, last["ts"]) == FINAL_BUTTONS


@pytest.mark.parametrize("direct", [True, False])
async def test_a_streamed_formula_ends_as_code(direct: bool) -> None:
    """Slack does not render formulas. A stream shows their source and is edited at the end."""
    text = "So $a_1 = b_1$ holds. "
    async with SlackWorld() as world:
        ask = await asked(world, direct=direct)
        grow = Growing(world, ask)
        for end in range(4, len(text), 6):
            await grow.to(text[:end])
        await show(world, answer(ask, text))
        assert seen(world, ask) == ["So `a_1 = b_1` holds."]


async def test_an_escaped_stream_is_not_cut_inside_an_entity() -> None:
    """The example is a long text of characters that take five characters when escaped."""
    async with SlackWorld() as world:
        ask = await asked(world, direct=True)
        await Growing(world, ask).to("&" * 5_000)
        (message,) = world.slack.bot_messages(*where(ask))
        assert set(message["streamed"].split(";")) == {"&amp", ""}
        assert len(message["streamed"]) <= PART_CHARS


@pytest.mark.parametrize("code", ["unknown_method", "not_allowed"])
async def test_without_native_streams_the_answer_is_edited(code: str) -> None:
    """After one refusal, later answers do not try to stream."""
    async with SlackWorld() as world:
        world.slack.always["chat.startStream"] = Fault("error", code=code)
        for _ in range(2):
            ask = await asked(world, direct=True)
            grow = Growing(world, ask)
            for text in ("One", "One two", "One two three"):
                await grow.to(text)
            assert seen(world, ask) == ["One two three"]
            await show(world, answer(ask, "One two three four."))
            assert seen(world, ask) == ["One two three four."]
        assert [m for m, _ in world.slack.calls].count("chat.startStream") == 1


async def test_an_expired_stream_continues_as_edits() -> None:
    """Slack ends streams after some minutes. The answer is still complete and appears once."""
    async with SlackWorld() as world:
        world.slack.streams_expire_s = 0.0
        ask = await asked(world, direct=True)
        grow = Growing(world, ask)
        for text in ("One ", "One two ", "One two three ", "One two three four "):
            await grow.to(text)
        await show(world, answer(ask, "One two three four five."))
        assert seen(world, ask) == ["One two three four five."]


async def test_a_stream_that_its_reader_stopped_is_complete_at_the_end() -> None:
    """Slack has ended the stream, and the dataflow's reply is shown once."""
    async with SlackWorld() as world:
        ask = await asked(world, direct=True)
        await Growing(world, ask).to("One two ")
        world.slack.press_stop(*where(ask))
        await world.until_heard(2)
        await show(world, answer(ask, "One two").model_copy(update={"outcome": "stopped"}))
        assert seen(world, ask) == ["One two"]
        await world.slack.until(lambda: not world.slack.status(*where(ask)))


@pytest.mark.parametrize("direct", [True, False])
async def test_an_answer_that_started_over_replaces_the_first_attempt(direct: bool) -> None:
    """The model failed halfway and started over. Nothing of the first attempt stays."""
    async with SlackWorld() as world:
        ask = await asked(world, direct=direct)
        grow = Growing(world, ask)
        await grow.to("The first attempt ")
        await grow.to("Another one ", attempt=2)
        await show(world, answer(ask, "Another one, whole."))
        assert seen(world, ask) == ["Another one, whole."]


@pytest.mark.parametrize("mode", ["off", "update", "native"])
async def test_the_streaming_setting_chooses_how_an_answer_grows(mode: str) -> None:
    """`off` shows no preview, `update` edits everywhere, and `native` always streams."""
    async with SlackWorld(SLACK_STREAMING=mode) as world:
        for direct in (True, False):
            ask = await asked(world, direct=direct)
            grow = Growing(world, ask)
            await grow.to("One ")
            await grow.to("One two ")
            assert len(seen(world, ask)) == (mode != "off")
            await show(world, answer(ask, "One two three."))
            assert seen(world, ask) == ["One two three."]
        used = {m for m, _ in world.slack.calls if m in ("chat.startStream", "chat.update")}
        assert (
            used == {"off": set(), "update": {"chat.update"}, "native": {"chat.startStream"}}[mode]
        )


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("grown", [0, 1, 2])
async def test_after_a_crash_the_answer_is_shown_once(direct: bool, grown: int) -> None:
    """The process dies before or after the first or second partial; the next one completes it."""
    async with SlackWorld() as world:
        ask = await asked(world, direct=direct)
        grow = Growing(world, ask)
        for text in ("Half ", "Half an ")[:grown]:
            await grow.to(text)
        await world.restart()
        reply = answer(ask, "Half an answer is none.")
        (part,) = parts_of(reply)
        assert await world.platform.find_posted(part) is None
        receipt = await world.platform.post(part)
        assert seen(world, ask) == ["Half an answer is none."]
        await world.restart()
        assert await world.platform.find_posted(part) == receipt


async def test_half_an_answer_never_counts_as_posted() -> None:
    """After a crash between the end of the stream and the final edit, it is completed."""
    async with SlackWorld() as world:
        ask = await asked(world, direct=True)
        grow = Growing(world, ask)
        await grow.to("The first attempt ")
        await grow.to("Another ", attempt=2)
        world.slack.faults["chat.update"].append(Fault("status"))
        (part,) = parts_of(answer(ask, "Another answer."))
        with pytest.raises(Later):
            await world.platform.post(part)
        await world.restart()
        assert await world.platform.find_posted(part) is None
        await world.platform.post(part)
        assert seen(world, ask) == ["Another answer."]


async def test_every_part_is_found_by_its_own_key() -> None:
    """After a crash between two parts, the first one is found and the second one is not."""
    async with SlackWorld() as world:
        ask = await asked(world)
        one, two, *_ = parts_of(answer(ask, "word " * 2000))
        first = await world.platform.post(one)
        await world.restart()
        assert await world.platform.find_posted(one) == first
        assert await world.platform.find_posted(two) is None


async def test_a_search_that_slack_does_not_answer_is_repeated_later() -> None:
    """If the search fails, the answer does not count as missing."""
    async with SlackWorld() as world:
        ask = await asked(world)
        world.slack.faults["conversations.replies"].append(Fault("limit", retry_after_s=7))
        with pytest.raises(Later) as later:
            await world.platform.find_posted(parts_of(answer(ask, "x"))[0])
        assert later.value.wait_s == 7


async def test_a_rate_limit_is_waited_for_and_drops_nothing() -> None:
    """Posting and completing a preview or a stream get 429 with Retry-After."""
    async with SlackWorld() as world:
        for direct, grown, method in (
            (False, False, "chat.postMessage"),
            (False, True, "chat.update"),
            (True, True, "chat.stopStream"),
        ):
            ask = await asked(world, direct=direct)
            if grown:
                await Growing(world, ask).to("Half ")
            world.slack.faults[method].append(Fault("limit", retry_after_s=3))
            (part,) = parts_of(answer(ask, "Half and whole."))
            with pytest.raises(Later) as later:
                await world.platform.post(part)
            assert (later.value.wait_s, later.value.maybe_posted) == (3, False)
            await world.platform.post(part)
            assert seen(world, ask) == ["Half and whole."]


@pytest.mark.parametrize("fault", [Fault("status"), Fault("lost"), Fault("hang")])
@pytest.mark.parametrize("method", ["chat.postMessage", "chat.update", "chat.stopStream"])
async def test_a_call_without_a_response_ends_in_one_message(
    fault: Fault, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a 500, a lost response or a hanging call, the adapter searches for the answer."""
    monkeypatch.setattr(api, "CALL_TIMEOUT_S", 0.5)
    async with SlackWorld() as world:
        ask = await asked(world, direct=method == "chat.stopStream")
        if method != "chat.postMessage":
            await Growing(world, ask).to("Half ")
        world.slack.faults[method].append(fault)
        (part,) = parts_of(answer(ask, "Half and whole."))
        with pytest.raises(Later) as later:
            await world.platform.post(part)
        assert later.value.maybe_posted
        if await world.platform.find_posted(part) is None:
            await world.platform.post(part)
        assert seen(world, ask) == ["Half and whole."]
        tries = [m for m, _ in world.slack.calls].count(method)
        assert tries <= 2, "the SDK must not retry calls"


@pytest.mark.parametrize("kind", ["limit", "status", "lost", "hang"])
async def test_a_piece_without_a_response_is_not_streamed_twice(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether Slack took the piece or not, the growing and the whole text appear once."""
    monkeypatch.setattr(api, "CALL_TIMEOUT_S", 0.5)
    async with SlackWorld() as world:
        ask = await asked(world, direct=True)
        grow = Growing(world, ask)
        await grow.to("One ")
        world.slack.faults["chat.appendStream"].append(Fault(kind, retry_after_s=1))
        for text in ("One two ", "One two three ", "One two three four "):
            await grow.to(text)
            assert (text + " ").startswith(seen(world, ask)[0].replace(" [typing]", "").rstrip())
        await show(world, answer(ask, "One two three four five."))
        assert seen(world, ask) == ["One two three four five."]


@pytest.mark.parametrize("method", ["chat.postMessage", "chat.startStream"])
async def test_a_preview_whose_response_is_lost_is_found(method: str) -> None:
    """The answer completes the message in the thread instead of adding another one."""
    async with SlackWorld() as world:
        ask = await asked(world, direct=method == "chat.startStream")
        world.slack.faults[method].append(Fault("lost"))
        grow = Growing(world, ask)
        await grow.to("Half ")
        await grow.to("Half an ")
        await show(world, answer(ask, "Half and whole."))
        assert seen(world, ask) == ["Half and whole."]


@pytest.mark.parametrize("code", ["message_not_found", "edit_window_closed", "msg_too_long"])
async def test_a_preview_that_cannot_be_completed_is_replaced(code: str) -> None:
    """Half an answer never remains next to the complete one."""
    async with SlackWorld() as world:
        ask = await asked(world)
        await Growing(world, ask).to("Half ")
        world.slack.faults["chat.update"].append(Fault("error", code=code))
        await show(world, answer(ask, "Half and whole."))
        assert seen(world, ask) == ["Half and whole."]


async def test_without_markdown_blocks_slack_gets_plain_text() -> None:
    """An answer without tables is better than no answer."""
    async with SlackWorld() as world:
        ask = await asked(world)
        world.slack.faults["chat.postMessage"].append(Fault("error", code="invalid_blocks"))
        await show(world, answer(ask, "a < b"))
        assert seen(world, ask) == ["a < b"]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("is_archived", Gone), ("channel_not_found", Gone), ("not_in_channel", Forbidden),
        ("restricted_action", Forbidden), ("token_revoked", Later), ("missing_scope", Later),
        ("fatal_error", Later), ("service_unavailable", Later),
    ],
)  # fmt: skip
async def test_a_refusal_decides_what_the_relay_does_next(code: str, kind: type[Exception]) -> None:
    """`Gone` and `Forbidden` are final; other refusals are retried, because they can be fixed."""
    async with SlackWorld() as world:
        ask = await asked(world)
        world.slack.always["chat.postMessage"] = Fault("error", code=code)
        with pytest.raises(kind):
            await show(world, answer(ask, "hello"))


@pytest.mark.parametrize("grown", [True, False])
async def test_a_withdrawn_answer_is_removed(grown: bool) -> None:
    """This holds even if an earlier process began it. The status line is cleared as well."""
    async with SlackWorld() as world:
        for restarted in (False, True):
            ask = await asked(world)
            if grown:
                await Growing(world, ask).to("Half ")
            if restarted:
                await world.restart()
            await world.platform.withdraw(
                answer(ask, "").model_copy(update={"outcome": "withdrawn"})
            )
            assert seen(world, ask) == []
            await world.slack.until(lambda: not world.slack.status(*where(ask)))  # noqa: B023


async def test_the_status_line_falls_back_to_the_older_api() -> None:
    """Without sessions, the older kind of status line says "is thinking" and is cleared."""
    slack = FakeSlack()
    slack.unknown = {"agents.sessions.setStatus"}
    async with SlackWorld(slack=slack) as world:
        ask = await asked(world, direct=True)
        assert world.slack.status(*where(ask)) == "is thinking..."
        await show(world, answer(ask, "hello"))
        await world.slack.until(lambda: not world.slack.status(*where(ask)))


async def test_a_status_that_is_set_late_does_not_stay() -> None:
    """Slack sets the status only after the answer is posted; it is cleared anyway."""
    async with SlackWorld() as world:
        world.slack.faults["agents.sessions.setStatus"] += [Fault("limit"), Fault("lost")]
        ask = await asked(world)
        origin = Origin.of(await world.platform._workspaces.first(), ask.address)
        world.platform._working.begin(origin, "another-prompt")
        await show(world, answer(ask, "hello"))
        world.platform._working.begin(origin, ask.id)
        await world.platform._working.settled()
        assert world.slack.status(*where(ask)) == ""


async def test_an_answer_to_a_slash_command_names_its_question() -> None:
    """A command has no thread. If the bot is not a member, the asker gets a direct message."""
    async with SlackWorld() as world:
        for member in (True, False):
            await world.slack.command("/ask", "how long?")
            ask = world.heard[-1]
            if not member:
                world.slack.member_of.discard(ROOM)
            reply = answer(ask, "Very.").model_copy(update={"prompt_text": "how long?"})
            (part,) = parts_of(reply)
            await world.platform.post(part)
            channel = ROOM if member else "DADA"
            assert world.slack.thread(channel, None) == ["> how long?\nVery."]
            await world.restart()
            if await world.platform.find_posted(part) is None:
                await world.platform.post(part)  # the adapter searches there first
            assert world.slack.thread(channel, None) == ["> how long?\nVery."]


# --- below the answer -----------------------------------------------------------------------------


async def answered(world: SlackWorld, *, direct: bool = False) -> tuple[AnyEvent, str]:
    ask = await asked(world, direct=direct)
    (receipt,) = await show(world, answer(ask, "An answer."))
    return ask, receipt.partition("/")[2]


@pytest.mark.parametrize("direct", [True, False])
async def test_buttons_work_after_a_restart(direct: bool) -> None:
    """Each click on Again asks again in the same thread; a thumb rates the answer."""
    async with SlackWorld() as world:
        ask, ts = await answered(world, direct=direct)
        channel, thread = where(ask)
        await world.restart()
        for label in ("Again", "Again", "Good answer", "Bad answer"):
            delivery = await world.slack.click(channel, ts, label)
            assert delivery.acked_at is not None
        again, another, good, bad = world.heard[1:]
        assert again.kind == another.kind == "again"
        assert again.id != another.id
        assert (again.place, again.address["thread_ts"]) == (ask.place, thread)
        assert [(e.kind, getattr(e, "thumb", "")) for e in (good, bad)] == [
            ("rate", "up"), ("rate", "down"),
        ]  # fmt: skip
        assert {e.prompt_id for e in (again, another, good, bad) if not isinstance(e, str)} == {
            ask.id
        }  # type: ignore[union-attr]
        assert {e.user for e in world.heard} == {ask.user}


async def test_a_stop_button_stops_its_own_question() -> None:
    """The button is below the growing answer, for the person who asked."""
    async with SlackWorld() as world:
        ask = await asked(world)
        await Growing(world, ask).to("Half ")
        (message,) = world.slack.bot_messages(*where(ask))
        await world.slack.click(ROOM, message["ts"], "Stop", user="UBOB")
        await world.slack.until(lambda: world.slack.told("UBOB"))
        assert len(world.heard) == 1
        await world.slack.click(ROOM, message["ts"], "Stop")
        stop = world.heard[1]
        assert (stop.kind, stop.prompt_id, stop.user) == ("stop", ask.id, ask.user)  # type: ignore[union-attr]


async def test_only_the_asker_can_use_the_buttons() -> None:
    """Other people get one notice with the reason, and nothing is published."""
    async with SlackWorld() as world:
        _, ts = await answered(world)
        for _ in range(2):
            await world.slack.click(ROOM, ts, "Again", user="UBOB")
        await world.slack.until(lambda: world.slack.told("UBOB"))
        assert len(world.slack.told("UBOB")) == 1
        assert len(world.heard) == 1


async def test_a_thumb_as_a_reaction_is_a_rating() -> None:
    """It counts from the asker on the bot's answer in any skin tone; others are ignored."""
    async with SlackWorld() as world:
        ask, ts = await answered(world)
        await world.restart()
        world.slack.react(ROOM, ts, "+1::skin-tone-3")
        (_, rate) = await world.until_heard(2)
        assert (rate.kind, rate.thumb, rate.prompt_id) == ("rate", "up", ask.id)  # type: ignore[union-attr]
        world.slack.react(ROOM, ts, "eyes")
        world.slack.react(ROOM, ts, "-1", user="UBOB")
        world.slack.react(ROOM, where(ask)[1], "+1")
        await asyncio.gather(*world.slack._tasks)
        assert len(world.heard) == 2


async def test_a_click_that_cannot_be_stored_is_not_acknowledged() -> None:
    """Slack then shows the person a warning."""
    async with SlackWorld() as world:
        _, ts = await answered(world)
        world.unavailable = 1
        world.slack.sockets.ack_s = 0.3
        delivery = await world.slack.click(ROOM, ts, "Good answer")
        assert delivery.acked_at is None


def outcomes() -> list[Outcome]:
    return ["answered", "failed", "stopped", "refused"]


@pytest.mark.parametrize("outcome", outcomes())
async def test_every_outcome_is_shown(outcome: Outcome) -> None:
    """Each outcome appears as one text in one place."""
    async with SlackWorld() as world:
        ask = await asked(world, direct=True)
        await Growing(world, ask).to("Some ")
        reply: Any = answer(ask, f"This was {outcome}.").model_copy(update={"outcome": outcome})
        await show(world, reply)
        assert seen(world, ask) == [f"This was {outcome}."]
