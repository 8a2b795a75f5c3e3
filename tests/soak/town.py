"""People who come and go on one platform for an hour, and what stands there as their answers.

The platform and its people are a process, ordered about by lines of JSON. It forgets what was
settled minutes ago, so that it is not the fake that grows.
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

AWAY_S: Final = 90.0
"""On average, between two talks of one person: longer than it takes to come to rest."""

TALK: Final = (2, 6)
PAUSE_S: Final = (1.0, 4.0)
SOON_S: Final = (0.2, 0.8)
"""After their question, edits and stops: while the answer is on its way."""

LEAVES: Final = 1 / 3
"""Of those who ended a talk, so many never come back; somebody new takes the place."""

LONG, EDITS, STOPS, RESETS = 0.03, 0.03, 0.04, 0.02
KEPT_S: Final = 300.0
"""What was said last so long ago is judged for good and forgotten, if nobody waits there."""

STUCK_S: Final = 120.0
"""Who waits longer is told of by name; Slack delivers again after one minute, and then five."""

FIRST_NUMBERS: Final = {"slack": 1_000_000, "discord": 2_000_000, "gateway": 3_000_000}


@dataclass
class Place:
    """Where the answers to some questions stand."""

    questions: list[Question] = field(default_factory=list)
    last: float = 0.0
    stopped: set[int] = field(default_factory=set)


class SoakTown(ABC):
    """Orders are its methods `begin`, `look` and `finish`."""

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
        """Starts the platform; the environment of an adapter there."""

    @abstractmethod
    async def until_connected(self) -> None:
        """Until the bot hears what is said."""

    @abstractmethod
    def kind(self, rng: random.Random) -> str:
        """The kind of place in which somebody begins to talk."""

    @abstractmethod
    async def ask(self, who: str, kind: str, where: str, text: str) -> tuple[str, Any]:
        """Asks, below what was asked before at `where` if it can; where the answer will stand."""

    async def edit(self, message: Any, text: str) -> bool:
        """Changes a question's text. This and the next two say whether there was a way to."""
        del message, text
        return False

    async def stop(self, who: str, message: Any, where: str) -> bool:
        """Has the bot stop."""
        del who, message, where
        return False

    def stopped_with(self, question: Question, where: str) -> set[int]:
        """The numbers of what a stop is for: this question, or all before it there."""
        del where
        return {question.number}

    async def reset(self, who: str, where: str) -> bool:
        """Has the bot forget."""
        del who, where
        return False

    @abstractmethod
    def texts(self) -> dict[str, list[str]]:
        """All that the bot shows to everybody, by place, in order."""

    @abstractmethod
    async def forget(self, where: str) -> None:
        """What stood there is of no interest any more."""

    # --- people ---------------------------------------------------------------------------------

    def newcomer(self) -> str:
        """A name that nobody had before."""
        self._people += 1
        return f"{self._people:06d}"

    async def begin(self, people: int) -> None:
        """So many people from now on."""
        self._tasks = [asyncio.create_task(self._seat(number)) for number in range(people)]

    async def _seat(self, number: int) -> None:
        rng = random.Random(f"{self._seed}-{self.platform}-{number}")
        who = self.newcomer()
        while True:
            await asyncio.sleep(rng.expovariate(1 / AWAY_S))
            await self._talk(who, rng)
            if rng.random() < LEAVES:
                who = self.newcomer()

    async def _talk(self, who: str, rng: random.Random) -> None:
        kind, where = self.kind(rng), ""
        for _ in range(rng.randint(*TALK)):
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
        """The numbers of the questions in a place."""
        return {question.number for question in self._places[where].questions}

    def _note(self, where: str, question: Question) -> None:
        place = self._places.setdefault(where, Place())
        place.questions.append(question)
        place.last = time.monotonic()
        self._sent += 1

    # --- what became of it ----------------------------------------------------------------------

    async def finish(self) -> None:
        """Nobody says anything new from now on."""
        self._talking = False

    async def look(self, *, last: bool = False) -> dict[str, Any]:
        """Counts as of now; `last`: whatever is not as it should be is wrong for good."""
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
                f"m{question.number}x in {where} waits; there stands {texts.get(where)}"
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


class Obedient(Protocol):
    """What `run` runs; orders are its other methods."""

    async def start(self, **options: str) -> Any:
        """Starts it; what it tells first."""


async def run(obedient: Obedient, options: list[str]) -> None:
    """Obeys orders on standard input until they end; `options` are `name=value`."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    _tell(await obedient.start(**dict(_options(options))))
    while line := await reader.readline():
        order: dict[str, Any] = json.loads(line)
        _tell(await getattr(obedient, order.pop("do"))(**order))


def _options(options: list[str]) -> Iterator[tuple[str, str]]:
    for option in options:
        name, _, value = option.partition("=")
        yield name, value


def _tell(answer: Any) -> None:
    print(json.dumps(answer), flush=True)  # noqa: T201
