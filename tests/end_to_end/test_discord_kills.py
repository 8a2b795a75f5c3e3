"""Discord with real processes: its gateway fails, the adapter is killed, nothing shows twice."""

import asyncio
import itertools
import random
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ops.nats_server import NatsServer
from shared import names
from shared.bus import Bus
from tests.end_to_end.discord_system import System
from tests.fakes.model import FakeModel

ROUNDS = 20
SEEDS = (1,)
TROUBLES = ("drop", "reconnect", "invalidate", "close", "lost post", "kill", "kill")
PEOPLE = ("ada", "bob", "eve")
QUIET_S = 1.0


async def cause(trouble: str, system: System, ask_one: Callable[[], Awaitable[None]]) -> None:
    """Causes one fault, which is over when this returns. People write messages meanwhile."""
    gateway = system.fake.gateway
    match trouble:
        case "drop":
            gateway.drop()
        case "reconnect":
            await gateway.ask_reconnect()
        case "invalidate":
            gateway.refuse_resumes = True
            gateway.drop()
        case "close":
            await gateway.close(4000)
        case "lost post":
            # Discord posts the message; the adapter is killed before it gets the response or
            # acknowledges.
            system.fake.fail("POST", r"/messages$", kind="lost")
            # All earlier questions may be answered already, so ask another one.
            await ask_one()
            await system.fake.until(lambda: not system.fake.faults)
            system.adapter.kill()
        case "kill":
            system.adapter.kill()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", SEEDS)
async def test_after_twenty_rounds_of_faults_each_message_has_one_answer(
    nats: NatsServer, fake_model: FakeModel, tmp_path: Path, seed: int
) -> None:
    """The connection is dropped, resumed or invalidated, or the adapter gets `kill -9`."""
    rng = random.Random(seed)
    fake_model.pause_s, fake_model.piece_chars = 0.02, 12

    def reply(request: dict[str, Any]) -> str:
        fake_model.delay_s = rng.uniform(0, 0.4)
        # The question comes after the quoted messages of others.
        question = request["messages"][-1]["content"].rsplit("\n\n", 1)[-1]
        return f"answer to: {question}"

    fake_model.reply = reply
    asked: dict[int, str] = {}
    # Drawn in advance, so that timing has no influence; each kind occurs at least twice.
    troubles = rng.sample(TROUBLES * 3, ROUNDS)
    async with System(nats, fake_model, tmp_path) as system:
        fake = system.fake
        direct = await fake.direct("bob")
        # Bots cannot list direct channels, so the adapter learns of this one by a message.
        asked[await fake.say("hello there", author="bob", channel=direct)] = "hello there"
        await fake.until(lambda: fake.read(direct))

        numbers = itertools.count(1)

        async def ask_one() -> None:
            author = rng.choice(PEOPLE)
            text = f"number {next(numbers)}"
            old = [m for m in asked if m in fake.channels]
            where = rng.choice(["channel", "direct", "thread" if old else "channel"])
            if where == "direct":
                message = await fake.say(text, author="bob", channel=direct)
            elif where == "thread":
                message = await fake.say(text, author=author, channel=rng.choice(old))
            else:
                message = await fake.say(text, author=author, mention=True)
            asked[message] = text

        async def ask_three() -> None:
            for _ in range(3):
                await ask_one()
                await asyncio.sleep(rng.uniform(0, 0.15))

        for trouble in troubles:
            asking = asyncio.create_task(ask_three())
            await asyncio.sleep(rng.uniform(0.0, 0.6))
            await cause(trouble, system, ask_one)
            await asking
            if system.adapter.process is not None and system.adapter.process.poll() is not None:
                if rng.random() < 0.5:
                    await ask_three()  # while the adapter is down
                system.start()
            await everything_answered(system, asked)
            fake.gateway.refuse_resumes = False
        await asyncio.sleep(QUIET_S)
        check(system, asked)
        assert fake.gateway.most_at_once == 1


