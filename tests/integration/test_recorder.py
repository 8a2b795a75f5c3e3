"""The recorder as a process, behind a real conversations flow, on both databases."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from dataflow.recorder.batch import Batch
from dataflow.recorder.changes import changes_of
from dataflow.recorder.database import Database
from dataflow.recorder.writer import write
from ops.forget import markers
from ops.nats_server import NatsServer
from shared import names
from shared.bus import Bus
from shared.database import erasing
from shared.database.engine import database_url, engine_of, writing
from shared.database.erasing import erase_person
from shared.database.migrate import migrate
from shared.database.tables import people, questions
from shared.messages import Again, Ask, Deleted, Forget, Rate
from shared.receipts import Receipts
from shared.settings import Settings
from tests.fakes.model import FakeModel
from tests.forgetting import MARKER
from tests.postgres import Postgres
from tests.recorded import Streams, dump, record, until_recorded
from tests.recorded import opened as migrated
from tests.running import Running, answer_to, dataflow, direct, question

WITHIN_S = 60.0


@pytest.fixture(name="start")
async def _start(tmp_path: Path, nats: NatsServer) -> AsyncIterator[Callable[..., Running]]:
    """Starts recorders, and kills what is left of them."""
    started: list[Running] = []

    def start(url: str, *options: str, **env: str) -> Running:
        home = tmp_path / f"recorder-{len(started)}"
        home.mkdir()
        environment = {
            "NATS_URL": nats.url, "THREADWAX_HOME": str(home), "DATABASE_URL": url, **env,
        }  # fmt: skip
        running = Running("recorder", *options, log=home / "log", env=environment).start()
        started.append(running)
        return running

    yield start
    for running in started:
        running.kill()


@pytest.fixture(name="flow")
def _flow(tmp_path: Path, nats: NatsServer, fake_model: FakeModel) -> Iterator[Running]:
    """The conversations flow with the fake model."""
    running = dataflow(tmp_path / "flow", nats.url, fake_model.base_url).start()
    yield running
    running.kill()


def opened(url: str) -> sa.Engine:
    return engine_of(database_url(Settings(DATABASE_URL=SecretStr(url))))


@pytest.mark.usefixtures("flow")
async def test_a_conversation_is_recorded_and_can_be_rebuilt(
    database_url: str,
    start: Callable[..., Running],
    bus: Bus,
    tmp_path: Path,
) -> None:
    """Every stage has its time; a database that was lost is written again from the streams."""
    recorder = start(database_url)
    asked = question("ada", 1, "Hello?")
    reply = await answer_to(bus, asked)
    await Receipts(bus, "test").record(f"{asked.id}.0", "message-7", finished=True)
    head = {"user": asked.user, "place": direct("ada"), "said_at": asked.said_at}
    rate = {"prompt_id": asked.id, "thumb": "down", "reason": "rude", "correction": "Hello!"}
    await bus.publish(Rate(id="ada-2", **rate, **head))
    again = await answer_to(bus, Again(id="ada-3", prompt_id=asked.id, **head))
    secret = question("ada", 4, "xylophone")
    await answer_to(bus, secret)
    await bus.publish(Deleted(id="ada-5", prompt_id=secret.id, **head))
    await recorder.ready()
    engine = opened(database_url)
    rows = await until_recorded(
        engine, lambda rows: len(rows["answers"]) == 3 and len(rows["events"]) == 2
    )
    first, second, _ = sorted(rows["answers"], key=lambda row: row["answered_at"])
    assert (first["text"], second["text"]) == (reply.text, again.text)
    assert first["prompt_text"] == second["prompt_text"] == "Hello?"
    stages = ["said_at", "called_at", "first_token_at", "answered_at", "journaled_at", "shown_at"]
    times = [first[stage] for stage in stages]
    assert times == sorted(times)
    assert reply.timings is not None
    assert (first["called_at"], first["prompt_tokens"]) == (
        reply.timings.called_at,
        reply.usage and reply.usage.prompt_tokens,
    )
    (rating,) = rows["ratings"]
    assert (rating["prompt_id"], rating["correction"]) == (asked.id, "Hello!")
    assert "xylophone" not in str(rows)
    await _stop(recorder)
    engine.dispose()

    copy = f"sqlite:///{tmp_path / 'copy.sqlite'}"
    rebuilding = start(copy, "--rebuild")
    assert rebuilding.process is not None
    code = await asyncio.to_thread(rebuilding.process.wait, WITHIN_S)
    assert code == 0, rebuilding.log.read_text()
    assert "SAY rebuilt" in rebuilding.log.read_text()
    engine = opened(copy)
    assert dump(engine) == rows
    engine.dispose()
    for log in (recorder.log, rebuilding.log):
        assert "xylophone" not in log.read_text()
        assert "Hello?" not in log.read_text()


@pytest.mark.usefixtures("flow")
async def test_a_database_that_is_away_delays_nobody_and_loses_nothing(
    own_postgres: Postgres,
    start: Callable[..., Running],
    bus: Bus,
) -> None:
    """Each outage is one line, and so is its end; also if it begins before the recorder."""
    url = own_postgres.create("bot")
    own_postgres.stop()
    recorder = start(url)
    await recorder.ready()
    for number in range(3):
        await answer_to(bus, question("ada", number, "Hello?"))
    await _until(lambda: "cannot be used" in recorder.log.read_text())
    await asyncio.to_thread(own_postgres.start)
    engine = opened(url)
    await until_recorded(engine, lambda rows: len(rows["answers"]) == 3)
    engine.dispose()
    await asyncio.to_thread(own_postgres.stop)
    for number in range(3, 6):
        await answer_to(bus, question("ada", number, "Hello?"))
    await _until(lambda: recorder.log.read_text().count("the database cannot be used") == 2)
    # In an outage of an hour, NATS removes the consumers that nobody has read from for a minute.
    for stream in (names.PROMPTS, names.REPLIES, names.RECEIPTS_STREAM):
        unnamed = [
            consumer for consumer in await bus.js.consumers_info(stream)
            if consumer.config.durable_name is None
        ]  # fmt: skip
        assert unnamed
        for consumer in unnamed:
            await bus.js.delete_consumer(stream, consumer.name)
    await answer_to(bus, question("ada", 6, "Hello?"))
    await asyncio.to_thread(own_postgres.start)
    await until_recorded(engine, lambda rows: len(rows["answers"]) == 7)
    engine.dispose()
    log = recorder.log.read_text()
    assert log.count("the database cannot be used") == log.count("SAY the database is back") == 2
    assert "Hello?" not in log
    # A stop while the database is away is a stop.
    await asyncio.to_thread(own_postgres.stop)
    await bus.publish(question("ada", 9, "Hello?"))
    await _until(lambda: recorder.log.read_text().count("the database cannot be used") == 3)
    await _stop(recorder)


@pytest.mark.usefixtures("flow")
async def test_recorders_that_share_a_database_do_no_harm(
    database_url: str, start: Callable[..., Running], bus: Bus
) -> None:
    """They do the work twice, and one of them may rebuild; no row is doubled, lost or wrong."""
    pair = [start(database_url), start(database_url)]
    replies = {}
    for number in range(20):
        asked = question("ada", number, "Hello?")
        replies[asked.id] = await answer_to(bus, asked)
        await Receipts(bus, "test").record(f"{asked.id}.0", "message-7", finished=True)
        if number == 10:
            rebuilding = start(database_url, "--rebuild")
    assert rebuilding.process is not None
    assert await asyncio.to_thread(rebuilding.process.wait, WITHIN_S) == 0
    engine = opened(database_url)
    rows = await until_recorded(
        engine, lambda rows: sum(row["shown_at"] is not None for row in rows["answers"]) == 20
    )
    engine.dispose()
    assert {row["prompt_id"]: row["text"] for row in rows["answers"]} == {
        prompt_id: reply.text for prompt_id, reply in replies.items()
    }
    assert {row["prompt_id"] for row in rows["questions"]} == set(replies)
    for recorder in (*pair, rebuilding):
        assert "cannot be recorded" not in recorder.log.read_text()


async def test_on_one_data_folder_there_is_one_recorder(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    """Not even one that rebuilds can start: it says which process is in the way."""
    home = str(tmp_path / "shared")
    first = start("", THREADWAX_HOME=home)
    await first.ready()
    for options in ((), ("--rebuild",)):
        second = start("", *options, THREADWAX_HOME=home)
        assert second.process is not None
        assert await asyncio.to_thread(second.process.wait, WITHIN_S) == 78
        assert first.process is not None
        wanted = f"process {first.process.pid} already runs the recorder"
        assert wanted in second.log.read_text()


async def test_a_database_of_a_newer_version_is_refused(
    database_url: str, start: Callable[..., Running]
) -> None:
    """What this version does not know would be missing there later."""
    engine = opened(database_url)
    migrate(engine)
    with writing(engine) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'of 2030'"))
    engine.dispose()
    recorder = start(database_url)
    assert recorder.process is not None
    assert await asyncio.to_thread(recorder.process.wait, WITHIN_S) == 78
    assert "is of a newer version of threadwax (of 2030): upgrade" in recorder.log.read_text()


async def test_one_message_that_cannot_be_read_keeps_no_other_out(
    start: Callable[..., Running], bus: Bus, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'own.sqlite'}"
    await bus.js.publish("prompts.test.ada", b"{broken", headers={"Nats-Msg-Id": "x"})
    await bus.js.publish("replies.test.ada.q-1", b"{}")
    await bus.publish(question("ada", 1, "Hello?"))
    recorder = start(url)
    await recorder.ready()
    engine = opened(url)
    rows = await until_recorded(engine, lambda rows: len(rows["questions"]) == 1)
    engine.dispose()
    assert rows["answers"] == []
    assert recorder.log.read_text().count("a message is not recorded") == 2


async def test_a_wrong_database_url_is_explained(start: Callable[..., Running]) -> None:
    recorder = start("mysql://me:s3cret@db/bot")
    assert recorder.process is not None
    assert await asyncio.to_thread(recorder.process.wait, WITHIN_S) == 78
    log = recorder.log.read_text()
    assert "postgresql://user:password@host/database" in log
    assert "s3cret" not in log


async def _stop(recorder: Running) -> None:
    assert await recorder.stop() == 0, recorder.log.read_text()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.05)


async def test_a_start_after_a_crash_empties_the_log(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    """The crash came after the rows of a person were erased, and before the log was emptied."""
    url = f"sqlite:///{tmp_path / 'database' / 'bot.sqlite'}"
    engine = migrated(url)  # stays open, or SQLite would remove the log
    said = Streams()
    said.event(Ask, "q1", text=f"words {MARKER}")
    record(engine, *said.messages)
    with writing(engine) as connection:
        erase_person(connection, "slack:ada")
        forgotten = {"user_id": "slack:ada", "forgotten_at": datetime.now(UTC)}
        connection.execute(people.insert().values(forgotten))
    assert markers.search(tmp_path / "database", [MARKER]).matches
    start(url)
    async with asyncio.timeout(WITHIN_S):
        while markers.search(tmp_path / "database", [MARKER]).matches:
            await asyncio.sleep(0.1)
    engine.dispose()


async def test_a_long_reader_delays_the_erasure_and_repeats_no_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite empties its log when nobody reads the versions in it, for example for an export."""
    monkeypatch.setattr(erasing, "RECLAIM_WITHIN_S", 0.1)
    engine = migrated(f"sqlite:///{tmp_path / 'bot.sqlite'}")
    said = Streams()
    said.event(Ask, "q1", text=f"words {MARKER}")
    record(engine, *said.messages)
    said.event(Forget, "f1")
    batch = Batch()
    batch.add(said.messages[-1], changes_of(said.messages[-1], {}))
    written: list[Batch] = []

    def counted(connection: sa.Connection, batch: Batch) -> None:
        written.append(batch)
        write(connection, batch)

    database = Database(engine, stopping=lambda: False)
    with engine.connect() as reader:
        assert len(reader.execute(questions.select()).all()) == 1
        writing_it = asyncio.create_task(asyncio.to_thread(database.write, counted, batch))
        await _until(lambda: database.away)
        assert markers.search(tmp_path, [MARKER]).matches
    async with asyncio.timeout(WITHIN_S):
        await writing_it
    assert len(written) == 1
    assert not database.away
    assert not markers.search(tmp_path, [MARKER]).matches
    engine.dispose()
