"""Users on the bus: they publish questions and watch for replies."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from nats.aio.msg import Msg

from shared.bus import Bus
from shared.messages import Ask
from shared.replies import Partial
from tests.running import question

ARRIVE_WITHIN_S = 1.0
"""Users start within this time.

Users who start together stay together, because the model takes equally long for each.
"""

TURNS = 20
"""Questions per user, as in an ordinary conversation."""


@dataclass
class People:
    """Watches replies on the bus, and first partials if asked to."""

    bus: Bus
    _waiting: dict[str, asyncio.Future[float]] = field(default_factory=dict)
    _first: dict[str, float] = field(default_factory=dict)

    async def watch(self, *, partials: bool) -> None:
        async def reply(message: Msg) -> None:
            future = self._waiting.pop(message.subject.rsplit(".", 1)[1], None)
            if future is not None and not future.done():
                future.set_result(time.monotonic())

        async def partial(message: Msg) -> None:
            now = time.monotonic()
            self._first.setdefault(Partial.model_validate_json(message.data).prompt_id, now)

        await self.bus.client.subscribe(
            "replies.>", cb=reply, pending_msgs_limit=-1, pending_bytes_limit=-1
        )
        if partials:
            await self.bus.watch("partials.>", partial)

    async def ask(self, ask: Ask) -> tuple[float, float | None]:
        """Publishes a question as adapters do.

        Returns the seconds to the reply and to the first partial.
        """
        future = self._waiting[ask.id] = asyncio.get_running_loop().create_future()
        started = time.monotonic()
        await self.bus.publish(ask)
        done = await future
        first = self._first.pop(ask.id, None)
        return done - started, None if first is None else first - started

    async def seen_and_stored(self, ask: Ask) -> tuple[float, float]:
        """Returns when the reply was seen, and when the PubAck of the question arrived."""
        future = self._waiting[ask.id] = asyncio.get_running_loop().create_future()
        await self.bus.publish(ask)
        stored = time.monotonic()
        return await future, stored


@asynccontextmanager
async def people(nats_url: str, *, partials: bool = False) -> AsyncIterator[People]:
    """Connects the users to the bus."""
    bus = await Bus.connect(nats_url, name="people")
    try:
        found = People(bus)
        await found.watch(partials=partials)
        yield found
    finally:
        await bus.close()


async def one_by_one(
    them: People, prefix: str, count: int, *, warm_up: int = 30, text: str = "hello"
) -> list[float]:
    """Returns seconds from prompt to reply, one at a time, with up to `TURNS` turns per user."""
    for number in range(warm_up):
        await them.ask(question(f"{prefix}warm", number, "hello"))
    return [
        (await them.ask(question(f"{prefix}{number // TURNS}", number, text)))[0]
        for number in range(count)
    ]


async def all_at_once(them: People, prefix: str, users: int) -> list[float]:
    """All users ask one question at the same moment."""
    asks = [question(f"{prefix}{n}", 0, f"{prefix} {n}") for n in range(users)]
    return [took_s for took_s, _ in await asyncio.gather(*map(them.ask, asks))]


async def again_and_again(
    them: People, prefix: str, users: int, seconds: float, *, warm_up_s: float
) -> "Busy":
    """Each user asks again after every answer.

    The users start one after another within a second, and are replaced by new users after `TURNS`
    turns. Answers during the warm-up do not count.
    """
    begin = time.monotonic() + warm_up_s
    end = begin + seconds
    took: list[float] = []
    counted = [0]

    async def one(slot: int) -> None:
        await asyncio.sleep(slot / users * ARRIVE_WITHIN_S)
        number = 0
        while time.monotonic() < end:
            ask = question(f"{prefix}{slot}-{number // TURNS}", number, f"{prefix} {slot} {number}")
            needed, _ = await them.ask(ask)
            counted[0] += 1
            if begin <= time.monotonic() < end:
                took.append(needed)
            number += 1

    await asyncio.gather(*map(one, range(users)))
    return Busy(took, counted[0], seconds)


@dataclass(frozen=True)
class Busy:
    """The answers of a closed loop."""

    took: list[float]
    all: int
    """All answers, including those of the warm-up and after the end."""
    seconds: float

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.took) / self.seconds


async def in_turns(
    count: int, kinds: dict[str, Callable[[str, int], Awaitable[float]]]
) -> dict[str, list[float]]:
    """Runs the kinds alternately, so that noise on the machine affects all of them equally."""
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(count):
        for kind, once in kinds.items():
            found[kind].append(await once(kind, number))
    return found
