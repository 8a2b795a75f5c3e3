"""`threadwax forget` on both databases, with the recorder running, and the proof that it worked."""

import asyncio
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from ops.nats_server import NatsServer
from shared import names, user_names
from shared.bus import Bus
from shared.database.engine import database_url as url_of
from shared.database.engine import engine_of
from shared.messages import Rate
from shared.settings import Settings
from tests.fakes.model import FakeModel
from tests.forgetting import EVICT_S, MARKER, OTHERS, World
from tests.postgres import Postgres
from tests.recorded import dump, until_recorded
from tests.running import ROOT, Running, answer_to, dataflow, direct, question

WORDS = ("questions", "answers", "ratings", "events")


def command(home: Path, nats_url: str, database: str, *arguments: str) -> tuple[int, str]:
    """The exit code and the output of `threadwax forget`."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI", "NATS"))}
    env |= {"NATS_URL": nats_url, "THREADWAX_HOME": str(home), "DATABASE_URL": database}
    done = subprocess.run(
        [sys.executable, "-m", "ops", "forget", *arguments],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.timeout(300)
async def test_a_person_is_forgotten_and_it_can_be_proved(
    nats: NatsServer, bus: Bus, fake_model: FakeModel, tmp_path: Path, database_url: str
) -> None:
    """Nothing is left in any file or table, also after a rebuild; another person loses nothing."""
    home = tmp_path / "home"
    flow = dataflow(home, nats.url, fake_model.base_url).start()
    await flow.ready()
    settings = {"NATS_URL": nats.url, "THREADWAX_HOME": str(home), "DATABASE_URL": database_url}
    recorder = Running("recorder", log=home / "recorder.log", env=settings).start()
    try:
        for name, marker in (("ada", MARKER), ("bob", OTHERS)):
            for number in range(3):
                await answer_to(bus, question(name, number, f"{number} {marker} " * 40))
            await bus.publish(Rate(
                id=f"{name}-r", user=user_names.user_of("test", name), place=direct(name),
                said_at=datetime.now(UTC), prompt_id=f"{name}-1", thumb="down", reason=marker,
            ))  # fmt: skip
        engine = engine_of(url_of(Settings(DATABASE_URL=SecretStr(database_url))))
        before = await until_recorded(
            engine, lambda rows: len(rows["answers"]) == 6 and len(rows["ratings"]) == 2
        )
        run = (tmp_path, nats.url, database_url)
        code, listed = await asyncio.to_thread(command, *run, "--list")
        assert (code, "test:ada\t4 events" in listed) == (0, True)
        code, found = await asyncio.to_thread(command, *run, "test:ada", "--verify", MARKER)
        assert (code, "FOUND" in found) == (1, True)
        (tmp_path / "home-backup.tar").write_bytes(b"")
        code, receipt = await asyncio.to_thread(
            command, home, nats.url, database_url, "test:ada", "--yes"
        )
        assert code == 0, receipt
        assert "4  events" in receipt
        assert "3  replies" in receipt
        assert "home-backup.tar looks like a backup" in receipt
        code, clean = await asyncio.to_thread(command, *run, "test:ada", "--verify", MARKER)
        assert code == 0, clean
        assert "conversations.db" in clean
        for process, options in ((recorder, ()), (recorder, ("--rebuild",))):
            after = await until_recorded(
                engine,
                lambda rows: (
                    len(rows["answers"]) >= 3 and any(row["forgotten_at"] for row in rows["people"])
                ),
            )
            assert MARKER not in str(after)
            for table in WORDS:
                assert of(after, table, "bob") == of(before, table, "bob")
                assert {row["kind"] for row in of(after, "events", "ada")} <= {"forget"}
            process.kill()
            recorder.command = ("recorder", *options)
            if options:
                with engine.begin() as connection:
                    connection.execute(sa.text("DELETE FROM people"))
            recorder.start()
        code, clean = await asyncio.to_thread(command, *run, "test:ada", "--verify", MARKER)
        assert code == 0, clean
        assert OTHERS in str(dump(engine))
        engine.dispose()
    finally:
        recorder.kill()
        flow.kill()


@dataclass(frozen=True)
class Database:
    """A database that a test can crash; a SQLite file crashes with the processes that use it."""

    url: str
    server: Postgres | None = None

    def crash(self) -> None:
        if self.server is not None:
            self.server.crash()
            self.server.start()


@pytest.fixture(params=["sqlite", "postgresql"])
def own_database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    if request.param == "sqlite":
        return Database(f"sqlite:///{tmp_path / 'database.sqlite'}")
    server: Postgres = request.getfixturevalue("own_postgres")
    return Database(server.create("bot"), server)


@pytest.mark.timeout(400)
async def test_it_is_complete_after_every_process_was_killed(
    nats: NatsServer, bus: Bus, fake_model: FakeModel, tmp_path: Path, own_database: Database
) -> None:
    """nats-server, the dataflow, the recorder, the command and PostgreSQL, at random moments."""
    random_, home, url = random.Random(6), tmp_path / "home", own_database.url
    settings = {"NATS_URL": nats.url, "THREADWAX_HOME": str(home), "DATABASE_URL": url}
    flow = dataflow(
        home, nats.url, fake_model.base_url, THREADWAX_EVICT_AFTER_S=str(EVICT_S)
    )  # fmt: skip
    recorder = Running("recorder", log=home / "recorder.log", env=settings).start()
    forgetting = Running(
        "forget", "test:ada", "--yes", log=tmp_path / "receipt.txt", env=settings
    )  # fmt: skip
    world = World(bus, fake_model, tmp_path, flow)
    engine = engine_of(url_of(Settings(DATABASE_URL=SecretStr(url))))
    try:
        await world.start()
        await world.says_everything("ada", MARKER)
        await world.says_everything("bob", OTHERS)
        theirs = await world.messages("bob")
        replies = (await bus.js.stream_info(names.REPLIES)).state.messages
        before = await until_recorded(
            engine, lambda rows: (len(rows["events"]), len(rows["answers"])) == (8, replies)
        )
        for _ in range(5):
            forgetting.start()
            await asyncio.sleep(random_.uniform(0.5, 4.0))
            for process in (forgetting, recorder, flow):
                process.kill()
            nats.kill()
            engine.dispose()
            await asyncio.to_thread(own_database.crash)
            nats.start()
            recorder.start()
            await world.start()
        code, receipt = await asyncio.to_thread(
            command, home, nats.url, url, "test:ada", "--yes"
        )  # fmt: skip
        assert code == 0, receipt
        assert "Forgotten: test:ada" in receipt
        after = await until_recorded(
            engine, lambda rows: any(row["forgotten_at"] for row in rows["people"])
        )
        assert MARKER not in str(after)
        code, clean = await asyncio.to_thread(
            command, tmp_path, nats.url, url, "test:ada", "--verify", MARKER
        )
        assert code == 0, clean
        assert await world.messages("bob") == theirs
        for table in WORDS:
            assert of(after, table, "bob") == of(before, table, "bob")
    finally:
        engine.dispose()
        for process in (forgetting, recorder, flow):
            process.kill()


def of(rows: dict[str, list[dict[str, object]]], table: str, name: str) -> list[dict[str, object]]:
    return [row for row in rows[table] if row["user_id"] == f"test:{name}"]


def test_wrong_usage_says_what_to_do(tmp_path: Path) -> None:
    """No server is asked."""
    for arguments, words in (
        ((), "name a USER"),
        (("ada",), "is not a user"),
        (("test:ada", "word"), "markers need --verify"),
        (("test:ada", "--verify"), "at least 4 characters"),
    ):
        code, said = command(tmp_path, "nats://127.0.0.1:9", "", *arguments, "--yes")
        assert code == 2
        assert words in said
