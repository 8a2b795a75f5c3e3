"""The recorder is killed again and again while turns flow and the database comes and goes.

`make recorder-kills` does this 20 times over 500 turns on each database; `make test` does less.
"""

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

import pytest

from ops.nats_server import NatsServer
from shared import names
from shared.bus import Bus
from shared.database.engine import database_url, engine_of
from shared.messages import Rate
from shared.receipts import Receipts
from shared.replies import Reply
from shared.settings import Settings
from tests.fakes.model import FakeModel
from tests.postgres import Postgres
from tests.recorded import Rows, dump, until_recorded
from tests.running import Running, answer_to, dataflow, direct, question

KILLS = int(os.environ.get("THREADWAX_TEST_RECORDER_KILLS", "3"))
TURNS = int(os.environ.get("THREADWAX_TEST_RECORDER_TURNS", "60"))
PEOPLE = 10

DATABASE_AWAY_EVERY = 2
"""The database is away during every second life of the recorder."""

LIVES_S = (0.2, 2.5)
"""How long the recorder works after it is ready, until it is killed."""


class Server(Protocol):
    """A database that can be taken away."""

    def start(self) -> None:
        """Brings it back."""

    def stop(self) -> None:
        """Takes it away."""


LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


class LockedFile:
    """A SQLite file that another process locks, so that nobody can write to it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._owner: subprocess.Popen[str] | None = None

    def stop(self) -> None:
        """Locks it."""
        self._owner = subprocess.Popen(
            [sys.executable, "-c", LOCK, self._file], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._owner.stdout is not None
        assert self._owner.stdout.readline() == "locked\n"

    def start(self) -> None:
        """Unlocks it."""
        assert self._owner is not None
        self._owner.communicate()


@pytest.fixture(name="database", params=["sqlite", "postgresql"])
def _database(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Server]:
    """An empty database, as the value of DATABASE_URL, and how to take it away."""
    if request.param == "sqlite":
        file = tmp_path / "bot.sqlite"
        return f"sqlite:///{file}", LockedFile(file)
    postgres: Postgres = request.getfixturevalue("own_postgres")
    return postgres.create("bot"), postgres


async def test_rows_match_the_journal_after_kills_and_outages(
    database: tuple[str, Server],
    nats: NatsServer,
    bus: Bus,
    fake_model: FakeModel,
    tmp_path: Path,
) -> None:
    url, server = database
    rng = random.Random(18)
    flow = dataflow(tmp_path / "flow", nats.url, fake_model.base_url).start()
    recorder = _recorder(tmp_path / "recorder", nats.url, url)
    people = asyncio.create_task(_everybody(bus))
    try:
        for number in range(KILLS):
            recorder.start()
            await recorder.ready()
            if number % DATABASE_AWAY_EVERY:
                await asyncio.to_thread(server.stop)
            await asyncio.sleep(rng.uniform(*LIVES_S))
            recorder.kill()
            recorder.log.write_text("")
            if number % DATABASE_AWAY_EVERY:
                await asyncio.to_thread(server.start)
        replies = await people
    finally:
        people.cancel()
        flow.kill()
    recorder.start()
    engine = engine_of(database_url(Settings(DATABASE_URL=url)))
    try:
        rows = await until_recorded(engine, _is_complete)
    finally:
        recorder.kill()
        engine.dispose()
    _matches(rows, await _journal(bus))
    assert {row["prompt_id"] for row in rows["answers"]} == {reply.prompt_id for reply in replies}
    assert all(row["shown_at"] is not None for row in rows["answers"])

    copy = f"sqlite:///{tmp_path / 'copy.sqlite'}"
    rebuilding = _recorder(tmp_path / "rebuild", nats.url, copy, "--rebuild").start()
    assert rebuilding.process is not None
    assert await asyncio.to_thread(rebuilding.process.wait, 100) == 0, rebuilding.log.read_text()
    engine = engine_of(database_url(Settings(DATABASE_URL=copy)))
    assert dump(engine) == rows
    engine.dispose()


def _is_complete(rows: Rows) -> bool:
    shown = [row for row in rows["answers"] if row["shown_at"] is not None]
    return len(rows["questions"]) == len(shown) == len(rows["ratings"]) == TURNS


def _recorder(home: Path, nats_url: str, url: str, *options: str) -> Running:
    home.mkdir(exist_ok=True)
    environment = {"NATS_URL": nats_url, "THREADWAX_HOME": str(home), "DATABASE_URL": url}
    return Running("recorder", *options, log=home / "log", env=environment)


async def _everybody(bus: Bus) -> list[Reply]:
    told = await asyncio.gather(*(_person(bus, f"p{number}") for number in range(PEOPLE)))
    return [reply for replies in told for reply in replies]


async def _person(bus: Bus, name: str) -> list[Reply]:
    """Asks, sees the answer and rates it, over and over."""
    receipts = Receipts(bus, "test")
    replies = []
    for number in range(TURNS // PEOPLE):
        asked = question(name, number, f"What is {number}?")
        reply = await answer_to(bus, asked, timeout_s=90)
        replies.append(reply)
        await receipts.claim(f"{asked.id}.0")
        await receipts.record(f"{asked.id}.0", "message-1", finished=True)
        await bus.publish(
            Rate(
                id=f"{asked.id}-r", user=asked.user, place=direct(name), said_at=asked.said_at,
                prompt_id=asked.id, thumb="down" if number % 2 else "up",
            )
        )  # fmt: skip
        await asyncio.sleep(0.1)
    return replies


async def _journal(bus: Bus) -> dict[str, tuple[Reply, Any]]:
    """Every reply of the journal by its prompt, read by a consumer of the test's own."""
    subscription = await bus.js.pull_subscribe("replies.>", stream=names.REPLIES)
    found = {}
    while len(found) < TURNS:
        for message in await subscription.fetch(TURNS, timeout=10):
            reply = Reply.model_validate_json(message.data)
            assert reply.prompt_id not in found
            found[reply.prompt_id] = (reply, message.metadata.timestamp)
    await subscription.unsubscribe()
    return found


def _matches(rows: Rows, journal: dict[str, tuple[Reply, Any]]) -> None:
    assert len(rows["answers"]) == len(journal)
    for row in rows["answers"]:
        reply, stored_at = journal[row["prompt_id"]]
        assert reply.usage is not None
        assert reply.timings is not None
        assert row["journaled_at"] == stored_at
        assert (
            row["user_id"], row["outcome"], row["text"], row["prompt_text"], row["model"],
            row["prompt_tokens"], row["completion_tokens"], row["said_at"], row["answered_at"],
            row["called_at"], row["first_token_at"],
        ) == (
            reply.user, reply.outcome, reply.text, reply.prompt_text, reply.model,
            reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.said_at,
            reply.answered_at, reply.timings.called_at, reply.timings.first_token_at,
        )  # fmt: skip
