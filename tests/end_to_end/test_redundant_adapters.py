"""Two adapters of one platform as processes: one is killed, frozen or stopped, and comes back.

Each has a data folder of its own, as on two machines. Nothing is lost, shown twice or out of order,
and no preview is left. The longest wait of each case is printed.
"""

import asyncio
import itertools
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from nats.aio.msg import Msg

from ops.nats_server import NatsServer
from shared import lease, names
from shared.bus import Bus
from tests.end_to_end.discord_system import System
from tests.end_to_end.test_slack_processes import ANSWER_S, PROGRAM, echo, expected
from tests.fakes.model import FakeModel
from tests.fakes.slack import APP_TOKEN, BOT_TOKEN, ROOM, FakeSlack
from tests.running import Running, dataflow

FAULTS = ("kill", "freeze", "stop")
CASES = tuple(itertools.product(FAULTS, (0, 1)))
if not os.environ.get("ALL_CASES"):
    CASES = (("kill", 0), ("freeze", 1), ("stop", 0))
"""Which of two equal processes has which fault; `ALL_CASES=1` takes each in turn."""

FROZEN_S = 8.0
"""Longer than it takes the others to take over what was in progress."""

PEOPLE = ("UADA", "UBOB", "UCARL")


class Pair:
    """Two processes, of which one at a time has a fault."""

    def __init__(self, first: Running, second: Running) -> None:
        self.both = [first, second]

    async def start(self) -> None:
        for one in self.both:
            one.start()
        for one in self.both:
            await one.ready()

    async def hit(self, one: Running, fault: str) -> None:
        match fault:
            case "kill":
                one.kill()
            case "freeze":
                one.signal(signal.SIGSTOP)
            case "stop":
                assert await one.stop() == 0

    async def heal(self, one: Running, fault: str) -> None:
        if fault == "freeze":
            one.signal(signal.SIGCONT)
            return
        one.log.write_text("")
        await one.start().ready()

    def kill(self) -> None:
        for one in self.both:
            if one.process is not None and one.process.poll() is None:
                one.signal(signal.SIGCONT)
            one.kill()


@dataclass
class Waits:
    """How long each question waits for its answer."""

    asked_at: dict[str, float] = field(default_factory=dict)
    took_s: dict[str, float] = field(default_factory=dict)

    def ask(self, text: str) -> None:
        self.asked_at[text] = time.monotonic()

    def see(self, texts: set[str]) -> None:
        for text in texts & (self.asked_at.keys() - self.took_s.keys()):
            self.took_s[text] = time.monotonic() - self.asked_at[text]

    def report(self, case: str) -> None:
        longest = max(self.took_s.values())
        print(f"{case}: {len(self.took_s)} questions, longest wait {longest:.1f} s")  # noqa: T201


# --- Slack ----------------------------------------------------------------------------------------


@dataclass
class SlackWorld:
    slack: FakeSlack
    model: FakeModel
    pair: Pair


@pytest.fixture
async def slack_world(nats: NatsServer, tmp_path: Path) -> AsyncIterator[SlackWorld]:
    slack = await FakeSlack().start()
    slack.sockets.retries_s = (1.0, 4.0, 8.0, 16.0)
    model = await FakeModel(reply=echo, piece_chars=12, pause_s=0.1).start()
    flow = dataflow(tmp_path / "flow", nats.url, model.base_url).start()
    pair = Pair(*(
        Running(
            "-c", PROGRAM, log=tmp_path / f"slack{number}.log",
            env={
                "NATS_URL": nats.url, "THREADWAX_HOME": str(tmp_path / f"slack{number}"),
                "SLACK_API_URL": slack.url, "SLACK_BOT_TOKEN": BOT_TOKEN,
                "SLACK_APP_TOKEN": APP_TOKEN, "PYTHONPATH": str(Path(__file__).parents[2]),
            },
        )
        for number in range(2)
    ))  # fmt: skip
    try:
        await flow.ready()
        for one in pair.both:
            await one.start().ready()
        # In turn, so that the two events of a mention come to different processes.
        live = slack.sockets.live
        live[:] = live[0::2] + live[1::2]
        yield SlackWorld(slack, model, pair)
    finally:
        pair.kill()
        flow.kill()
        await slack.stop()
        await model.stop()


