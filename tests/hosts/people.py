"""People on Slack, Discord and plain NATS who talk all the time, and what they must have seen."""

import asyncio
import json
import re
import secrets
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

import nats.errors
from nats.aio.client import Client

from bots.gateway.messages import ERROR_HEADER
from shared import names
from shared.bus import Bus
from shared.nats_address import address_of
from shared.nats_client import NatsClient
from shared.replies import Reply
from tests.fakes.model import FakeModel
from tests.hosts.deployment import Deployment

PEOPLE: Final = {"gateway": 6, "slack": 4, "discord": 2}
PAUSE_S: Final = 0.3
REQUEST_S: Final = 2.0
"""A program repeats a request that got no answer for this long, under the same id."""

ANSWERED_WITHIN_S: Final = 120.0
MARKER: Final = re.compile(r"\b(U[A-Z]\d+) (\d+)\.")
"""Names a question and its answer: the person, and the number of the question."""

END: Final = re.compile(r"[0-9a-f]{8} over$")


def reply(request: dict[str, Any]) -> str:
    """The fake model's answer: no two are equal, so that a second one would be noticed."""
    name, number = MARKER.findall(str(request["messages"][-1]["content"]))[-1]
    return f"re {name} {number}. {'and so on ' * 6}{secrets.token_hex(4)} over"


@dataclass
class Person(ABC):
    """Somebody who asks one question after the other."""

    kind: str
    name: str
    asked: int = 0

    @abstractmethod
    async def ask(self, text: str) -> None:
        """Asks, and returns when the whole answer is there."""

    @abstractmethod
    def seen(self) -> list[str]:
        """All that the bot has said to this person, as it is visible now."""

    async def until_seen(self) -> None:
        """Returns when the last question has its whole answer."""
        wanted = f"re {self.name} {self.asked}. "
        async with asyncio.timeout(ANSWERED_WITHIN_S):
            while not any(t.startswith(wanted) and END.search(t) for t in self.seen()):
                await asyncio.sleep(0.02)


@dataclass
class Program(Person):
    """A program that asks with NATS requests."""

    client: Client = field(kw_only=True)
    answers: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    async def ask(self, text: str) -> None:
        body = json.dumps({"user_id": self.name, "prompt": text}).encode()
        async with asyncio.timeout(ANSWERED_WITHIN_S):
            while True:
                try:
                    answer = await self.client.request(
                        names.GATEWAY_SUBJECT, body, timeout=REQUEST_S,
                        headers={"Nats-Msg-Id": f"{self.name}-{self.asked}"},
                    )  # fmt: skip
                except (nats.errors.Error, TimeoutError, OSError):
                    await asyncio.sleep(0.1)
                    continue
                break
        if (answer.headers or {}).get(ERROR_HEADER):
            self.refused.append(answer.data.decode())
        self.answers.append(answer.data.decode())

    def seen(self) -> list[str]:
        return self.answers + self.refused


@dataclass
class OnSlack(Person):
    """Somebody in a thread of their direct messages."""

    slack: Any = field(kw_only=True)
    thread: str = ""

    async def ask(self, text: str) -> None:
        if self.thread:
            self.slack.dm(text, user=self.name, thread=self.thread)
        else:
            self.thread = self.slack.dm(text, user=self.name)
        await self.until_seen()

    def seen(self) -> list[str]:
        return [text.strip() for text in self.slack.thread(f"D{self.name[1:]}", self.thread)]


@dataclass
class OnDiscord(Person):
    """Somebody who sends direct messages."""

    discord: Any = field(kw_only=True)
    channel: int = 0

    async def ask(self, text: str) -> None:
        self.channel = self.channel or await self.discord.direct(self.name)
        await self.discord.say(text, author=self.name, channel=self.channel)
        await self.until_seen()

    def seen(self) -> list[str]:
        return [text for text in self.discord.read(self.channel) if text.startswith("re ")]


@dataclass(frozen=True)
class Wait:
    """One question, on the monotonic clock."""

    kind: str
    name: str
    asked_at: float
    answered_at: float

    @property
    def seconds(self) -> float:
        return self.answered_at - self.asked_at


