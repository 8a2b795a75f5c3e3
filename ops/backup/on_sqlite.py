"""The databases of one machine: the dataflow's file in the data folder, and the recorder's."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from dataflow.store.sqlite import FILE
from ops.backup.archive import Reader, Writer
from ops.backup.databases import FREE, Copied, Recreated, Unusable, moved
from ops.backup.manifest import CONVERSATIONS, RECORDED, Kind
from ops.backup.sqlite_files import CannotCopy, Unpacked, copy, removal, rows_in, unpacked, value_in
from shared.database.tables import metadata

_TIME: Final = "%Y-%m-%d %H:%M:%S.%f"
"""How SQLAlchemy stores an instant in SQLite."""

_MOVE: Final = (
    "UPDATE positions SET stream_created_at = ? WHERE stream = ? AND stream_created_at = ?"
)


class OnSqlite:
    """Two files."""

    kind: Kind = "sqlite"

    def __init__(self, home: Path, recorded: sa.URL) -> None:
        self._conversations = home / FILE
        self._recorded = Path(recorded.database or "")

    def copy(self, archive: Writer) -> Copied:
        """See `Databases.copy`."""
        try:
            # The recorder's first: it must not know of streams what the archive does not have.
            revision = self._revision()
            if revision is not None:
                with archive.compressed_part(RECORDED) as write:
                    copy(self._recorded, archive.path, write)
            partitions = value_in(self._conversations, "SELECT partitions FROM store")
            if partitions is not None:
                with archive.compressed_part(CONVERSATIONS) as write:
                    copy(self._conversations, archive.path, write)
        except CannotCopy as error:
            raise Unusable(str(error)) from error
        return Copied(None if partitions is None else int(partitions), revision)

    def _revision(self) -> str | None:
        found = value_in(self._recorded, "SELECT version_num FROM alembic_version")
        return None if found is None else str(found)

    def contents(self) -> dict[str, str]:
        """See `Databases.contents`."""
        try:
            conversations = rows_in(self._conversations, ["conversations"])
            budgets = rows_in(self._conversations, ["place_budgets"])
            recorded = rows_in(self._recorded, metadata.tables)
        except CannotCopy as error:
            raise Unusable(str(error)) from error
        found: dict[str, str] = {}
        if conversations or budgets:
            text = f"{conversations} conversations in {self._conversations}"
            found[text] = removal(self._conversations)
        if recorded:
            text = f"recorded questions and answers in {self._recorded}"
            found[text] = removal(self._recorded)
        return found

    @contextmanager
    def restore(self, archive: Reader) -> Iterator["_Prepared"]:
        """See `Databases.restore`."""
        with ExitStack() as stack:

            def file(part: str, final: Path) -> Unpacked | None:
                if not archive.manifest.has(part):
                    return None
                return stack.enter_context(unpacked(archive.unpacked(part), final))

            yield _Prepared(
                file(RECORDED, self._recorded), file(CONVERSATIONS, self._conversations)
            )


class _Prepared:
    def __init__(self, recorded: Unpacked | None, conversations: Unpacked | None) -> None:
        self._recorded = recorded
        self._conversations = conversations

    def follow(self, streams: Mapping[str, Recreated]) -> None:
        """See `Prepared.follow`."""
        if self._conversations is not None:
            rows = self._conversations.rows("SELECT number, position FROM partitions")
            self._conversations.change(
                (
                    f"UPDATE partitions SET {FREE}, position = ? WHERE number = ?",  # noqa: S608
                    (moved(position, streams), number),
                )
                for number, position in rows
            )
        if self._recorded is not None:
            self._recorded.change(
                (
                    _MOVE,
                    (_stored(one.now), stream, _stored(one.before)),
                )
                for stream, one in streams.items()
            )

    def commit(self) -> None:
        """See `Prepared.commit`."""
        for file in (self._recorded, self._conversations):
            if file is not None:
                file.publish()


def _stored(at: datetime) -> str:
    return at.astimezone(UTC).strftime(_TIME)
