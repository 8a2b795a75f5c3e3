"""Chooses the store by DATABASE_URL, and opens it. A damaged file is set aside, never deleted."""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

from dataflow.store.sqlite import FILE, TABLES, SqliteStore
from dataflow.store.store import CannotOpen, Store, StoreAway
from shared import lifecycle, sqlite_errors
from shared.connection import CLOSED_EXIT_CODE
from shared.private_file import sync_folder
from shared.settings import Settings

AGAIN_S: Final = 1.0


SUSPECTED: Final = ".suspected"
"""The end of the name of a file that says that all pages of the store have to be checked."""

IN_USE: Final = (
    "{file} is damaged ({why}), and other dataflow processes use it. Stop all of them, and start "
    "again: the conversations are then read from the stream, as far back as it goes."
)


async def opened(settings: Settings, partitions: int, others: Callable[[], list[str]]) -> Store:
    """The store of these settings. Waits until it can be used, and reports why it waits.

    `others`: the other processes that use the data folder.

    Raises:
        CannotOpen: DATABASE_URL cannot be used, or the file is damaged and in use.
        dataflow.store.store.OtherPartitionCount: it is the store of another stream.
    """
    store = _chosen(settings, others)
    complaint = ""
    while True:
        try:
            await store.open(partitions)
        except StoreAway as error:
            if str(error) != complaint:
                complaint = str(error)
                lifecycle.say(f"waiting for the store of conversations: {complaint}")
            await asyncio.sleep(AGAIN_S)
        else:
            return store


def is_shared(settings: Settings) -> bool:
    """Whether processes on several machines can use the store."""
    url = settings.database_url
    return url is not None and url.get_secret_value().strip().startswith("postgres")


def existing(settings: Settings) -> Store | None:
    """The store for a command that only reads; None if there is none in the data folder yet.

    Raises:
        CannotOpen: DATABASE_URL cannot be used.
    """
    if is_shared(settings):
        return _server(settings)
    file = settings.home / FILE
    return SqliteStore(file) if file.exists() else None


def _chosen(settings: Settings, others: Callable[[], list[str]]) -> Store:
    if is_shared(settings):
        return _server(settings)
    file = settings.home / FILE
    suspected = file.with_name(file.name + SUSPECTED)
    whole = suspected.exists()
    if file.exists() and (why := sqlite_errors.fault(file, TABLES, whole=whole)):
        if others():
            raise CannotOpen(IN_USE.format(file=file, why=why))
        set_aside(file, why)
    suspected.unlink(missing_ok=True)

    def on_broken(error: sqlite3.Error) -> NoReturn:
        lifecycle.say(f"{file} is damaged: {error}")
        with contextlib.suppress(OSError):  # its disk may be what is damaged
            suspected.touch()
        # An exception would pass through the dataflow. Started again, it sets the file aside.
        os._exit(CLOSED_EXIT_CODE)

    return SqliteStore(file, on_broken)


def _server(settings: Settings) -> Store:
    # Imported only here: they take 25 MB.
    from dataflow.store.postgres import PostgresStore  # noqa: PLC0415
    from shared.database.engine import (  # noqa: PLC0415
        BadDatabaseUrl,
        database_url,
        without_password,
    )

    try:
        url = database_url(settings).set(drivername="postgresql")
    except BadDatabaseUrl as error:
        raise CannotOpen(str(error)) from error
    return PostgresStore(url.render_as_string(hide_password=False), without_password(url))


def set_aside(file: Path, why: str) -> None:
    """Renames a damaged file and reports it. Nobody may have it open.

    Raises:
        OSError: it cannot be renamed.
    """
    number = 1
    while (aside := file.with_name(f"{file.name}.broken-{number}")).exists():
        number += 1
    file.rename(aside)
    for end in ("-wal", "-shm"):
        log = file.with_name(file.name + end)
        if log.exists():
            log.rename(aside.with_name(aside.name + end))
    sync_folder(file.parent)
    lifecycle.say(
        f"{file} is damaged ({why}): set aside as {aside.name}. The conversations are read again "
        "from the stream, as far back as it goes; older messages are no longer remembered."
    )