@pytest.mark.timeout(300)
@pytest.mark.parametrize("where", ["thread", "direct", "command"])
async def test_a_kill_while_a_new_message_replaces_a_preview(
    nats: NatsServer, bus: Bus, fake_model: FakeModel, tmp_path: Path, where: str
) -> None:
    """A kill before or after either request leaves one answer and no preview."""
    fake_model.reply = lambda _: f"{'word ' * 10}{len(fake_model.requests)}"
    fake_model.piece_chars = 5
    async with System(nats, fake_model, tmp_path, DISCORD_NEW_MESSAGE_AFTER_S="0.5") as system:
        fake = system.fake
        direct = await fake.direct()
        for number, (method, phase) in enumerate(
            itertools.product(("POST", "DELETE"), ("before", "after"))
        ):
            kill = KillAtReplacement(system, method, phase)
            fake.hook = kill
            # Without this a busy machine would answer before it shows a preview.
            fake_model.may_finish = kill.preview_is_old
            if where == "command":
                await fake.command("ask", question=f"question {number}", channel=direct)
                channel = direct
            elif where == "direct":
                await fake.say(f"question {number}", channel=direct)
                channel = direct
            else:
                channel = await fake.say(f"question {number}", mention=True)
            await asyncio.wait_for(kill.killed.wait(), 60)
            system.start()
            await system.ready()  # the next command needs the adapter, even if the answer is there
            wanted = f"{'word ' * 10}{number + 1}"
            await fake.until(lambda c=channel, w=wanted: w in fake.read(c), seconds=60)
            await fake.until(lambda c=channel: "▌" not in str(fake.read(c)), seconds=60)
            if where == "thread":
                assert fake.read(channel) == [wanted]
            # Until the relay knows that this answer is posted, the next one gets no preview.
            await until_acknowledged(bus)
        await asyncio.sleep(QUIET_S)
        if where != "thread":
            assert fake.read(direct) == [f"{'word ' * 10}{n}" for n in range(1, 5)]
        assert len(fake_model.requests) == 4


class KillAtReplacement:
    """Kills the adapter when it posts the new message or deletes the preview."""

    def __init__(self, system: System, method: str, phase: str) -> None:
        self._system = system
        self._wanted = (method, phase)
        self._has_preview = False
        self.preview_is_old = asyncio.Event()
        self.killed = asyncio.Event()

    def __call__(self, method: str, path: str, phase: str) -> None:
        is_message = re.search(r"/messages(/\d+|/@original)?$", path) is not None
        if not is_message or self.killed.is_set():
            return
        # The first message, or the first text in a placeholder, is the preview.
        if not self._has_preview and phase == "after" and method in {"POST", "PATCH"}:
            self._has_preview = True
            asyncio.get_running_loop().call_later(1.0, self.preview_is_old.set)
        elif self._has_preview and (method, phase) == self._wanted:
            self._system.adapter.kill()
            self.killed.set()


async def until_acknowledged(bus: Bus) -> None:
    """Waits until the adapter has acknowledged all replies."""
    async with asyncio.timeout(60):
        while True:
            info = await bus.js.consumer_info(names.REPLIES, "discord")
            if not info.num_pending and not info.num_ack_pending:
                return
            await asyncio.sleep(0.02)


def visible(system: System) -> list[str]:
    fake = system.fake
    return [text for channel in fake.messages for text in fake.read(channel)]


async def everything_answered(system: System, asked: dict[int, str]) -> None:
    def done() -> bool:
        there = set(visible(system))
        return all(f"answer to: {text}" in there for text in asked.values())

    try:
        await system.fake.until(done, seconds=60)
    except TimeoutError:
        there = set(visible(system))
        missing = [t for t in asked.values() if f"answer to: {t}" not in there]
        raise AssertionError(f"no answer to {missing}\n{system.logs()[-3000:]}") from None


def check(system: System, asked: dict[int, str]) -> None:
    texts = visible(system)
    wanted = sorted(f"answer to: {text}" for text in asked.values())
    assert sorted(texts) == wanted
