"""Two Discord adapters: the one with the lease is killed, frozen or stopped, and comes back."""

import asyncio
import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest

from ops.nats_server import NatsServer
from shared import lease, names
from shared.bus import Bus
from tests.end_to_end.discord_system import System
from tests.end_to_end.redundant import FAULTS, Pair, Waits, stored, until
from tests.fakes.model import FakeModel
from tests.running import Running


class TwoDiscords(System):
    """The second adapter has a data folder of its own, as on another machine."""

    def env_of(self, number: int) -> dict[str, str]:
        return {
            "NATS_URL": self.server.url,
            "THREADWAX_HOME": str(self.home / f"adapter{number}"),
            **self.fake.env,
        }

    def start(self) -> None:
        self.pair = Pair(*(
            Running("discord", log=self.home / f"discord{number}.log", env=self.env_of(number))
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


async def is_alone(fake: Any) -> bool:
    return len(fake.gateway.live) == 1


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
