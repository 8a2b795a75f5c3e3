"""Two Discord adapters: the one with the lease is cut off from NATS only, or from Discord only."""

import asyncio
import itertools
import os
import time
from pathlib import Path

import pytest

from ops.nats_server import NatsServer
from shared.bus import Bus
from tests.end_to_end.redundant import Waits, readiness
from tests.end_to_end.test_redundant_discord import TwoDiscords, holder
from tests.fakes.model import FakeModel
from tests.fakes.tcp_proxy import TcpProxy

CUTS = list(itertools.product(("nats", "discord"), (10.0, 45.0)))
if not os.environ.get("ALL_CASES"):
    CUTS = [("nats", 16.0), ("discord", 16.0)]
TAKEN_WITHIN_S = 15.0


class Cuttable(TwoDiscords):
    """The first adapter is connected through proxies."""

    cut: dict[str, TcpProxy]

    async def ready(self) -> None:
        self.adapter.kill()  # it was started without the proxies
        self.cut = {
            "nats": await TcpProxy.start(self.server.url),
            "discord": await TcpProxy.start(self.fake.base_url),
        }
        to_discord = {
            name: self.cut["discord"].url(value)
            for name, value in self.fake.env.items()
            if name.endswith("_URL")
        }
        first, second = self.pair.both
        first.env |= {**to_discord, "NATS_URL": self.cut["nats"].url(self.server.url)}
        for one in (first, second):
            one.env["THREADWAX_HTTP_PORT"] = "0"
            one.log.write_text("")
            await one.start().ready()

    async def __aexit__(self, *error: object) -> None:
        for proxy in self.cut.values():
            await proxy.stop()
        await super().__aexit__(*error)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("cut", CUTS)
async def test_the_holder_is_cut_off(
    nats: NatsServer, bus: Bus, fake_model: FakeModel, tmp_path: Path, cut: tuple[str, float]
) -> None:
    """The standby takes the lease within 15 s. Each question has one answer."""
    from_what, seconds = cut
    fake_model.reply = lambda request: "re: " + request["messages"][-1]["content"].split("\n")[-1]
    fake_model.pause_s = 0.1
    async with Cuttable(nats, fake_model, tmp_path) as system:
        fake, waits = system.fake, Waits()
        numbers = itertools.count()
        first = (await holder(bus)).process
        taken_after_s = 0.0
        ready: list[tuple[int, str]] = []

        async def ask() -> None:
            text = f"number {next(numbers)}"
            await fake.say(text, author="ada", mention=True)
            waits.ask(text)

        def all_answered() -> bool:
            shown = [text for channel in fake.messages for text in fake.read(channel)]
            waits.see({text for text in waits.asked_at if f"re: {text}" in shown})
            return len(waits.took_s) == len(waits.asked_at)

        await ask()
        await fake.until(all_answered, seconds=20)
        proxy = system.cut[from_what]
        proxy.pause()
        cut_at = time.monotonic()
        while (gone_s := time.monotonic() - cut_at) < seconds:
            await ask()
            await asyncio.sleep(1)
            all_answered()
            if not taken_after_s and (await holder(bus)).process not in {"", first}:
                taken_after_s = time.monotonic() - cut_at
                ready = [await readiness(one) for one in system.pair.both]
        print(f"cut off from {from_what}: lease taken after {taken_after_s:.1f} s, {ready}")  # noqa: T201
        proxy.resume()
        await ask()
        await fake.until(all_answered, seconds=60)
        waits.report(f"discord cut off from {from_what} for {gone_s:.0f} s")
        await asyncio.sleep(3)
        shown = [text for channel in fake.messages for text in fake.read(channel)]
        assert sorted(t for t in shown if t.startswith("re: ")) == sorted(
            f"re: {text}" for text in waits.asked_at
        )
        assert "▌" not in str(shown)
        assert len(fake_model.requests) == len(waits.asked_at)
        if seconds > TAKEN_WITHIN_S:
            assert 0 < taken_after_s < TAKEN_WITHIN_S
        for one in system.pair.both:
            print(await readiness(one))  # noqa: T201
