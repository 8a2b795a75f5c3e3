"""Long answers, streamed answers and many questions on Discord, with real processes."""

import asyncio
import json
import re
import time
from itertools import pairwise
from pathlib import Path

from nats.aio.msg import Msg

from bots.discord.posting import EDIT_EVERY_S
from bots.split_text import utf16_length
from ops.nats_server import NatsServer
from shared.bus import Bus
from tests.end_to_end.discord_system import System, wait_for
from tests.fakes.model import FakeModel
from tests.running import Running

LIMIT = 2000
TABLE = "| item | price |\n|---|---:|\n| wax | 3 |\n| thread | 12 |\n"


def long_answer() -> str:
    """28,000 characters with code fences and a table."""
    pieces = ["# A long answer\n", TABLE]
    number = 0
    while sum(map(len, pieces)) < 26_000:
        number += 1
        if number % 7 == 0:
            code = "\n".join(f"    line_{number}_{k} = {k}  # {'x' * 30}" for k in range(60))
            pieces.append(f"\n```python\ndef f{number}():\n{code}\n```\n")
        else:
            pieces.append(f"\nSentence {number}: " + "wax and thread and wax " * 12 + "end.\n")
    return "".join(pieces)


async def test_a_long_answer_is_complete_in_order_and_within_the_limits(
    nats: NatsServer, fake_model: FakeModel, tmp_path: Path
) -> None:
    """Every part fits, every code fence is closed, and no text is missing."""
    text = long_answer()
    fake_model.reply = lambda _: text
    async with System(nats, fake_model, tmp_path) as system:
        message = await system.fake.say("tell me all", mention=True)
        await system.fake.until(
            lambda: sum(map(len, system.finished(message))) > len(text) * 0.98, seconds=90
        )
        parts = system.finished(message)
    assert 14 <= len(parts) <= 20
    for part in parts:
        assert utf16_length(part) <= LIMIT
        assert len(re.findall(r"^```", part, re.MULTILINE)) % 2 == 0
    whole = "\n".join(parts)
    words = [w for w in re.findall(r"\w+", whole) if w != "python"]
    table = re.sub(r"[|:-]", " ", TABLE)
    expected = re.findall(r"\w+", text.replace(TABLE, table))
    assert words == [w for w in expected if w != "python"]
    assert "item    price\n------  -----\nwax     3\nthread  12" in whole


async def test_many_deltas_lead_to_few_edits(
    nats: NatsServer, fake_model: FakeModel, tmp_path: Path
) -> None:
    """600 deltas lead to at most one edit per 1.2 s, and to the exact text without a cursor."""
    text = "".join(f"w{n % 10}" + (" " if n % 8 else "\n") for n in range(600)).strip()
    fake_model.reply = lambda _: text
    fake_model.piece_chars, fake_model.pause_s = 3, 0.01
    async with System(nats, fake_model, tmp_path) as system:
        message = await system.fake.say("count", mention=True)
        await system.answered(message)
        assert system.finished(message) == [text]
        path = rf"/channels/{message}/messages"
        calls = [(m, at) for m, p, at in system.fake.calls if re.search(path, p) and m != "GET"]
    *previews, final = calls
    assert [m for m, _ in calls] == ["POST"] + ["PATCH"] * (len(calls) - 1)
    assert len(previews) >= 3, "nothing was streamed"
    for (_, before), (_, after) in pairwise(previews):
        assert after - before >= EDIT_EVERY_S * 0.95
    duration = final[1] - calls[0][1]
    assert len(calls) <= duration / EDIT_EVERY_S + 2


async def test_every_message_of_a_burst_is_stored_once(nats: NatsServer, tmp_path: Path) -> None:
    """100 messages arrive within a second, while the dataflow is down."""
    from tests.fakes.discord import FakeDiscord  # noqa: PLC0415

    fake = await FakeDiscord().start()
    adapter = Running(
        "discord", log=tmp_path / "discord.log",
        env={"NATS_URL": nats.url, "THREADWAX_HOME": str(tmp_path / "home"), **fake.env},
    ).start()  # fmt: skip
    bus = await Bus.connect(nats.url, name="test")
    seen: list[str] = []

    async def see(message: Msg) -> None:
        seen.append(json.loads(message.data)["id"])

    await bus.watch("prompts.discord.>", see)
    try:
        await adapter.ready()
        people = [f"person{n}" for n in range(20)]
        for name in people:
            fake.users[name] = fake._user(name)
        sent = set()
        started = time.monotonic()
        for number in range(100):
            author = people[number % 20]
            message = await fake.say(f"question {number}", author=author, mention=True)
            sent.add(f"discord-{message}")
            await asyncio.sleep(max(0.0, started + (number + 1) * 0.01 - time.monotonic()))
        await wait_for(lambda: sent <= set(seen), seconds=30)
        stored = await bus.last_sequence("PROMPTS")
    finally:
        adapter.kill()
        await bus.close()
        await fake.stop()
    assert stored == len(seen) == 100