class Talk:
    """Twelve people and some who join them, nobody of whom has been here before."""

    def __init__(self, deployment: Deployment, number: int) -> None:
        """`number` tells them from the people of other talks."""
        self._deployment = deployment
        self._number = number
        self._clients: list[Client] = []
        self._over = asyncio.Event()
        self._talking: list[asyncio.Task[None]] = []
        self._journal_from = 0
        self.people: list[Person] = []
        self.waits: list[Wait] = []

    @property
    def model(self) -> FakeModel:
        return self._deployment.model

    async def begin(self, admin: Bus) -> None:
        """Everybody begins to ask."""
        self._journal_from = await admin.last_sequence(names.REPLIES)
        self.model.requests.clear()
        for kind in self._deployment.adapters:
            for _ in range(PEOPLE[kind]):
                await self.join(kind)

    async def join(self, kind: str) -> None:
        """One more person begins to ask, of whom no process knows anything yet."""
        # The letter after U names the kind, so that no two people share a name.
        person = await self._person(kind, f"U{kind[0].upper()}{self._number}{len(self.people):02}")
        self.people.append(person)
        self._talking.append(asyncio.create_task(self._talk(person)))

    async def _person(self, kind: str, name: str) -> Person:
        there = self._deployment
        if kind == "slack":
            shown = {"display_name": name}
            there.slack.users[name] = {**there.slack.users["UADA"], "id": name, "profile": shown}
            return OnSlack(kind, name, slack=there.slack)
        if kind == "discord":
            there.discord.users[name] = there.discord._user(name)
            return OnDiscord(kind, name, discord=there.discord)
        address = address_of(there.cluster.url("client"))
        client = NatsClient(address, may_be_guest=True)
        await client.connect(
            **address.options(), max_reconnect_attempts=-1, error_cb=_silent,
            reconnect_time_wait=0.1,  # type: ignore[arg-type]
            ping_interval=1, max_outstanding_pings=2,
        )  # fmt: skip
        self._clients.append(client)
        return Program(kind, name, client=client)

    async def _talk(self, person: Person) -> None:
        while not self._over.is_set():
            await self._ask(person)
            await asyncio.sleep(PAUSE_S)

    async def _ask(self, person: Person) -> None:
        person.asked += 1
        asked_at = time.monotonic()
        try:
            await person.ask(f"{person.name} {person.asked}.")
        except TimeoutError:
            raise AssertionError(f"{person.name} {person.asked}: no answer") from None
        self.waits.append(Wait(person.kind, person.name, asked_at, time.monotonic()))

    def check(self) -> None:
        """Raises what has gone wrong so far."""
        for task in self._talking:
            if task.done():
                task.result()

    async def everybody_answered_since(self, moment: float) -> None:
        """Returns when everybody has the answer to a question that was asked after this moment."""
        everybody = {one.name for one in self.people}
        while everybody - {wait.name for wait in self.waits if wait.asked_at >= moment}:
            self.check()
            await asyncio.sleep(0.05)

    async def end(self) -> None:
        """Everybody gets the last answer, and stops asking."""
        self._over.set()
        await asyncio.gather(*self._talking)

    async def close(self) -> None:
        for task in self._talking:
            task.cancel()
        for client in self._clients:
            await client.close()

    @property
    def questions(self) -> int:
        return sum(one.asked for one in self.people)

    def longest_s(self, kind: str, since: float) -> float:
        """The longest wait of those who were answered since then."""
        waits = [w.seconds for w in self.waits if w.kind == kind and w.answered_at >= since]
        return max(waits, default=0.0)

    @property
    def calls_in_vain(self) -> int:
        """How many questions the model was asked more often than once."""
        asked = [MARKER.findall(str(r["messages"][-1]["content"]))[-1] for r in self.model.requests]
        return len(asked) - len(set(asked))

    # --- what must be true afterwards -----------------------------------------------------------

    async def everything_is_right(self, admin: Bus) -> None:
        """Checks that nothing was lost, doubled, reordered or forgotten."""
        for person in self.people:
            await self._ask(person)
            self._check_memory(person)
        journal = await self._journal(admin)
        for person in self.people:
            answered = [(person.name, str(n)) for n in range(1, person.asked + 1)]
            stored = journal[person.name]
            assert [MARKER.findall(text)[0] for text in stored] == answered, person.name
            assert person.seen() == stored, person.name

    def _check_memory(self, person: Person) -> None:
        wanted = [str(n) for n in range(1, person.asked + 1)]
        for request in reversed(self.model.requests):
            said = [m["content"] for m in request["messages"] if m["role"] == "user"]
            own = [
                n for text in said for name, n in MARKER.findall(str(text)) if name == person.name
            ]
            if own and own[-1] == wanted[-1]:
                assert own == wanted, f"{person.name} remembers {own}"
                return
        raise AssertionError(f"{person.name} {person.asked} was never asked")

    async def _journal(self, admin: Bus) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for sequence in range(self._journal_from + 1, await admin.last_sequence(names.REPLIES) + 1):
            message = await admin.until_done(lambda n=sequence: admin.js.get_msg(names.REPLIES, n))  # type: ignore[misc]
            text = Reply.model_validate_json(message.data or b"").text.rstrip()
            found[MARKER.findall(text)[0][0] if MARKER.search(text) else ""].append(text)
        assert "" not in found, f"notices instead of answers: {found['']}"
        return found


async def _silent(_: Exception) -> None:
    """Ignores the error: a lost connection makes the requests fail."""
