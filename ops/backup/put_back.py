"""`threadwax restore`: checks everything first, then restores all of it or nothing.

It must never change a server or a database that has messages, conversations or rows.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import IO, Final, TypeVar

from nats.js import api

from ops.backup import adapters, claims, streams, target
from ops.backup.archive import Reader, verified
from ops.backup.choosing import databases_of
from ops.backup.databases import Databases, Recreated
from ops.backup.manifest import Manifest, Stream
from ops.backup.progress import Progress
from ops.backup.take import in_thread
from ops.nats import CLIENT_NAME, set_up_streams
from shared import names
from shared.bus import Bus
from shared.settings import Settings
from shared.streams import set_up
from shared.tasks import to_the_end

T = TypeVar("T")


class NotHere(Exception):
    """The archive cannot be restored here; the message says what to change."""


LEFT: Final = (
    "only an empty data folder, NATS server and database can be restored to, but there are "
    "{there}. If a restore that was killed has left this, or if you no longer need it, delete "
    "it:\n\n  {commands}\n\nThen run this again. Otherwise use another THREADWAX_HOME, NATS server "
    "and database."
)


async def put_back(
    settings: Settings, url: str, file: Path | IO[bytes], progress: Progress
) -> Manifest:
    """Restores an archive; at an exception, what was empty before is empty again.

    Raises:
        ops.backup.archive.Damaged, ops.backup.archive.NewerArchive: nothing was tried.
        NotHere: nothing was tried.
        shared.connection.Unavailable: NATS cannot be used.
        ops.backup.streams.StreamFailed: it refuses a stream.
        ops.backup.databases.Unusable: a database cannot be written.
        shared.database.engine.BadDatabaseUrl: DATABASE_URL cannot be used.
        OSError: the archive cannot be read, or the disk is full.
    """
    databases = databases_of(settings)
    progress.begin("checking the archive")
    with verified(file, progress.begin) as archive:
        progress.done(f"the archive is complete; it is of {archive.manifest.began_at:%F %T} UTC")
        _check_versions(archive.manifest, settings, databases)
        bus = await Bus.connect(url, name=CLIENT_NAME, needs=names.stream_info(names.PROMPTS))
        try:
            streams.be_patient(bus)
            await _check_target(settings, bus, databases)
            await _restore(settings, bus, archive, databases, progress)
            await to_the_end(_complete(settings, url, bus, archive.manifest))
        finally:
            await to_the_end(bus.close())
    return archive.manifest


async def _complete(settings: Settings, url: str, bus: Bus, manifest: Manifest) -> None:
    # Brings the streams and consumers of an older archive to this version.
    await set_up_streams(
        url,
        keep_days=settings.keep_days,
        replicas=settings.nats_replicas,
        partitions=settings.partitions,
    )
    await adapters.put_back_values(bus, manifest.adapters)


def _check_versions(manifest: Manifest, settings: Settings, databases: Databases) -> None:
    from shared.database.upgrading import revisions

    if settings.partitions not in {None, manifest.partitions}:
        raise NotHere(
            f"the archive's users are in {manifest.partitions} partitions, but THREADWAX_PARTITIONS"
            f" is {settings.partitions}: remove that setting, since the number cannot change"
        )
    if databases.kind != manifest.databases:
        wanted = (
            "set DATABASE_URL to an empty PostgreSQL database"
            if manifest.databases == "postgresql"
            else "unset DATABASE_URL"
        )
        raise NotHere(
            f"the archive has the databases of {manifest.databases}, and these settings use "
            f"{databases.kind}: {wanted}"
        )
    if manifest.revision is not None and manifest.revision not in revisions():
        raise NotHere(
            f"threadwax {manifest.threadwax} made the archive, with tables that this version does "
            f"not know ({manifest.revision}): restore it with that version"
        )


async def _check_target(settings: Settings, bus: Bus, databases: Databases) -> None:
    if running := await target.running_processes(settings, bus):
        raise NotHere(f"still running: {', '.join(running)}. {target.STOP}")
    there = await target.messages_there(settings, bus) | await in_thread(databases.contents)
    if there:
        commands = "\n  ".join(dict.fromkeys(there.values()))
        raise NotHere(LEFT.format(there="; ".join(there), commands=commands))


async def _restore(
    settings: Settings, bus: Bus, archive: Reader, databases: Databases, progress: Progress
) -> None:
    progress.begin("conversations and recorded answers")
    async with _entered(databases.restore(archive)) as prepared:
        restored = _Streams(bus, settings.nats_replicas, progress)
        try:
            recreated = await restored.restore(archive)
            progress.begin("replies that may have been shown since")
            claimed = await claims.claim_unfinished(bus)
            progress.done(
                "1 reply is looked up on its platform before it appears" if claimed == 1
                else f"{claimed:,} replies are looked up on their platforms before they appear"
            )  # fmt: skip
            await in_thread(lambda: prepared.follow(recreated))
            prepared.commit()
        except BaseException:
            progress.done("undoing it")
            await to_the_end(restored.undo())
            raise
    progress.done("conversations and recorded answers")


class _Streams:
    """The streams that take the place of empty ones."""

    def __init__(self, bus: Bus, replicas: int | None, progress: Progress) -> None:
        self._bus = bus
        self._replicas = replicas
        self._progress = progress
        self._replaced: dict[str, api.StreamConfig | None] = {}

    async def restore(self, archive: Reader) -> dict[str, Recreated]:
        """Restores all of them."""
        recreated: dict[str, Recreated] = {}
        for stream in archive.manifest.streams:
            self._progress.begin(stream.name)
            self._replaced[stream.name] = await streams.delete(self._bus, stream.name)
            await streams.restore(
                self._bus, stream, archive.chunks(stream.part, streams.CHUNK_BYTES),
                self._progress.add, replicas=self._copies(stream),
            )  # fmt: skip
            created = (await self._bus.js.stream_info(stream.name)).created
            recreated[stream.name] = Recreated(stream.created, created or stream.created)
            self._progress.done(f"{stream.name}: {stream.messages} messages")
        return recreated

    def _copies(self, stream: Stream) -> int:
        if not streams.is_cluster(self._bus):
            return 1
        return self._replicas or int(stream.config.get("num_replicas", 1))

    async def undo(self) -> None:
        """Leaves the server as it was, with empty streams or with none."""
        for stream, config in self._replaced.items():
            await self._bus.until_done(partial(streams.delete, self._bus, stream))
            if config is not None:
                await self._bus.until_done(partial(self._bus.js.add_stream, config))
        if any(self._replaced.values()):
            await set_up(self._bus.js)  # the consumers


@asynccontextmanager
async def _entered(context: AbstractContextManager[T]) -> AsyncIterator[T]:
    """Enters what blocks; at a cancellation meanwhile, leaves it again."""
    entered = False

    def enter() -> T:
        nonlocal entered
        value = context.__enter__()
        entered = True
        return value

    error: BaseException | None = None
    try:
        yield await in_thread(enter)
    except BaseException as raised:
        error = raised
        raise
    finally:
        if entered:
            context.__exit__(type(error) if error else None, error, None)
