"""Makes one export: reads, writes the file and its manifest, and records both in the database."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from ops.export.contents import Order, Row, Summary, rows_of
from ops.export.manifest import manifest_of, manifest_path
from ops.export.output import unfinished, write
from ops.export.reading import conversations, count, latest_event, snapshot
from ops.export.registry import Withdrawn, register
from ops.progress_bar import ProgressBar
from shared.database.engine import writing
from shared.private_file import private_file

ATTEMPTS: Final = 3
"""If somebody withdraws messages during an export, it begins again."""


class NothingToExport(Exception):
    """No turn passed; the summary says why. No file was written."""

    def __init__(self, summary: Summary) -> None:
        super().__init__("nothing to export")
        self.summary = summary


class KeepsChanging(Exception):
    """People delete messages faster than the export is made: try again later."""


@dataclass(frozen=True, slots=True)
class Exported:
    """An export that is complete."""

    path: Path
    manifest: Path
    summary: Summary


def export(engine: sa.Engine, order: Order, path: Path) -> Exported:
    """Writes an export; an existing file of this name is replaced.

    Raises:
        NothingToExport: no turn passed.
        KeepsChanging: people withdrew messages during each attempt.
        OSError: the file cannot be written.
        sqlalchemy.exc.DBAPIError: the database does not answer, or cannot be written.
    """
    for _ in range(ATTEMPTS):
        try:
            return _attempt(engine, order, path)
        except Withdrawn:
            continue
    raise KeepsChanging


def _attempt(engine: sa.Engine, order: Order, path: Path) -> Exported:
    summary = Summary()
    with unfinished(path) as file:
        with snapshot(engine) as connection:
            seen_until = latest_event(connection)
            write(file.file, order.format, _rows(connection, order, summary))
        if not summary.examples:
            raise NothingToExport(summary)
        created_at = datetime.now(UTC)
        manifest = manifest_of(
            uuid.uuid4().hex, path, order, summary, sha256=file.hash(), created_at=created_at
        )
        with writing(engine) as connection:
            register(connection, manifest, str(path), seen_until=seen_until)
        # Recorded first: a file whose people are not known must never exist.
        path.unlink(missing_ok=True)
        private_file(manifest_path(path), json.dumps(manifest, indent=2, ensure_ascii=False))
        file.rename()
    return Exported(path, manifest_path(path), summary)


def _rows(connection: sa.Connection, order: Order, summary: Summary) -> Iterator[Row]:
    with ProgressBar("turns", total=count(connection, order.filters)) as progress:
        for found in conversations(connection, order.filters):
            yield from rows_of(found.turns, found.resets, order, summary)
            progress.advance(len(found.turns))
