"""THREADWAX_KEEP_DAYS: older words disappear from streams, conversations and the database."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import ValidationError

from dataflow.store.sqlite import FILE
from ops.forget import markers
from ops.nats import set_up_streams
from ops.nats_server import NatsServer
from shared import names, streams
from shared.bus import Bus
from shared.database.erasing import expire
from shared.database.tables import answers, events, questions, ratings
from shared.messages import Ask, Edited, Quote, Rate
from shared.settings import Settings
from tests.fakes.model import FakeModel
from tests.forgetting import EVICT_S, MARKER, OTHERS
from tests.recorded import Streams, dump, opened, record, until_recorded
from tests.running import Running, answer_to, dataflow, question

DAY_S = 24 * 3600
OLD = datetime.now(UTC) - timedelta(days=5)


@pytest.mark.parametrize("days", ["0", "-1", "seven", "1.5", "36501"])
def test_the_days_are_a_whole_number(days: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THREADWAX_KEEP_DAYS", days)
    with pytest.raises(ValidationError, match="THREADWAX_KEEP_DAYS"):
        Settings()


async def test_the_streams_drop_older_messages(nats: NatsServer, bus: Bus) -> None:
    """A longer time than their own limit changes nothing, and without the setting that applies."""

    async def kept_days() -> dict[str, float]:
        found = {}
        for config in streams.stream_configs(1):
            info = await bus.js.stream_info(config.name or "")
            found[config.name or ""] = (info.config.max_age or 0) / DAY_S
        return found

    usual = await kept_days()
    assert (usual[names.PROMPTS], usual[names.DLQ]) == (7, 30)
    codes = {names.LINKS_STREAM: usual[names.LINKS_STREAM]}
    assert codes[names.LINKS_STREAM] < 1
    await set_up_streams(nats.url, keep_days=2)
    assert await kept_days() == dict.fromkeys(usual, 2) | codes
    await set_up_streams(nats.url, keep_days=20)
    assert await kept_days() == usual | {names.DLQ: 20, names.ADVISORIES: 20}
    await set_up_streams(nats.url)
    assert await kept_days() == usual


# --- conversations --------------------------------------------------------------------------------


async def test_conversations_forget_older_turns(
    nats: NatsServer, bus: Bus, fake_model: FakeModel, tmp_path: Path
) -> None:
    """Also those of people who never write again; newer turns stay, and are still remembered."""
    home = tmp_path / "home"
    flow = dataflow(home, nats.url, fake_model.base_url, THREADWAX_EVICT_AFTER_S=str(EVICT_S))
    flow.start()
    await flow.ready()
    try:
        for name in ("ada", "bob"):
            old = question(name, 1, f"old {MARKER} " * 50)
            await answer_to(bus, old.model_copy(update={"said_at": OLD}))
            await answer_to(bus, question(name, 2, f"new {OTHERS}"))
        folder = home / "dataflow"

        def with_words() -> set[str]:
            return {path.name for path in markers.search(folder, [MARKER]).matches}

        def live_rows() -> int:
            with closing(sqlite3.connect(home / FILE, timeout=10)) as file:
                rows = file.execute("SELECT saved FROM conversations")
                return sum(MARKER.encode() in saved for (saved,) in rows)

        async with asyncio.timeout(30):
            while not {FILE.name, f"{FILE.name}-wal"} & with_words():
                await asyncio.sleep(0.2)
        flow.env["THREADWAX_KEEP_DAYS"] = "3"
        # The first life drops the turns, the second one the bytes that SQLite keeps of them.
        for have_words in (live_rows, with_words):
            flow.kill()
            flow.start()
            async with asyncio.timeout(40):
                while have_words():
                    await asyncio.sleep(0.5)
        assert markers.search(folder, [OTHERS]).matches
        await answer_to(bus, question("ada", 3, "what did I say?"))
        sent = str(fake_model.requests[-1]["messages"])
        assert (OTHERS in sent, MARKER in sent) == (True, False)
    finally:
        flow.kill()


# --- the database ---------------------------------------------------------------------------------


def recorded(engine: sa.Engine) -> None:
    """Ada's words of five days ago, and Bob's of today."""
    said = Streams()
    for user, marker in (("slack:ada", MARKER), ("slack:bob", OTHERS)):
        name = user[-3:]
        words = f"{marker} " * 100
        quotes = (Quote(author="Eve", text=words),)
        said.event(Ask, name, user, text=words, quotes=quotes)
        said.reply(name, user, text=words, prompt_text=words)
        rated = {"prompt_id": name, "thumb": "down", "reason": words, "correction": words}
        said.event(Rate, f"{name}-r", user, **rated)
        said.event(Edited, f"{name}-e", user, prompt_id="another", text=words)
    record(engine, *said.messages)
    now = datetime.now(UTC)
    with engine.begin() as connection:
        for table, columns in (
            (questions, ("stored_at", "said_at")), (answers, ("said_at", "journaled_at")),
            (ratings, ("rated_at",)), (events, ("stored_at",)),
        ):  # fmt: skip
            for user, at in (("slack:ada", OLD), ("slack:bob", now)):
                change = table.update().where(table.c.user_id == user)
                connection.execute(change.values(dict.fromkeys(columns, at)))


def test_old_words_are_erased_from_the_database(database_url: str, tmp_path: Path) -> None:
    """Rows without words stay for the reports; events have no use without words."""
    engine = opened(database_url)
    recorded(engine)
    before = dump(engine)
    assert expire(engine, datetime.now(UTC) - timedelta(days=3)) == 5
    after = dump(engine)
    assert MARKER not in str(after)
    assert len(after["questions"]) == len(after["answers"]) == len(after["ratings"]) == 2
    for table in ("questions", "answers", "ratings", "events"):
        theirs = [[row for row in rows[table] if row["user_id"] == "slack:bob"]
                  for rows in (before, after)]  # fmt: skip
        assert theirs[0] == theirs[1]
    (asked,) = (row for row in after["questions"] if row["user_id"] == "slack:ada")
    assert asked["deleted_at"] is not None
    assert [row["id"] for row in after["events"]] == ["bob-e", "bob-r"]
    assert expire(engine, datetime.now(UTC) - timedelta(days=3)) == 0
    if engine.dialect.name == "sqlite":
        found = markers.search(tmp_path, [MARKER, OTHERS])
        assert found.read
        assert {hit for hits in found.matches.values() for hit in hits} == {OTHERS}
    engine.dispose()


def test_more_rows_than_fit_into_one_transaction(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.database.erasing.EXPIRE_AT_ONCE", 2)
    engine = opened(database_url)
    said = Streams()
    for number in range(5):
        said.event(Edited, f"e{number}", prompt_id="another", text=MARKER)
    record(engine, *said.messages)
    assert expire(engine, said.now + timedelta(seconds=1)) == 5
    assert dump(engine)["events"] == []
    engine.dispose()


async def test_the_recorder_erases_old_words(
    nats: NatsServer, tmp_path: Path, database_url: str
) -> None:
    """It does so at its start, and a rebuild at its end."""
    engine = opened(database_url)
    for options in ((), ("--rebuild",)):
        recorded(engine)
        env = {
            "NATS_URL": nats.url, "THREADWAX_HOME": str(tmp_path), "DATABASE_URL": database_url,
            "THREADWAX_KEEP_DAYS": "3",
        }  # fmt: skip
        recorder = Running("recorder", *options, log=tmp_path / "recorder.log", env=env).start()
        try:
            rows = await until_recorded(engine, lambda rows: MARKER not in str(rows))
        finally:
            recorder.kill()
        assert OTHERS in str(rows)
        assert [row["id"] for row in rows["events"]] == ["bob-e", "bob-r"]
    engine.dispose()
