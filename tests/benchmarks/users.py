"""The users of a fake platform, in the platform's process, controlled from outside.

A command is a JSON line on standard input. Its result is a JSON line on standard output: for each
question's text, the times when it was asked and when its whole answer was visible.
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


class PlatformUsers(ABC):
    """The commands are `one_by_one`, `at_once`, `often` and `until_connected`."""

    def __init__(self, whole_answer: str) -> None:
        self.whole_answer = whole_answer
        self._answered: defaultdict[str, asyncio.Future[float]] = defaultdict(
            lambda: asyncio.get_running_loop().create_future()
        )

    @abstractmethod
    async def start(self) -> dict[str, str]:
        """Starts the platform. Returns the environment of its bot."""

    @abstractmethod
    async def until_connected(self) -> None:
        """Waits until the bot receives messages."""

    @abstractmethod
    async def say(self, user: int, text: str) -> str:
        """Sends a user's question. Returns the place of the answer."""

    def see(self, where: str, text: str) -> None:
        """Takes a new text of the bot in this place."""
        if text.strip() == self.whole_answer and not self._answered[where].done():
            self._answered[where].set_result(time.monotonic())

    async def ask(self, user: int, text: str) -> tuple[float, float]:
        """Asks, and returns when the question was asked and when it was answered."""
        asked = time.monotonic()
        where = await self.say(user, text)
        return asked, await self._answered[where]

    async def one_by_one(self, prefix: str, count: int) -> dict[str, tuple[float, float]]:
        """Each question comes from another user, after the previous one was answered."""
        return {f"{prefix} {n}": await self.ask(n, f"{prefix} {n}") for n in range(count)}

    async def at_once(self, prefix: str, users: int) -> dict[str, tuple[float, float]]:
        """All users ask at the same moment."""
        texts = [f"{prefix} {n}" for n in range(users)]
        times = await asyncio.gather(*(self.ask(n, text) for n, text in enumerate(texts)))
        return dict(zip(texts, times, strict=True))

    async def often(self, prefix: str, users: int, each: int) -> dict[str, tuple[float, float]]:
        """Each user asks again after every answer."""
        times: dict[str, tuple[float, float]] = {}

        async def one(user: int) -> None:
            for number in range(each):
                text = f"{prefix} {user}-{number}"
                times[text] = await self.ask(user, text)

        await asyncio.gather(*map(one, range(users)))
        return times


async def run(users: PlatformUsers) -> None:
    """Carries out commands until standard input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    _print(await users.start())
    while line := await reader.readline():
        command: dict[str, Any] = json.loads(line)
        async with asyncio.timeout(PATIENCE_S):
            _print(await getattr(users, command.pop("do"))(**command))


def _print(answer: Any) -> None:
    print(json.dumps(answer), flush=True)  # noqa: T201


def whole_answer() -> str:
    """Returns the model's answer, which is given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("whole_answer")
    return str(parser.parse_args().whole_answer)
