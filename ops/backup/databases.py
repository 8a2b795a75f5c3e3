"""What the dataflow and the recorder store, whatever kind of database keeps it.

Everything here blocks. It must never change a database that has conversations or rows.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol

from dataflow.store.store import POSITION
from ops.backup.archive import Reader, Writer
from ops.backup.manifest import Kind
from shared import names


class Unusable(Exception):
    """A database cannot be read or written; the message says which, and why."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What was written to the archive. `partitions`: None if nobody has used the store."""

    partitions: int | None = None
    revision: str | None = None
    tables: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recreated:
    """A stream that was restored has another time of creation than the archive says."""

    before: datetime
    now: datetime


class Prepared(Protocol):
    """Databases that are restored, but not visible to anybody yet."""

    def follow(self, streams: Mapping[str, Recreated]) -> None:
        """Makes positions name the restored streams: otherwise these are read from their start."""

    def commit(self) -> None:
        """Makes it all visible."""


class Databases(Protocol):
    """The databases of one kind."""

    kind: Kind

    def copy(self, archive: Writer) -> Copied:
        """Writes everything to the archive, as of one moment for each database.

        Raises:
            Unusable: a database cannot be read.
        """

    def contents(self) -> dict[str, str]:
        """What is there already, in words, and how to delete it. Empty: it can be restored.

        Raises:
            Unusable: a database cannot be read.
        """

    def restore(self, archive: Reader) -> AbstractContextManager[Prepared]:
        """Restores everything; unless it is committed, nothing has changed.

        Raises:
            Unusable: a database cannot be written.
        """


FREE: Final = "holder = '', epoch = epoch + 1, released_by = '', answering = '[]'"
"""Nobody holds a restored partition; a process that held it before can no longer write to it."""


def moved(position: str, streams: Mapping[str, Recreated]) -> str:
    """A position of the dataflow, in the restored stream of events."""
    found = POSITION.validate_json(position)
    recreated = streams[names.PROMPTS]
    if found.stream == recreated.before:
        found = replace(found, stream=recreated.now)
    return POSITION.dump_json(found).decode()