@pytest.mark.timeout(240)
async def test_two_slack_adapters(slack_world: SlackWorld, bus: Bus) -> None:
    """Each of the two is killed, frozen and stopped while people ask, in threads, too."""
    slack, pair = slack_world.slack, slack_world.pair
    numbers = itertools.count()
    threads: dict[str, list[str]] = {}
    channels: dict[str, str] = {}

    def ask(waits: Waits) -> None:
        number = next(numbers)
        text, user = f"number {number}", PEOPLE[number % 3]
        if number % 4 == 3:
            ts, channel = slack.dm(text), "DADA"
        elif number % 4 == 2 and (old := [t for t in threads if channels[t] == ROOM]):
            # A follow-up without a mention, by the one who asked in this thread.
            ts, channel = old[-1], ROOM
            slack.send(text, thread=ts, user=slack.messages[ROOM][ts]["user"])
        else:
            ts, channel = slack.mention(text, user=user), ROOM
        threads.setdefault(ts, []).append(text)
        channels[ts] = channel
        waits.ask(text)

    # Slack sends a mention as two events, and each may come to another process.
    for _ in range(6):
        slack.mention("")
    await slack.until(lambda: len(slack.ephemerals) >= 6, seconds=ANSWER_S)
    for fault, victim in CASES:
        waits = Waits()

        async def all_answered(waits: Waits = waits) -> bool:
            seen = {t for ts in threads for t in slack.thread(channels[ts], ts)}
            waits.see({text for text in waits.asked_at if expected(text) in seen})
            return len(waits.took_s) == 5

        watching = asyncio.create_task(until(all_answered, FROZEN_S + ANSWER_S))
        for _ in range(2):
            ask(waits)
            await asyncio.sleep(0.3)
        await pair.hit(pair.both[victim], fault)
        down = time.monotonic()
        for _ in range(3):
            ask(waits)
            await asyncio.sleep(0.4)
        if fault == "freeze":
            await asyncio.sleep(max(0.0, down + FROZEN_S - time.monotonic()))
        await pair.heal(pair.both[victim], fault)
        try:
            await watching
        except TimeoutError:
            missing = waits.asked_at.keys() - waits.took_s.keys()
            raise AssertionError(f"{fault} {victim}: no answer to {missing}") from None
            waits.report(f"slack {fault} {'AB'[victim]}")
    await asyncio.sleep(4)  # a second post would come with the redelivery after 2 s
    journal = [json.loads(data)["text"].rstrip() for data in await stored(bus, names.REPLIES)]
    for ts, texts in threads.items():
        shown = slack.thread(channels[ts], ts)
        assert sorted(shown) == sorted(map(expected, texts))
        assert shown == [text for text in journal if text in shown]
        assert slack.status(channels[ts], ts) == ""
    assert len(slack_world.model.requests) == sum(map(len, threads.values()))
    assert len(slack.ephemerals) == 6


# --- the gateway ----------------------------------------------------------------------------------


@pytest.mark.timeout(120)
async def test_two_gateways(
    nats: NatsServer, bus: Bus, fake_model: FakeModel, tmp_path: Path
) -> None:
    """A client that repeats a request with its id gets one answer, whichever gateway has it."""
    fake_model.reply = lambda request: f"re: {request['messages'][-1]['content']}"
    fake_model.pause_s = 0.1
    flow = dataflow(tmp_path / "flow", nats.url, fake_model.base_url).start()
    pair = Pair(*(
        Running(
            "gateway", log=tmp_path / f"gateway{number}.log",
            env={"NATS_URL": nats.url, "THREADWAX_HOME": str(tmp_path / f"gateway{number}")},
        )
        for number in range(2)
    ))  # fmt: skip
    heard: Counter[str] = Counter()
    inbox = bus.client.new_inbox()

    async def hear(message: Msg) -> None:
        heard[message.data.decode()] += 1

    await bus.client.subscribe(f"{inbox}.*", cb=hear)

    async def ask(number: int, waits: Waits) -> None:
        """Asks again every 2 s, as a client does whose request got no answer."""
        text = f"number {number}"
        data = json.dumps({"user_id": f"user{number}", "prompt": text}).encode()
        waits.ask(text)
        while not heard[f"re: {text}"]:
            await bus.client.publish(
                names.GATEWAY_SUBJECT, data, f"{inbox}.{number}",
                headers={"Nats-Msg-Id": f"id-{number}"},
            )  # fmt: skip
            with suppress(TimeoutError):
                await until(lambda: answered(text), 2)
        waits.see({text})

    async def answered(text: str) -> bool:
        return bool(heard[f"re: {text}"])

    try:
        await flow.ready()
        await pair.start()
        numbers = itertools.count()
        for fault, victim in CASES:
            waits = Waits()
            asking = [asyncio.create_task(ask(next(numbers), waits)) for _ in range(3)]
            await asyncio.sleep(0.2)
            await pair.hit(pair.both[victim], fault)
            asking += [asyncio.create_task(ask(next(numbers), waits)) for _ in range(3)]
            async with asyncio.timeout(ANSWER_S):
                await asyncio.gather(*asking)
            await pair.heal(pair.both[victim], fault)
            waits.report(f"gateway {fault} {'AB'[victim]}")
        asked = next(numbers)
        assert len(fake_model.requests) == asked
        assert len(await stored(bus, names.REPLIES)) == asked
    finally:
        pair.kill()
        flow.kill()


