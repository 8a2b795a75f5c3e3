"""A question says that it is being sent until it is stored: a crash before that would lose it."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bots.platform import Part
from bots.web.events import turn_of
from bots.web.platform import Web
from bots.web.server import Server
from bots.web.settings import WebSettings
from bots.web.turns import SENDING, Finished, Growing
from shared.messages import AnyEvent, Ask, Place
from shared.replies import Partial, Reply

PLACE = Place(platform="web", channel="web", thread="c1", audience="direct")
ASKED = Ask(id="q1", user="web:ada", place=PLACE, said_at=datetime.now(UTC), text="hello")
SHOWN_WITHIN_S = 10.0


class Stream:
    """Where questions are published; stores nothing until it is opened."""

    def __init__(self, home: Path) -> None:
        self.stored = asyncio.Event()
        self.asked = asyncio.Event()
        settings = WebSettings(port=0)
        self.server = Server(settings, home)
        self.web = Web(
            settings, self.publish, server=self.server,
            store_files=self.unused, fetch_turns=self.unused,
        )  # fmt: skip

    async def publish(self, _: AnyEvent) -> bool:
        self.asked.set()
        return await self.stored.wait()

    async def close(self) -> None:
        await self.web.close()
        self.server._socket.close()

    async def unused(self, *_: Any) -> Any:
        raise AssertionError

    def answer(self) -> object:
        turn = self.web.person("web:ada").turn("q1")
        return turn and turn.answer

    async def until(self, answer: Growing) -> None:
        async with asyncio.timeout(SHOWN_WITHIN_S):
            while self.answer() != answer:
                await asyncio.sleep(0.01)


async def test_a_question_is_marked_until_it_is_stored(tmp_path: Path) -> None:
    stream = Stream(tmp_path)
    turn = turn_of(ASKED)
    assert turn.answer == Growing(status=SENDING)
    stream.web.ask(turn, ASKED)
    await stream.asked.wait()
    assert stream.answer() == Growing(status=SENDING)
    stream.stored.set()
    await stream.until(Growing())
    await stream.close()


async def test_an_answer_that_comes_before_the_acknowledgement_stays(tmp_path: Path) -> None:
    stream = Stream(tmp_path)
    stream.web.ask(turn_of(ASKED), ASKED)
    await stream.asked.wait()
    partial = Partial(
        prompt_id="q1", user="web:ada", place=PLACE, text="hi", attempt=1, sequence=0
    )  # fmt: skip
    await stream.web.show_partial(partial)
    stream.stored.set()
    await stream.close()
    assert stream.answer() == Growing("hi", newest=(1, 0))


async def test_an_answer_that_came_meanwhile_stays_if_its_question_is_sent_again(
    tmp_path: Path,
) -> None:
    """NATS stored the question at the first attempt, although it did not say so in time."""
    stream = Stream(tmp_path)
    turn = turn_of(ASKED)
    reply = Reply(
        prompt_id="q1", user="web:ada", place=PLACE, outcome="answered", text="hi",
        said_at=ASKED.said_at, answered_at=datetime.now(UTC),
    )  # fmt: skip
    stream.web.person("web:ada").put(turn)
    await stream.web.post(Part(reply, "hi", 0, 1))
    stream.web.ask(turn, ASKED)
    stream.stored.set()
    await asyncio.sleep(0)
    await stream.close()
    assert stream.answer() == Finished("hi", "answered")
