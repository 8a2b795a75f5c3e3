"""A person's own data, as an adapter gets it from a running recorder, on both databases."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from dataflow.recorder import requests
from dataflow.recorder.history_service import HistoryService, history_of
from ops.nats_server import NatsServer
from shared.bus import Bus
from shared.database.history import LEFT_OUT
from shared.messages import Ask, Forget, Rate
from shared.own_history import LIMIT_BYTES, NotNow, own_history, pieces_of
from tests.forgetting import MARKER, OTHERS
from tests.recorded import Streams, opened, record
from tests.running import ROOT, Running


def recorded(engine: sa.Engine) -> None:
    said = Streams()
    for user, marker in (("slack:ada", MARKER), ("slack:bob", OTHERS)):
        name = user[-3:]
        said.event(Ask, name, user, text=f"question {marker}")
        said.reply(name, user, text=f"answer {marker}", prompt_text=f"question {marker}")
        rated = {"prompt_id": name, "thumb": "down", "correction": f"better {marker}"}
        said.event(Rate, f"{name}-r", user, **rated)
    record(engine, *said.messages)


async def test_it_is_what_the_operator_sees(
    nats: NatsServer, bus: Bus, tmp_path: Path, database_url: str
) -> None:
    """Question, answer and rating of this person, and nothing of another one."""
    engine = opened(database_url)
    recorded(engine)
    env = {"NATS_URL": nats.url, "THREADWAX_HOME": str(tmp_path), "DATABASE_URL": database_url}
    with pytest.raises(NotNow):
        await own_history(bus, "slack:ada")
    recorder = Running("recorder", log=tmp_path / "recorder.log", env=env).start()
    try:
        await recorder.ready()
        text = (await until_answered(bus, "slack:ada")).decode()
        assert await own_history(bus, "slack:nobody") == b""
    finally:
        recorder.kill()
        engine.dispose()
    assert all(f"{word} {MARKER}" in text for word in ("question", "answer", "better"))
    assert OTHERS not in text
    printed = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "ops", "history", "slack:ada"],
        cwd=ROOT, env=os.environ | env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert printed.stdout.strip() == text.strip()
    assert MARKER not in recorder.log.read_text()


async def until_answered(bus: Bus, user: str) -> bytes:
    """The history, once the recorder has subscribed."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await own_history(bus, user)
            except NotNow:
                await asyncio.sleep(0.1)


def test_nothing_is_left_of_a_forgotten_person(database_url: str) -> None:
    engine = opened(database_url)
    recorded(engine)
    said = Streams()
    for _ in range(9):
        said.event(Ask, "later", "slack:eve", text="later")
    said.event(Forget, "ada-f", "slack:ada")
    record(engine, said.messages[-1])
    assert history_of(engine, "slack:ada") == b""
    assert OTHERS in history_of(engine, "slack:bob").decode()
    engine.dispose()


def test_a_file_that_is_too_large_has_the_newest_entries(database_url: str) -> None:
    engine = opened(database_url)
    said = Streams()
    for number in range(120):
        said.event(Ask, f"q{number}", text=f"number {number} " + "a" * 90_000)
    record(engine, *said.messages)
    data = history_of(engine, "slack:ada")
    engine.dispose()
    assert LIMIT_BYTES - 100_000 < len(data) <= LIMIT_BYTES
    text = data.decode()
    assert LEFT_OUT in text
    assert "number 119 " in text
    assert "number 0 " not in text
    assert len(list(pieces_of(data))) <= 17


async def test_a_busy_recorder_says_so(
    bus: Bus, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests beyond the limit are refused at once, and the others are answered."""
    engine = opened(database_url)
    recorded(engine)
    monkeypatch.setattr(requests, "WAITING_LIMIT", 2)
    await HistoryService(bus, engine, {}).start()
    found = await asyncio.gather(
        *(own_history(bus, "slack:ada", within_s=10) for _ in range(30)), return_exceptions=True
    )
    engine.dispose()
    assert {type(one) for one in found} == {bytes, NotNow}
    assert all(MARKER in one.decode() for one in found if isinstance(one, bytes))


async def test_a_database_that_is_away_is_not_an_empty_one(bus: Bus, tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'without-tables.sqlite'}")
    await HistoryService(bus, engine, {}).start()
    with pytest.raises(NotNow):
        await own_history(bus, "slack:ada")
    engine.dispose()
