"""A user is forgotten: nothing that they said is left in any file, and others lose nothing."""

import asyncio
import base64
import random
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import nats.js.errors
import pytest

from dataflow.erasing.erasing import DONE
from dataflow.eviction.store import FILE, UNREADABLE_FOLDER
from ops.nats_server import NatsServer
from shared import names
from shared.blobs import put_blob
from shared.bus import Bus
from shared.messages import Attachment, Configure, Deleted, Edited, Forget, Quote, Rate, Reply
from tests.fakes.model import FakeModel
from tests.running import Running, answer_to, dataflow, direct, question

MARKER = "Krähenfuß-7391"
OTHERS = "Zaunkönig-2846"
PIXEL = b"\x89PNG\r\n\x1a\n" + MARKER.encode() * 1000
EVICT_S = 2
PLACES = ("PROMPTS", "REPLIES", "BLOBS", "DLQ", "recovery/part", UNREADABLE_FOLDER, FILE)
"""Parts of the paths of the files that contain a person's words before they are forgotten."""


def spellings(marker: str) -> set[bytes]:
    """The marker as it may be stored: as UTF-8, in JSON escapes, and in base64 at any offset."""
    raw = marker.encode()
    shifted = (base64.b64encode(b"\0" * n + raw)[(0, 2, 3)[n] : -4] for n in range(3))
    return {raw, marker.encode("unicode_escape").replace(b"\\x", b"\\u00"), *shifted}


def files_with(folder: Path, marker: str) -> list[str]:
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and any(spelling in path.read_bytes() for spelling in spellings(marker))
    )


class World:
    """A server and a dataflow in one folder, and what two people say there."""

    def __init__(self, nats: NatsServer, bus: Bus, model: FakeModel, folder: Path) -> None:
        self.bus, self.model, self.folder, self.nats = bus, model, folder, nats
        self.recovery = folder / "home" / "dataflow" / "recovery"
        self.flow: Running = dataflow(
            folder / "home", nats.url, model.base_url, THREADWAX_EVICT_AFTER_S=str(EVICT_S)
        )
        model.reply = lambda request: f"I repeat: {request['messages'][-1]['content']}"

    async def start(self) -> None:
        self.flow.log.unlink(missing_ok=True)
        self.flow.start()
        await self.flow.ready()

    async def says_everything(self, name: str, marker: str) -> None:
        """The marker in every kind of place: some are answered, some cannot be read."""
        user, now = names.user_of("test", name), datetime.now(UTC)
        where = {"user": user, "place": direct(name), "said_at": now}
        await put_blob(self.bus, f"test-{name}-picture", marker.encode() * 1000, user=user)
        picture = Attachment(name=f"{marker}.png", media_type="image/png",
                             blob=f"test-{name}-picture")  # fmt: skip
        notes = Attachment(name="notes.txt", media_type="text/plain", text=f"notes {marker}")
        await answer_to(self.bus, question(
            name, 1, f"question {marker}", attachments=(picture, notes),
            persona=f"You are {marker}", quotes=(Quote(author="Bob", text=f"quote {marker}"),),
        ))  # fmt: skip
        for number in range(2, 12):
            await answer_to(self.bus, question(name, number, f"{number} {marker} " * 40))
        asked = f"{name}-2"
        await answer_to(self.bus, Edited(
            id=f"{name}-e", prompt_id=asked, text=f"edited {marker}", ask_again=True, **where,
        ))  # fmt: skip
        await self.bus.publish(Rate(id=f"{name}-r", prompt_id=asked, thumb="down", **where))
        await self.bus.publish(Deleted(id=f"{name}-d", prompt_id=f"{name}-3", **where))
        await self.bus.publish(Configure(id=f"{name}-c", settings={"tone": marker}, **where))
        broken = b'{"v": 1, "kind": "sing", "text": "' + marker.encode() + b'"}'
        await self.bus.js.publish(names.prompt_subject(user), broken)
        await self.bus.dead_letter(
            subject=names.reply_subject(user, asked), data=marker.encode(), reason="not shown"
        )
        folder = self.recovery / UNREADABLE_FOLDER
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.json").write_text(f'{{"user":"{user}","words":"{marker}"}}')
        async with asyncio.timeout(30):
            while len((await self.messages(name))[names.DLQ]) < 2:
                await asyncio.sleep(0.05)

    async def forget(self, name: str, number: int = 1) -> Reply:
        return await answer_to(self.bus, self.forget_event(name, number), timeout_s=60)

    def forget_event(self, name: str, number: int = 1) -> Forget:
        return Forget(
            id=f"{name}-forget-{number}", user=names.user_of("test", name), place=direct(name),
            said_at=datetime.now(UTC),
        )  # fmt: skip

    async def messages(self, name: str) -> dict[str, list[tuple[str, bytes]]]:
        """Everything that the streams have of a user."""
        found: dict[str, list[tuple[str, bytes]]] = {}
        for stream, subject in (
            (names.PROMPTS, f"p.*.test.{name}"),
            (names.REPLIES, f"replies.test.{name}.*"),
            (names.DLQ, f"dlq.p.*.test.{name}"),
            (names.DLQ, f"dlq.replies.test.{name}.*"),
            (names.BLOBS, f"blobs.test.test-{name}-picture.*"),
        ):
            sequence = 1
            found.setdefault(stream, [])
            while True:
                try:
                    message = await self.bus.js.get_msg(
                        stream, seq=sequence, subject=subject, next=True
                    )
                except nats.js.errors.NotFoundError:
                    break
                found[stream].append((message.subject or "", message.data or b""))
                sequence = (message.seq or 0) + 1
        return found


