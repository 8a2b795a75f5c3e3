"""Users who come and go on one platform for an hour, and a check of the answers they see.

The platform and its users run in their own process, which gets commands as JSON lines. It forgets
messages minutes after they were checked, so that the fake does not grow.
"""

import asyncio
import itertools
import json
import random
import sys
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from tests.soak.words import Question, judged

PAUSE_BETWEEN_CONVERSATIONS_S: Final = 90.0
"""The average pause between two conversations of one user: long enough to be evicted."""

CONVERSATION: Final = (2, 6)
PAUSE_S: Final = (1.0, 4.0)
SOON_S: Final = (0.2, 0.8)
"""The delay of edits and stops after their question: the answer is still in progress."""

LEAVING_SHARE: Final = 1 / 3
"""The share of users who never return after a conversation, and are replaced by a new user."""

LONG, EDITS, STOPS, RESETS = 0.03, 0.03, 0.04, 0.02
KEPT_S: Final = 300.0
"""A place without messages for this long and without open questions is judged and forgotten."""

STUCK_S: Final = 120.0
"""Questions that wait longer are reported. Slack retries after one minute, and again after five."""

FIRST_NUMBERS: Final = {"slack": 1_000_000, "discord": 2_000_000, "gateway": 3_000_000}


@dataclass
class Place:
    """A place where questions are answered."""

    questions: list[Question] = field(default_factory=list)
    last: float = 0.0
    stopped: set[int] = field(default_factory=set)


class SoakUsers(ABC):
    """The users of one platform. The commands are `begin`, `status` and `finish`."""

    platform: str

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._numbers = itertools.count(FIRST_NUMBERS[self.platform])
        self._people = 0
        self._places: dict[str, Place] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._talking = True
        self._sent = 0
        self._outcomes: Counter[str] = Counter()
        self._gestures: Counter[str] = Counter()
        self._wrong: list[str] = []

    @abstractmethod
    async def start(self, **options: str) -> dict[str, str]:
        """Starts the platform. Returns the environment of its adapter."""

    @abstractmethod
    async def until_connected(self) -> None:
        """Waits until the bot receives messages."""

    @abstractmethod
    def kind(self, rng: random.Random) -> str:
        """Draws the kind of place for a conversation."""

    @abstractmethod
    async def ask(self, who: str, kind: str, where: str, text: str) -> tuple[str, Any]:
        """Asks a question, in the conversation at `where` if possible.

        Returns the place of the answer, and the message.
        """

    async def edit(self, message: Any, text: str) -> bool:
        """Changes the text of a question. Returns whether that was possible."""
        del message, text
        return False

    async def stop(self, who: str, message: Any, where: str) -> bool:
        """Stops an answer. Returns whether that was possible."""
        del who, message, where
        return False

    def stopped_with(self, question: Question, where: str) -> set[int]:
        """Returns the numbers of the questions that such a stop applies to."""
        del where
        return {question.number}

    async def reset(self, who: str, where: str) -> bool:
        """Resets the conversation. Returns whether that was possible."""
        del who, where
        return False

    @abstractmethod
    def texts(self) -> dict[str, list[str]]:
        """Returns the visible texts of the bot by place, in order."""

    @abstractmethod
    async def forget(self, where: str) -> None:
        """Removes the messages of a place, which has been judged."""

    # --- users ----------------------------------------------------------------------------------

    def newcomer(self) -> str:
        """Returns the name of a new user."""
        self._people += 1
        return f"{self._people:06d}"

    async def begin(self, people: int) -> None:
        """Starts this many users."""
        self._tasks = [asyncio.create_task(self._user_slot(number)) for number in range(people)]

    async def _user_slot(self, number: int) -> None:
        rng = random.Random(f"{self._seed}-{self.platform}-{number}")
        who = self.newcomer()
        while True:
            await asyncio.sleep(rng.expovariate(1 / PAUSE_BETWEEN_CONVERSATIONS_S))
            await self._conversation(who, rng)
            if rng.random() < LEAVING_SHARE:
                who = self.newcomer()

    async def _conversation(self, who: str, rng: random.Random) -> None:
        kind, where = self.kind(rng), ""
        for _ in range(rng.randint(*CONVERSATION)):
            if not self._talking:
                return
            question = Question(next(self._numbers), rng.random() < LONG, time.monotonic())
            gesture, soon_s = rng.random(), rng.uniform(*SOON_S)
            where, message = await self.ask(who, kind, where, question.text)
            self._note(where, question)
            if gesture < EDITS:
                await asyncio.sleep(soon_s)
                edited = await self.edit(message, f"{question.text} edited")
                self._gestures["edits"] += edited
            elif gesture < EDITS + STOPS:
                await asyncio.sleep(soon_s)
                if await self.stop(who, message, where):
                    self._places[where].stopped |= self.stopped_with(question, where)
                    self._gestures["stops"] += 1
            await asyncio.sleep(rng.uniform(*PAUSE_S))
            if self._talking and gesture > 1 - RESETS:
                self._gestures["resets"] += await self.reset(who, where)

    def asked_at(self, where: str) -> set[int]:
        """Returns the numbers of the questions in a place."""
        return {question.number for question in self._places[where].questions}

    def _note(self, where: str, question: Question) -> None:
        place = self._places.setdefault(where, Place())
        place.questions.append(question)
        place.last = time.monotonic()
        self._sent += 1

    # --- results --------------------------------------------------------------------------------

    async def finish(self) -> None:
        """Lets no user ask anything new."""
        self._talking = False

    async def status(self, *, last: bool = False) -> dict[str, Any]:
        """Returns the current counts. `last`: everything that is still missing counts as wrong."""
        now, texts = time.monotonic(), self.texts()
        outcomes, waiting, stuck = Counter(self._outcomes), list[Question](), list[str]()
        strangers = texts.keys() - self._places
        for where, place in tuple(self._places.items()):
            found = judged(place.questions, texts.get(where, ()), stopped=place.stopped)
            outcomes.update(found.outcomes.values())
            waiting += found.waiting
            settled = not found.waiting and now - place.last > KEPT_S
            if settled or last:
                self._wrong += found.wrong
            stuck += [
                f"m{question.number}x in {where} has no answer; the texts there: {texts.get(where)}"
                for question in found.waiting
                if last or now - question.asked > STUCK_S
            ]
            if settled:
                self._outcomes.update(found.outcomes.values())
                del self._places[where]
                await self.forget(where)
        if last:
            self._wrong += stuck + [f"{where}: nobody asked" for where in strangers]
        return {
            "sent": self._sent,
            "waiting": len(waiting),
            "oldest_s": max((now - question.asked for question in waiting), default=0.0),
            "stuck": stuck,
            "people": self._people,
            "outcomes": outcomes,
            "gestures": self._gestures,
            "wrong": self._wrong,
        }


class Controlled(Protocol):
    """The object that `run` controls. Its other methods are the commands."""

    async def start(self, **options: str) -> Any:
        """Starts it. Returns the first line to print."""


async def run(target: Controlled, options: list[str]) -> None:
    """Carries out commands from standard input until it ends. `options`: `name=value` each."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    _print(await target.start(**dict(_options(options))))
    while line := await reader.readline():
        command: dict[str, Any] = json.loads(line)
        _print(await getattr(target, command.pop("do"))(**command))


def _options(options: list[str]) -> Iterator[tuple[str, str]]:
    for option in options:
        name, _, value = option.partition("=")
        yield name, value


def _print(answer: Any) -> None:
    print(json.dumps(answer), flush=True)  # noqa: T201
