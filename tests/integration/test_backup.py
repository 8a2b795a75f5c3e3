"""A backup while people talk, and its restore to an empty folder, server and database."""

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from aiohttp import web

from bots.discord.shared_state import FollowedChannels
from bots.discord.store import Store
from bots.relay import Relay
from ops.backup.archive import writing
from ops.backup.progress import Progress
from ops.backup.put_back import put_back
from ops.backup.server import server_url
from ops.backup.take import take
from ops.nats import set_up_streams
from ops.nats_server import NatsServer
from shared import names, user_names
from shared.bus import Bus
from shared.database.engine import database_url, engine_of
from shared.database.tables import answers, ratings
from shared.follow import OTHER_STREAM
from shared.lease import Holder, Lease, look
from shared.messages import Rate
from shared.settings import Settings
from shared.tasks import end
from tests.fakes.model import FakeModel
from tests.fakes.platform import FakePlatform
from tests.postgres import Postgres
from tests.running import Running, answer_to, dataflow, direct, question

QUIET = ("ada", "bob", "eve")
BUSY = ("kim", "lea")
HOLD = "Hold this."
CHANNEL = 1441700000000000000
"""Of direct messages on Discord, which does not list them."""


@dataclass
class HoldingModel(FakeModel):
    """Answers questions that are to be held only when it is told to."""

    holds: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def _complete(self, http: web.Request) -> web.StreamResponse:
        if HOLD in json.loads(await http.read())["messages"][-1]["content"]:
            self.holds.set()
            await self.released.wait()
        return await super()._complete(http)


@pytest.fixture(name="model")
async def _model() -> AsyncIterator[HoldingModel]:
    model = HoldingModel()
    await model.start()
    yield model
    model.released.set()
    await model.stop()


@pytest.fixture(name="environments", params=["sqlite", "postgresql"])
def _environments(request: pytest.FixtureRequest) -> tuple[dict[str, str], dict[str, str]]:
    """The databases of the world that is backed up, and of the one that is restored."""
    if request.param == "sqlite":
        return {}, {}
    server: Postgres = request.getfixturevalue("postgres")
    old, new = ({"DATABASE_URL": server.create(f"test-{uuid.uuid4().hex}")} for _ in range(2))
    return old, new


@asynccontextmanager
async def world(
    home: Path, nats_url: str, model: FakeModel, platform: FakePlatform, env: dict[str, str]
) -> AsyncIterator[Bus]:
    """A dataflow, a recorder and a relay, which crash at the end."""
    flow = dataflow(home, nats_url, model.base_url, **env).start()
    settings = {"NATS_URL": nats_url, "THREADWAX_HOME": str(home), **env}
    recorder = Running("recorder", log=home / "recorder.log", env=settings).start()
    bus = await Bus.connect(nats_url, name="test")
    relay = Relay(bus, platform, consumer="test", subject="replies.test.>")
    relaying = asyncio.create_task(relay.run())
    try:
        await flow.ready()
        await recorder.ready()
        yield bus
    finally:
        await end(relaying)
        await bus.close()
        flow.kill()
        recorder.kill()


def recorded(home: Path, env: dict[str, str]) -> tuple[int, int]:
    """How many answers of those who were quiet are recorded, and how many ratings."""
    engine = engine_of(database_url(Settings(THREADWAX_HOME=home, **env)))
    quiet = [user_names.user_of("test", user) for user in QUIET]
    with engine.connect() as connection:
        of_quiet = sa.select(sa.func.count()).where(answers.c.user_id.in_(quiet))
        of_all = sa.select(sa.func.count()).select_from(ratings)
        found = connection.scalar(of_quiet) or 0, connection.scalar(of_all) or 0
    engine.dispose()
    return found


async def run(log: Path, *command: str, **env: str) -> tuple[int, str]:
    """Runs a command; returns its exit code and what it printed."""
    log.write_bytes(b"")
    running = Running(*command, log=log, env=env).start()
    assert running.process is not None
    code = await asyncio.to_thread(running.process.wait, 60.0)
    return code, log.read_text()


async def followed_by_discord(bus: Bus, file: Path, *channels: int) -> list[int]:
    """The channels that a Discord adapter reads after a gap, once it has met these."""
    store = Store(file)
    if channels:
        store.continue_at(CHANNEL + 1)
        lease = Lease(bus, "discord", place=store.place, position=lambda: store.watermark)
        await lease.acquire()
        await lease.release()
    followed = FollowedChannels(bus, store)
    await followed.read()
    for channel in channels:
        await followed.add(channel)
    found = store.followed()
    store.close()
    return found


async def talk(bus: Bus, user: str, over: asyncio.Event) -> None:
    number = 0
    while not over.is_set():
        await answer_to(bus, question(user, number, f"{user} {number}."))
        number += 1
        await asyncio.sleep(0.1)