@pytest.fixture
async def world(
    nats: NatsServer, bus: Bus, fake_model: FakeModel, tmp_path: Path
) -> AsyncIterator[World]:
    world = World(nats, bus, fake_model, tmp_path)
    await world.start()
    yield world
    world.flow.kill()


async def test_nothing_is_left_of_a_forgotten_user(world: World) -> None:
    """In any store; and nothing of another user is lost."""
    await world.says_everything("ada", MARKER)
    await world.says_everything("bob", OTHERS)
    before = await world.messages("bob")
    async with asyncio.timeout(20):
        while not all(place in " ".join(files_with(world.folder, MARKER)) for place in PLACES):
            await asyncio.sleep(0.2)
    reply = await world.forget("ada")
    assert (reply.outcome, reply.text) == ("answered", DONE)
    assert reply.erased is not None
    assert files_with(world.folder, MARKER) == []
    assert await world.messages("bob") == before
    await answer_to(world.bus, question("bob", 99, "what did I say?"))
    assert OTHERS in str(world.model.requests[-1]["messages"])
    await answer_to(world.bus, question("ada", 99, "who am I?"))
    assert len(world.model.requests[-1]["messages"]) == 2


async def test_pending_questions_are_withdrawn_without_words(world: World) -> None:
    """The question in progress, and the one that waits for it: each has a journaled reply."""
    world.model.delay_s = 30
    asked = [question("ada", number, f"{number} {MARKER}") for number in (1, 2)]
    for ask in asked:
        await world.bus.publish(ask)
    async with asyncio.timeout(20):
        while not world.model.requests:
            await asyncio.sleep(0.05)
    reply = await world.forget("ada")
    assert reply.outcome == "answered"
    for ask in asked:
        stored = await world.bus.stored_reply(ask.user, ask.id)
        assert stored is not None
        assert (stored.reply.outcome, stored.reply.prompt_text) == ("withdrawn", "")
    assert files_with(world.folder, MARKER) == []
    world.model.delay_s = 0
    await answer_to(world.bus, question("ada", 3, "hello"))


async def test_a_question_that_comes_again_is_not_answered_again(world: World) -> None:
    """The server has lost its list of ids: a platform's redelivery is stored once more."""
    first = question("ada", 1, f"hello {MARKER}")
    await answer_to(world.bus, first)
    await world.forget("ada")
    await world.bus.js.publish(names.prompt_subject(first.user), first.wire())
    again = await world.bus.reply_when_stored(first.user, first.id, timeout_s=20)
    assert again is not None
    assert (again.outcome, again.text, again.prompt_text) == ("withdrawn", "", "")
    assert len(world.model.requests) == 1


async def test_an_operator_forgets_silently(world: World) -> None:
    await answer_to(world.bus, question("ada", 1, MARKER))
    silent = world.forget_event("ada").model_copy(update={"silent": True})
    reply = await answer_to(world.bus, silent, timeout_s=60)
    assert (reply.outcome, reply.text) == ("withdrawn", "")
    assert reply.erased is not None
    assert files_with(world.folder, MARKER) == []


async def test_a_choice_about_privacy_outlives_it(world: World) -> None:
    where = {"user": names.user_of("test", "ada"), "place": direct("ada")}
    no = Configure(
        id="ada-c", settings={"training": "no"}, said_at=datetime.now(UTC), **where,
    )  # fmt: skip
    await world.bus.publish(no)
    await world.forget("ada")
    kept = (await world.messages("ada"))[names.PROMPTS]
    assert [b"training" in data for _, data in kept] == [True, False]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", range(4))
async def test_a_killed_flow_goes_on_forgetting(world: World, seed: int) -> None:
    """Whenever it is killed; then the whole stream is read again by an empty store."""
    random_ = random.Random(seed)
    await world.says_everything("ada", MARKER)
    await world.says_everything("bob", OTHERS)
    before = await world.messages("bob")
    event = world.forget_event("ada")
    await world.bus.publish(event)
    for _ in range(6):
        await asyncio.sleep(random_.uniform(0, 1.5))
        world.flow.kill()
        await world.start()
    reply = await world.bus.reply_when_stored(event.user, event.id, timeout_s=60)
    assert reply is not None
    assert files_with(world.folder, MARKER) == []
    assert await world.messages("bob") == before
    world.flow.kill()
    world.nats.kill()
    world.nats.start()
    await world.start()
    await answer_to(world.bus, question("ada", 98, "who am I?"))
    assert len(world.model.requests[-1]["messages"]) == 2
    world.flow.kill()
    shutil.rmtree(world.recovery)
    await world.start()
    await answer_to(world.bus, question("ada", 99, "and now?"))
    assert len(world.model.requests[-1]["messages"]) == 4
    assert files_with(world.folder, MARKER) == []
    assert await world.messages("bob") == before
