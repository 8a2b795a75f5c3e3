"""The crash experiment: kills processes at random moments while users ask, and checks replies."""

import asyncio
import random
import secrets
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats.errors
from nats.aio.msg import Msg

from ops.nats_server import NatsServer
from shared import names, user_names
from shared.bus import Bus
from shared.follow import Position, follow
from shared.replies import Reply
from shared.tasks import end
from tests.fakes.model import FakeModel
from tests.running import Running, answer_to, dataflow, question

ANSWERED_WITHIN_S = 60.0
ASKED_AT_THE_END = 12
"""The number of users whose memory is checked. Each check takes another question."""


@dataclass(frozen=True)
class Crowd:
    """The users of a round: prompts per user, and the longest pause between two of them."""

    users: int = 12
    prompts: int = 5
    pause_s: float = 0.25
    model_s: tuple[float, float] = (0.0, 0.4)


FEW = Crowd()
MANY = Crowd(users=400, prompts=2, pause_s=0.0, model_s=(0.3, 0.3))
"""Enough simultaneous users for questions and answers to be stored in batches."""


@dataclass
class Outcome:
    """The findings of the checker. Each list is empty if all is well."""

    prompts: int = 0
    kills_of_nats: int = 0
    kills_of_dataflow: int = 0
    unanswered: list[str] = field(default_factory=list)
    not_once: list[str] = field(default_factory=list)
    seen_differently: list[str] = field(default_factory=list)
    out_of_order: list[str] = field(default_factory=list)
    wrong_memory: list[str] = field(default_factory=list)

    @property
    def violations(self) -> list[str]:
        return [
            *(f"unanswered: {x}" for x in self.unanswered),
            *(f"not exactly one reply: {x}" for x in self.not_once),
            *(
                f"the user saw a different text from the journaled one: {x}"
                for x in self.seen_differently
            ),
            *(f"out of order: {x}" for x in self.out_of_order),
            *(f"the next request lacks what the user saw: {x}" for x in self.wrong_memory),
        ]


class Experiment:
    """Users ask in rounds while the server and the dataflow are killed."""

    def __init__(
        self,
        seed: int,
        server: NatsServer,
        home: Path,
        model: FakeModel,
        *mutant: str,
        crowd: Crowd = FEW,
    ) -> None:
        self.rng = random.Random(seed)
        self.crowd = crowd
        self.server = server
        self.model = model
        self.model.reply = self._reply
        self.flow: Running = dataflow(
            home, server.url, model.base_url, *mutant,
            THREADWAX_CONTEXT_TOKENS="1000000", THREADWAX_ANSWER_TOKENS="100",
        )  # fmt: skip
        self.asked: dict[str, list[str]] = defaultdict(list)
        self.texts: dict[str, str] = {}
        self.seen: dict[str, list[str]] = defaultdict(list)
        self.outcome = Outcome()

    def _reply(self, request: dict[str, Any]) -> str:
        # No two texts are equal, so that a second answer to a question differs from the first.
        self.model.delay_s = self.rng.uniform(*self.crowd.model_s)
        return f"re: {request['messages'][-1]['content']} {secrets.token_hex(4)}"

    async def run(self, rounds: int) -> Outcome:
        self.flow.start()
        self.bus = await Bus.connect(self.server.url, name="test", wait_s=None)
        try:
            await self.flow.ready()
            watching = asyncio.create_task(self._watch())
            for number in range(rounds):
                await self._round(number)
                if self.outcome.violations:
                    break
            await self._check_memory()
            await end(watching)
        finally:
            await self.bus.close()
            self.flow.kill()
        return self.outcome

    async def _watch(self) -> None:
        """Reads the stream, as relays do.

        A plain subscriber also gets messages that are not stored.
        """

        async def see(message: Msg) -> None:
            reply = Reply.model_validate_json(message.data)
            self.seen[reply.prompt_id].append(reply.text)

        await follow(self.bus, names.REPLIES, "replies.>", after=Position(), deliver=see)

    async def _round(self, number: int) -> None:
        users = [f"u{n}" for n in range(self.crowd.users)]

        async def speak(user: str, count: int) -> None:
            for k in range(count):
                ask = question(user, f"{number}-{k}", f"{user} says {number}-{k}")
                self.asked[user].append(ask.id)
                self.texts[ask.id] = ask.text
                await self.bus.publish(ask, patience_s=ANSWERED_WITHIN_S)
                await asyncio.sleep(self.rng.uniform(0, self.crowd.pause_s))

        speaking = [asyncio.create_task(speak(u, self.crowd.prompts)) for u in users]
        await asyncio.sleep(self.rng.uniform(0.05, 1.2))
        victim = self.rng.choice(["nats", "dataflow", "both"])
        if victim in {"nats", "both"}:
            self.server.kill()
            self.outcome.kills_of_nats += 1
        if victim in {"dataflow", "both"}:
            self.flow.kill()
            self.outcome.kills_of_dataflow += 1
        await asyncio.sleep(self.rng.uniform(0, 0.3))
        if victim in {"nats", "both"}:
            await asyncio.to_thread(self.server.start)
        if victim in {"dataflow", "both"}:
            self.flow.start()
        await asyncio.gather(*speaking)
        await self._check_round(number)

    async def _check_round(self, number: int) -> None:
        expected = {p for ids in self.asked.values() for p in ids}
        self.outcome.prompts = len(expected)
        counts: dict[str, int] = {}
        try:
            async with asyncio.timeout(ANSWERED_WITHIN_S):
                while not expected <= counts.keys() & self.seen.keys():
                    await asyncio.sleep(0.1)
                    counts = await self._journal_counts()
        except TimeoutError:
            self.outcome.unanswered += sorted(expected - (counts.keys() & self.seen.keys()))
        self.outcome.not_once += [p for p, n in counts.items() if n != 1]
        for user, ids in self.asked.items():
            mine = [p for p in ids if f"-{number}-" in p]
            sequences = []
            for prompt_id in mine:
                subject = names.reply_subject(user_names.user_of("test", user), prompt_id)
                message = await self.bus.until_done(
                    lambda s=subject: self.bus.js.get_last_msg(names.REPLIES, s, direct=True)
                )
                sequences.append(message.seq or 0)
                stored = Reply.model_validate_json(message.data or b"").text
                if any(text != stored for text in self.seen[prompt_id]):
                    self.outcome.seen_differently.append(prompt_id)
            if sequences != sorted(sequences):
                self.outcome.out_of_order.append(f"{user} round {number}")

    async def _journal_counts(self) -> dict[str, int]:
        try:
            info = await self.bus.js.stream_info(names.REPLIES, subjects_filter="replies.>")
        except (nats.errors.Error, TimeoutError):
            return {}
        return {s.rsplit(".", 1)[1]: n for s, n in (info.state.subjects or {}).items()}

    async def _check_memory(self) -> None:
        for user, ids in [*self.asked.items()][:ASKED_AT_THE_END]:
            last = question(user, "last", f"{user} asks last")
            await answer_to(self.bus, last, timeout_s=ANSWERED_WITHIN_S)
            request = next(
                r
                for r in reversed(self.model.requests)
                if r["messages"][-1]["content"] == last.text
            )
            got = [m["content"] for m in request["messages"][1:-1]]
            want = []
            for prompt_id in ids:
                stored = await self.bus.stored_reply(last.user, prompt_id)
                want += [self.texts[prompt_id], stored.reply.text if stored else "(no reply)"]
            if got != want:
                self.outcome.wrong_memory.append(user)