def said_by(model: FakeModel, user: str) -> list[str]:
    """What the last request of a user has of this user."""
    for request in reversed(model.requests):
        contents = [message["content"] for message in request["messages"]]
        if contents[-1].startswith(f"{user} "):
            return [text for text in contents if text.startswith(f"{user} ")]
    raise AssertionError(f"{user} never asked")


async def test_everything_comes_back_and_nothing_is_answered_or_shown_twice(
    tmp_path: Path,
    nats: NatsServer,
    model: HoldingModel,
    environments: tuple[dict[str, str], dict[str, str]],
) -> None:
    """People talk during the backup, and some are answered after it, before all is lost."""
    old, new = environments
    platform = FakePlatform()
    home, archive = tmp_path / "old", tmp_path / "archive.tar"
    async with world(home, nats.url, model, platform, old) as bus:
        for user in QUIET:
            for number in range(2):
                await answer_to(bus, question(user, number, f"{user} {number}."))
        await bus.publish(
            Rate(id="ada-rate", user=user_names.user_of("test", "ada"), place=direct("ada"),
                 said_at=datetime.now(UTC), prompt_id="ada-0", thumb="up")
        )  # fmt: skip
        await bus.js.publish(names.blob_subject("test-picture", 0), b"a picture")
        held = question("eve", "held", f"eve {HOLD}")
        await bus.publish(held)
        over = asyncio.Event()
        talking = [asyncio.create_task(talk(bus, user, over)) for user in BUSY]
        await asyncio.wait_for(model.holds.wait(), 30.0)
        code, output = await run(
            tmp_path / "backup.log", "backup", str(archive),
            NATS_URL=nats.url, THREADWAX_HOME=str(home), **old,
        )  # fmt: skip
        assert code == 0, output
        assert archive.stat().st_mode & 0o777 == 0o600
        over.set()
        await asyncio.gather(*talking)
        model.released.set()
        # This answer is not in the backup, and its person sees it.
        await platform.until(lambda: any(p.reply.prompt_id == held.id for p in platform.posts))
    shown = Counter(part.key for part in platform.posts)

    home = tmp_path / "new"
    code, output = await run(
        tmp_path / "restore.log", "restore", str(archive), THREADWAX_HOME=str(home), **new
    )
    assert code == 0, output
    assert "forget" in output
    assert recorded(home, new) == (6, 1)
    server = NatsServer(home / "nats", port=0)
    try:
        server.start()
        await set_up_streams(server.url)
        async with world(home, server.url, model, platform, new) as bus:
            for user in QUIET:
                await answer_to(bus, question(user, 2, f"{user} 2."))
            assert said_by(model, "ada") == ["ada 0.", "ada 1.", "ada 2."]
            assert said_by(model, "bob") == ["bob 0.", "bob 1.", "bob 2."]
            assert said_by(model, "eve") == ["eve 0.", "eve 1.", f"eve {HOLD}", "eve 2."]
            for user in BUSY:
                await answer_to(bus, question(user, "after", f"{user} after."))
                said = said_by(model, user)
                assert said == [*(f"{user} {n}." for n in range(len(said) - 1)), f"{user} after."]
            assert (await bus.js.get_last_msg(names.BLOBS, "blobs.test.test-picture.0")).data
            replies = (await bus.js.stream_info(names.REPLIES, subjects_filter=">")).state
            assert replies.messages == len(replies.subjects)
            await platform.until(
                lambda: sum(p.reply.prompt_id.endswith("after") for p in platform.posts) == 2
            )
            await platform.until(lambda: f"{held.id}.0" in platform.finds)
            assert Counter(part.key for part in platform.posts) >= shown
            for log in (home / "dataflow.log", home / "recorder.log"):
                assert OTHER_STREAM not in log.read_text()
            twice = [k for k, n in Counter(p.key for p in platform.posts).items() if n > 1]
            assert not twice
    finally:
        server.close()


async def test_discord_keeps_its_channels_but_neither_its_lease_nor_its_position(
    tmp_path: Path, nats: NatsServer, bus: Bus
) -> None:
    """From that position, it would ask again what was answered after the backup."""
    await followed_by_discord(bus, tmp_path / "old.sqlite", CHANNEL)
    holder, _ = await look(bus, "discord")
    assert holder.position == CHANNEL + 1
    archive = tmp_path / "archive.tar"
    settings = Settings(THREADWAX_HOME=tmp_path / "old", NATS_URL=nats.url)
    await take(settings, nats.url, writing(archive), Progress())
    settings = Settings(THREADWAX_HOME=tmp_path / "new")
    with server_url(settings) as url:
        await put_back(settings, url, archive, Progress())
        restored = await Bus.connect(url, name="test")
        assert await look(restored, "discord") == (Holder(), 0)
        assert await followed_by_discord(restored, tmp_path / "new.sqlite") == [CHANNEL]
        await restored.close()