# --- Discord --------------------------------------------------------------------------------------


class TwoDiscords(System):
    """The second adapter has a data folder of its own, as on another machine."""

    def start(self) -> None:
        self.pair = Pair(*(
            Running(
                "discord", log=self.home / f"discord{number}.log",
                env={
                    "NATS_URL": self.server.url,
                    "THREADWAX_HOME": str(self.home / f"adapter{number}"),
                    **self.fake.env,
                },
            )
            for number in range(2)
        ))  # fmt: skip
        self.adapter = self.pair.both[0].start()

    async def ready(self) -> None:
        await self.pair.both[0].ready()
        await self.pair.both[1].start().ready()

    async def __aexit__(self, *_: object) -> None:
        self.pair.kill()
        await super().__aexit__(*_)


async def holder(bus: Bus) -> lease.Holder:
    return (await lease.look(bus, "discord"))[0]


async def until(condition: Callable[[], Awaitable[bool]], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


@pytest.mark.timeout(240)
async def test_two_discord_adapters(  # noqa: PLR0915  (one story)
    nats: NatsServer, bus: Bus, fake_model: FakeModel, tmp_path: Path
) -> None:
    """The one with the lease is killed, frozen and stopped. The other one misses nothing."""

    def reply(request: dict[str, Any]) -> str:
        return f"answer to: {request['messages'][-1]['content'].rsplit(chr(10), 1)[-1]}"

    fake_model.reply, fake_model.piece_chars, fake_model.pause_s = reply, 12, 0.05
    numbers = itertools.count()
    async with TwoDiscords(nats, fake_model, tmp_path) as system:
        fake, pair = system.fake, system.pair
        direct = await fake.direct("bob")
        asked: dict[str, int] = {}

        async def ask(waits: Waits) -> None:
            number = next(numbers)
            text = f"number {number}"
            if number % 2:
                asked[text] = await fake.say(text, author="bob", channel=direct)
            else:
                asked[text] = await fake.say(text, author="ada", mention=True)
            waits.ask(text)

        def seen() -> set[str]:
            return {text for channel in fake.messages for text in fake.read(channel)}

        held_by = 0
        for fault in FAULTS:
            waits = Waits()
            for _ in range(3):
                await ask(waits)
                await asyncio.sleep(0.2)
            before = (await holder(bus)).process
            victim = pair.both[held_by]
            await pair.hit(victim, fault)
            hit_at = time.monotonic()
            for _ in range(3):
                await ask(waits)
                await asyncio.sleep(0.2)

            async def taken(before: str = before) -> bool:
                return (await holder(bus)).process not in {"", before}

            await until(taken, 20)
            print(f"discord {fault}: lease taken after {time.monotonic() - hit_at:.1f} s")  # noqa: T201
            held_by = 1 - held_by
            await ask(waits)

            def all_answered(waits: Waits = waits) -> bool:
                there = seen()
                waits.see({t for t in waits.asked_at if f"answer to: {t}" in there})
                return len(waits.took_s) == len(waits.asked_at)

            await fake.until(all_answered, seconds=40)
            waits.report(f"discord {fault}")
            assert max(waits.took_s.values()) < (5 if fault == "stop" else 20)
            await pair.heal(victim, fault)
            if fault == "freeze":
                await until(lambda: is_alone(fake), 20)
        # An edit and a deletion of what another process stored.
        first = asked["number 0"]
        await fake.edit(first, "number zero")
        await fake.delete(asked["number 2"])
        await asyncio.sleep(3)
        texts = [text for channel in fake.messages for text in fake.read(channel)]
        assert sorted(t for t in texts if t.startswith("answer")) == sorted(
            f"answer to: {text}" for text in asked
        )
        assert "▌" not in str(texts)
        assert len(fake.gateway.live) == 1
        assert len(fake_model.requests) == len(asked)
        changed = {
            (event["kind"], event["prompt_id"])
            for event in map(json.loads, await stored(bus, names.PROMPTS))
            if event["kind"] in {"edited", "deleted"}
        }
        assert changed == {
            ("edited", f"discord-{first}"), ("deleted", f"discord-{asked['number 2']}"),
        }  # fmt: skip


async def stored(bus: Bus, stream: str) -> list[bytes]:
    """The messages of a stream, in order."""
    state = (await bus.js.stream_info(stream)).state
    found = [await bus.js.get_msg(stream, n) for n in range(state.first_seq, state.last_seq + 1)]
    return [message.data or b"" for message in found]


async def is_alone(fake: Any) -> bool:
    return len(fake.gateway.live) == 1
