"""Pictures on their way from the stream of files to the model: complete, limited and in order."""

import asyncio
import base64
import os
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from dataflow import images as pictures_module
from dataflow.answering import Answering
from dataflow.effects import CallModel, Cancel
from dataflow.images import GONE, QUESTION_LIMIT_BYTES, TOO_MANY, UNREADABLE, Images
from dataflow.journal_capacity import JournalCapacity
from dataflow.model.client import ModelClient
from dataflow.model.dialects import DIALECTS
from dataflow.model.endpoint import Endpoint
from dataflow.model.errors import NOTICES
from dataflow.request import Request
from shared import names
from shared.blobs import BLOB_LIMIT_BYTES, PIECE_BYTES, PIECES_HEADER, put_blob
from shared.bus import Bus
from shared.messages import Attachment
from shared.replies import Reply
from tests.fakes.model import FakeModel, Fault
from tests.running import question

MIB = 1 << 20
WORDS = "what is this?"


class World:
    """Stores pictures and asks about them, without a dataflow."""

    def __init__(self, bus: Bus, fake: FakeModel, model: ModelClient) -> None:
        self.bus = bus
        self.fake = fake
        self.answering = Answering(bus, model, JournalCapacity(bus))

    def limit(self, **limits: Any) -> None:
        self.answering._images = Images(self.bus, **limits)

    async def store(self, *sizes: int) -> list[bytes]:
        """Stores pictures 0, 1, ... with these sizes."""
        stored = [os.urandom(size) for size in sizes]
        for number, data in enumerate(stored):
            await put_blob(self.bus, f"test-{number}", data)
        return stored

    def ask(self, name: str, *numbers: int) -> "asyncio.Task[Reply]":
        """Asks about these pictures and returns the reply."""
        attachments = tuple(
            Attachment(name=f"{n}.png", media_type="image/png", blob=f"test-{n}") for n in numbers
        )
        ask = question(name, 0, WORDS, attachments=attachments)
        system = {"role": "system", "content": "s"}
        request = Request((system, {"role": "user", "content": WORDS}), 10)
        replied: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        effect = CallModel(ask, request, check_journal=False)
        self.answering.take(
            [(ask.user, effect)], lambda _, journaled: replied.set_result(journaled.reply)
        )
        return asyncio.create_task(_within(replied))

    def stop(self, name: str) -> None:
        ask = question(name, 0, WORDS)
        self.answering.take([(ask.user, Cancel(ask.id, "stopped"))], lambda *_: None)

    def seen(self, request: int = -1) -> list[bytes | str]:
        """The pictures (as bytes) and the texts of a request to the model."""
        content = self.fake.requests[request]["messages"][-1]["content"]
        return [_part(part) for part in content]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.01)


async def _within(replied: "asyncio.Future[Reply]") -> Reply:
    async with asyncio.timeout(60):
        return await replied


