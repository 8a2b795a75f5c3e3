"""People, as the bus sees them: their questions go in, their replies are seen."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from nats.aio.msg import Msg

from shared.bus import Bus
from shared.messages import Ask, Partial
from tests.running import question

ARRIVE_WITHIN_S = 1.0
"""Who asks in the same moment once, with a model that takes as long for each, does so for ever."""

TURNS = 20
"""Questions of one user in a row, as people's conversations have."""


@dataclass
class People:
    """Sees replies, and on request the first partials, as they pass on the bus."""

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
        """Seconds to the reply, and to the first partial; published as an adapter does."""
        future = self._waiting[ask.id] = asyncio.get_running_loop().create_future()
        started = time.monotonic()
        await self.bus.publish(ask)
        done = await future
        first = self._first.pop(ask.id, None)
        return done - started, None if first is None else first - started

    async def seen_and_stored(self, ask: Ask) -> tuple[float, float]:
        """When the reply was seen, and when the question's PubAck came."""
        future = self._waiting[ask.id] = asyncio.get_running_loop().create_future()
        await self.bus.publish(ask)
        stored = time.monotonic()
        return await future, stored


@asynccontextmanager
async def people(nats_url: str, *, partials: bool = False) -> AsyncIterator[People]:
    """A connection of their own."""
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
    """Prompt to reply, one at a time, in conversations of up to `TURNS` turns."""
    for number in range(warm_up):
        await them.ask(question(f"{prefix}warm", number, "hello"))
    return [
        (await them.ask(question(f"{prefix}{number // TURNS}", number, text)))[0]
        for number in range(count)
    ]


async def all_at_once(them: People, prefix: str, users: int) -> list[float]:
    """Each of so many users asks one question in the same moment."""
    asks = [question(f"{prefix}{n}", 0, f"{prefix} {n}") for n in range(users)]
    return [took_s for took_s, _ in await asyncio.gather(*map(them.ask, asks))]


async def again_and_again(
    them: People, prefix: str, users: int, seconds: float, *, warm_up_s: float
) -> "Busy":
    """Each user asks anew as soon as there is an answer.

    They come one after another within a second; after `TURNS` turns somebody else sits down. What
    is answered in the warm-up does not count.
    """
    begin = time.monotonic() + warm_up_s
    end = begin + seconds
    took: list[float] = []
    counted = [0]

    async def one(seat: int) -> None:
        await asyncio.sleep(seat / users * ARRIVE_WITHIN_S)
        number = 0
        while time.monotonic() < end:
            ask = question(f"{prefix}{seat}-{number // TURNS}", number, f"{prefix} {seat} {number}")
            needed, _ = await them.ask(ask)
            counted[0] += 1
            if begin <= time.monotonic() < end:
                took.append(needed)
            number += 1

    await asyncio.gather(*map(one, range(users)))
    return Busy(took, counted[0], seconds)


@dataclass(frozen=True)
class Busy:
    """What was answered in a closed loop."""

    took: list[float]
    all: int
    """With those of the warm-up and of the end."""
    seconds: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.took) / self.seconds


async def in_turns(
    count: int, kinds: dict[str, Callable[[str, int], Awaitable[float]]]
) -> dict[str, list[float]]:
    """Runs each kind in turn, so that noise of the machine falls on all alike."""
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(count):
        for kind, once in kinds.items():
            found[kind].append(await once(kind, number))
    return found
