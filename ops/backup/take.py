"""`threadwax backup`: takes the parts in an order in which none knows more than a later one.

Reads only, while everything runs. docs/decisions/0022-backups.md gives the reasons for the order.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Final, TypeVar

from ops.backup import adapters, streams
from ops.backup.archive import Writer
from ops.backup.choosing import databases_of
from ops.backup.manifest import FORMAT, Manifest, Stream, stream_part
from ops.backup.progress import Progress
from ops.nats import CLIENT_NAME
from shared import names
from shared.bus import Bus
from shared.partitioning import same_partitions
from shared.settings import Settings
from shared.tasks import to_the_end

T = TypeVar("T")

OPTIONAL: Final = frozenset({names.LINKS_STREAM, names.DLQ, names.BLOBS})
"""Streams that a server of an older version may lack."""


async def take(
    settings: Settings, url: str, to: AbstractContextManager[Writer], progress: Progress
) -> Manifest:
    """Writes the archive.

    Raises:
        shared.connection.Unavailable: NATS cannot be used.
        ops.backup.streams.StreamFailed: it does not send a stream.
        ops.backup.databases.Unusable: a database cannot be read.
        shared.database.engine.BadDatabaseUrl: DATABASE_URL cannot be used.
        OSError: the file exists, or cannot be written.
    """
    databases = databases_of(settings)
    bus = await Bus.connect(url, name=CLIENT_NAME, needs=names.stream_info(names.PROMPTS))
    try:
        began_at = datetime.now(UTC)
        with to as archive:
            progress.begin("conversations and recorded answers")
            copied = await in_thread(lambda: databases.copy(archive))
            progress.done(
                f"{'conversations' if copied.partitions else 'no conversations yet'}, "
                f"{'recorded answers' if copied.revision else 'nothing recorded yet'}"
            )
            taken = [
                one
                for stream in streams.STREAMS
                if (one := await _stream(bus, stream, archive, progress)) is not None
            ]
            live = (await bus.js.stream_info(names.PROMPTS)).config
            manifest = Manifest(
                format=FORMAT,
                threadwax=version("threadwax"),
                began_at=began_at,
                ended_at=datetime.now(UTC),
                partitions=copied.partitions or same_partitions(live),
                databases=databases.kind,
                revision=copied.revision,
                tables=copied.tables,
                streams=taken,
                adapters=await adapters.shared_values(bus),
                parts=list(archive.parts),
            )
            archive.finish(manifest)
    finally:
        await to_the_end(bus.close())
    return manifest


async def _stream(bus: Bus, stream: str, archive: Writer, progress: Progress) -> Stream | None:
    progress.begin(stream)
    if stream in OPTIONAL and not await streams.exists(bus, stream):
        return None
    with archive.part(stream_part(stream)) as write:
        taken = await streams.snapshot(bus, stream, write, progress.add)
    progress.done(f"{stream}: {taken.messages} messages")
    return taken


async def in_thread(call: Callable[[], T]) -> T:
    """Calls what blocks; at a cancellation, it is finished first, because it uses open files."""
    calling = asyncio.ensure_future(asyncio.to_thread(call))
    try:
        return await asyncio.shield(calling)
    except asyncio.CancelledError:
        await asyncio.wait({calling})
        raise