def _part(part: dict[str, Any]) -> bytes | str:
    if part["type"] == "text":
        return str(part["text"])
    head, _, data = part["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    return base64.b64decode(data, validate=True)


@pytest.fixture
async def world(bus: Bus, fake_model: FakeModel) -> AsyncIterator[World]:
    model = ModelClient(
        lambda: Endpoint(fake_model.base_url, "key", "fake", DIALECTS["vllm"]),
        answer_tokens=50, give_up_after_s=20.0, silence_s=20.0, rng=random.Random(1),
    )  # fmt: skip
    fake_model.reply = lambda _: "a cat"
    yield World(bus, fake_model, model)
    await model.close()


@pytest.mark.parametrize(
    "sizes",
    [
        [0], [1], [2], [3], [300_000, 7], [PIECE_BYTES], [PIECE_BYTES + 1], [2 * PIECE_BYTES + 2],
        [BLOB_LIMIT_BYTES],
    ],
    ids=str,
)  # fmt: skip
async def test_pictures_arrive_as_they_were_stored(world: World, sizes: list[int]) -> None:
    """Pictures are encoded piece by piece. The request has a length, which every server accepts."""
    stored = await world.store(*sizes)
    assert (await world.ask("ada", *range(len(sizes)))).text == "a cat"
    assert world.seen() == [WORDS, *stored]
    assert int(world.fake.headers[-1]["Content-Length"]) > sum(sizes)
    assert "Transfer-Encoding" not in world.fake.headers[-1]


async def test_a_retry_sends_the_same_pictures(world: World) -> None:
    """The retries follow a temporary error and an answer that broke off."""
    (stored,) = await world.store(PIECE_BYTES + 5)
    world.fake.faults += [Fault(status=503), Fault(kind="cut")]
    assert (await world.ask("ada", 0)).outcome == "answered"
    assert [world.seen(number) for number in range(3)] == [[WORDS, stored]] * 3


async def test_the_first_pictures_that_fit_are_sent(world: World) -> None:
    """Omitted pictures are named in their places. A small one after a large one can still fit."""
    first, second, _, small = await world.store(7 * MIB, 6 * MIB, 2 * MIB, MIB)
    assert (await world.ask("ada", 0, 1, 2, 3)).outcome == "answered"
    assert world.seen() == [WORDS, first, second, TOO_MANY.format(name="2.png"), small]
    assert len(first + second + small) <= QUESTION_LIMIT_BYTES


async def test_ten_large_pictures_fit_every_provider(world: World) -> None:
    """The smallest request limit of the large providers is 20 MB."""
    await world.store(*[BLOB_LIMIT_BYTES] * 10)
    assert (await world.ask("ada", *range(10))).outcome == "answered"
    assert int(world.fake.headers[-1]["Content-Length"]) < 20_000_000
    assert world.seen().count(TOO_MANY.format(name="9.png")) == 1


async def test_reading_a_blob_stops_at_its_stated_size(world: World) -> None:
    """Another program may have stored a blob with wrong counts."""
    for name, count in [("test-0", "999999"), ("test-1", "many"), ("test-2", "-3")]:
        headers = {PIECES_HEADER: count}
        await world.bus.js.publish(f"blobs.test.{name}.0", b"x", headers=headers)
    assert (await world.ask("ada", 0, 1, 2)).outcome == "answered"
    assert world.seen() == [WORDS, TOO_MANY.format(name="0.png"), b"x", b"x"]


async def test_the_model_is_told_which_pictures_cannot_be_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture expires after a week, or the stream is deleted. Neither may block the question."""
    (stored,) = await world.store(10)
    assert (await world.ask("ada", 5, 0)).outcome == "answered"
    assert world.seen() == [WORDS, GONE.format(name="5.png"), stored]
    monkeypatch.setattr(pictures_module, "READ_S", 1.0)
    await world.bus.js.delete_stream(names.BLOBS)
    assert (await world.ask("bob", 0, 5)).outcome == "answered"
    assert world.seen() == [WORDS, *(UNREADABLE.format(name=f"{n}.png") for n in (0, 5))]


# --- the byte budget ------------------------------------------------------------------------------


async def test_questions_with_pictures_wait_for_room_and_others_do_not(world: World) -> None:
    """Questions with pictures wait in order; a stopped one no longer waits."""
    await world.store(MIB)
    world.limit(in_flight_bytes=BLOB_LIMIT_BYTES)
    world.fake.always = Fault(kind="stall")  # it reads the request but does not respond
    first = world.ask("first", 0)
    # Its picture takes less than was reserved, but too little is left for another one.
    await world.until(lambda: len(world.fake.requests) == 1)
    second, third = world.ask("second", 0), world.ask("third", 0)
    world.fake.always = None
    assert (await world.ask("words")).outcome == "answered"
    world.stop("second")
    assert (await second).outcome == "stopped"
    assert not third.done()
    assert len(world.fake.requests) == 2
    world.stop("first")
    assert (await first).outcome == "stopped"
    assert (await third).outcome == "answered"
    assert (await world.ask("fourth", 0)).outcome == "answered"


async def test_pictures_make_room_when_the_model_begins_to_answer(world: World) -> None:
    """After the first text nothing is sent again, so a long answer does not block others."""
    await world.store(MIB)
    world.limit(in_flight_bytes=BLOB_LIMIT_BYTES)
    world.fake.reply = lambda _: "word " * (200 if len(world.fake.requests) == 1 else 1)
    world.fake.piece_chars, world.fake.pause_s = 5, 0.02
    long = world.ask("long", 0)
    await world.until(lambda: bool(world.fake.requests))
    assert (await world.ask("short", 0)).outcome == "answered"
    assert not long.done()
    world.stop("long")
    assert (await long).outcome == "stopped"


@pytest.mark.parametrize("fault", [Fault(status=400), Fault(status=401), Fault(status=413)])
async def test_a_failed_question_makes_room_for_others(world: World, fault: Fault) -> None:
    await world.store(MIB)
    world.limit(in_flight_bytes=BLOB_LIMIT_BYTES)
    world.fake.always = fault
    assert (await world.ask("ada", 0)).outcome == "failed"
    world.fake.always = None
    assert (await world.ask("bob", 0)).outcome == "answered"


async def test_a_question_that_waits_too_long_gets_a_notice(world: World) -> None:
    """If the model hangs, people must not wait forever."""
    await world.store(MIB)
    world.limit(in_flight_bytes=BLOB_LIMIT_BYTES, wait_s=0.5)
    world.fake.always = Fault(kind="stall")
    first = world.ask("first", 0)
    await world.until(lambda: len(world.fake.requests) == 1)
    reply = await world.ask("second", 0)
    assert (reply.outcome, reply.text) == ("failed", NOTICES["many pictures"])
    world.stop("first")
    await first


async def test_a_request_that_is_too_large_gets_its_own_notice(world: World) -> None:
    """The notice does not say that the model cannot read pictures.

    nginx accepts 1 MB by default, and refuses a larger request while it is still being sent.
    """
    await world.store(10 * MIB)
    port = world.fake.port
    await world.fake.stop()
    world.fake.body_limit = 1_000_000
    await world.fake.start(port)
    assert (await world.ask("ada", 0)).text == NOTICES["too large"]
