"""What an archive contains. Pure.

It must never be believed before `archive.verified` has compared the checksums.
"""

from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, Field

FORMAT: Final = 1
"""Grows when older versions could no longer restore an archive."""

Kind = Literal["sqlite", "postgresql"]

CONVERSATIONS: Final = "sqlite/conversations.db.gz"
RECORDED: Final = "sqlite/recorded.sqlite.gz"


class Part(BaseModel):
    """One member of the archive, and what was written into it."""

    name: str
    bytes: int
    sha256: str


class Stream(BaseModel):
    """A stream at the moment of its snapshot; `config` and `state` are as the server reports them.

    `created`: positions name it, and the server does not keep it when a stream is restored.
    """

    name: str
    created: datetime
    config: dict[str, Any]
    state: dict[str, Any]

    @property
    def messages(self) -> int:
        """How many messages it has."""
        return int(self.state.get("messages", 0))

    @property
    def part(self) -> str:
        """The member with the server's snapshot."""
        return stream_part(self.name)


class Manifest(BaseModel):
    """The last member of an archive; without it, an archive is incomplete."""

    format: int
    threadwax: str
    began_at: datetime
    ended_at: datetime
    partitions: int
    databases: Kind
    revision: str | None = None
    """The revision of the recorder's tables; None: there are none."""

    tables: dict[str, list[str]] = Field(default_factory=dict)
    """Of PostgreSQL: the tables and their columns, in the order of their rows."""

    streams: list[Stream]
    adapters: dict[str, str] = Field(default_factory=dict)
    """What adapters share, by subject; nobody's words."""

    parts: list[Part]

    def has(self, name: str) -> bool:
        """Whether a member of this name exists."""
        return any(part.name == name for part in self.parts)


def stream_part(stream: str) -> str:
    """The member with the snapshot of a stream."""
    return f"streams/{stream}.s2"


def table_part(table: str) -> str:
    """The member with the rows of a table of PostgreSQL."""
    return f"postgresql/{table}.copy.gz"
