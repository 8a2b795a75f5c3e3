"""People on a fake platform, in the platform's own process, ordered about from outside.

An order is a line of JSON on standard input, its answer a line on standard output: for each
question's text when it was asked and when its whole answer stood there.
"""

import argparse
import asyncio
import json
import sys
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from typing import Any, Final

PATIENCE_S: Final = 120.0


class Town(ABC):
    """Orders are its methods `one_by_one`, `at_once`, `often` and `until_connected`."""

    def __init__(self, whole_answer: str) -> None:
        self.whole_answer = whole_answer
        self._answered: defaultdict[str, asyncio.Future[float]] = defaultdict(
            lambda: asyncio.get_running_loop().create_future()
        )

    @abstractmethod
    async def start(self) -> dict[str, str]:
        """Starts the platform; the environment of a bot there."""

    @abstractmethod
    async def until_connected(self) -> None:
        """Until the bot hears what is said."""

    @abstractmethod
    async def say(self, user: int, text: str) -> str:
        """A person asks the bot; where its answer will stand."""

    def see(self, where: str, text: str) -> None:
        """Something of the bot's stands there now."""
        if text.strip() == self.whole_answer and not self._answered[where].done():
            self._answered[where].set_result(time.monotonic())

    async def ask(self, user: int, text: str) -> tuple[float, float]:
        """When it was asked, and when answered."""
        asked = time.monotonic()
        where = await self.say(user, text)
        return asked, await self._answered[where]

    async def one_by_one(self, prefix: str, count: int) -> dict[str, tuple[float, float]]:
        """One person a question, each asking when the one before has an answer."""
        return {f"{prefix} {n}": await self.ask(n, f"{prefix} {n}") for n in range(count)}

    async def at_once(self, prefix: str, users: int) -> dict[str, tuple[float, float]]:
        """So many people in the same moment."""
        texts = [f"{prefix} {n}" for n in range(users)]
        times = await asyncio.gather(*(self.ask(n, text) for n, text in enumerate(texts)))
        return dict(zip(texts, times, strict=True))

    async def often(self, prefix: str, users: int, each: int) -> dict[str, tuple[float, float]]:
        """So many people, each asking anew as soon as there is an answer."""
        times: dict[str, tuple[float, float]] = {}

        async def one(user: int) -> None:
            for number in range(each):
                text = f"{prefix} {user}-{number}"
                times[text] = await self.ask(user, text)

        await asyncio.gather(*map(one, range(users)))
        return times


async def run(town: Town) -> None:
    """Obeys until the orders end."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    _tell(await town.start())
    while line := await reader.readline():
        order: dict[str, Any] = json.loads(line)
        async with asyncio.timeout(PATIENCE_S):
            _tell(await getattr(town, order.pop("do"))(**order))


def _tell(answer: Any) -> None:
    print(json.dumps(answer), flush=True)  # noqa: T201


def whole_answer() -> str:
    """What the model will say, as the command line tells it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("whole_answer")
    return str(parser.parse_args().whole_answer)
