"""What the adapter remembers over a restart, in one SQLite file of the data folder.

Up to which message all was handled, which channels to read after a gap, who asked what (so that a
deletion can be told), IDENTIFYs and the hash of the commands. Never a message's text. Written
without a sync: what a power cut takes is read again from Discord.
"""

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

from shared.messages import Place

ASKED_KEPT: Final = 20_000
"""Questions whose deletion is understood; the flow keeps far fewer of one user."""

CHANNELS_KEPT: Final = 500
CACHE_KIB: Final = 256
"""The file is small and mostly written at its end: SQLite would keep 2 MB of it in memory."""

DAY_S: Final = 24 * 3600.0

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS channels (id INTEGER PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS identifies (at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS asked (
    message INTEGER PRIMARY KEY, user TEXT NOT NULL, place TEXT NOT NULL);
"""


class Memory:
    """The file. `mark` is the snowflake up to which everything was handled; 0 at the first start.

    While `frozen`, the mark is not written: what lies behind it is still being read.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        self._db.executescript(_SCHEMA)
        path.chmod(0o600)
        self.frozen = True
        self._handling: set[int] = set()
        self._highest = 0
        self.mark = int(self.fact("mark") or 0)

    def close(self) -> None:
        """Writes what is known and closes the file."""
        self.save()
        self._db.close()

    # --- facts --------------------------------------------------------------------------------

    def fact(self, name: str) -> str | None:
        """A remembered value."""
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def remember(self, name: str, value: str) -> None:
        """Keeps a value."""
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    # --- the mark -----------------------------------------------------------------------------

    def begin(self, message: int) -> None:
        """A message is being handled: the mark stays below it until `done`."""
        self._handling.add(message)

    def done(self, message: int) -> None:
        """A message needs nothing any more."""
        self._handling.discard(message)
        self._highest = max(self._highest, message)

    def save(self) -> None:
        """Moves the mark and writes it, unless there is a gap behind it."""
        if self.frozen or not self._highest:
            return
        mark = min(self._handling) - 1 if self._handling else self._highest
        if mark > self.mark:
            self.mark = mark
            self.remember("mark", str(mark))

    # --- channels -----------------------------------------------------------------------------

    def follow(self, channel: int, message: int) -> None:
        """The bot was spoken to there: it is read after a gap."""
        self._db.execute("INSERT OR REPLACE INTO channels VALUES (?, ?)", (channel, message))

    def forget_channel(self, channel: int) -> None:
        """It is gone."""
        self._db.execute("DELETE FROM channels WHERE id = ?", (channel,))

    def followed(self) -> list[int]:
        """The channels to read, the latest first."""
        self._db.execute(
            "DELETE FROM channels WHERE id NOT IN "
            "(SELECT id FROM channels ORDER BY last DESC LIMIT ?)",
            (CHANNELS_KEPT,),
        )
        rows = self._db.execute("SELECT id FROM channels ORDER BY last DESC").fetchall()
        return [row[0] for row in rows]

    # --- questions ----------------------------------------------------------------------------

    def asked(self, message: int, user: str, place: Place) -> None:
        """Somebody asked with this message."""
        self._db.execute(
            "INSERT OR REPLACE INTO asked VALUES (?, ?, ?)",
            (message, user, place.model_dump_json()),
        )
        if message % 64 == 0:
            self._db.execute(
                "DELETE FROM asked WHERE message <= "
                "(SELECT message FROM asked ORDER BY message DESC LIMIT 1 OFFSET ?)",
                (ASKED_KEPT,),
            )

    def asker(self, message: int) -> tuple[str, Place] | None:
        """Who asked with this message, and where."""
        row = self._db.execute(
            "SELECT user, place FROM asked WHERE message = ?", (message,)
        ).fetchone()
        if row is None:
            return None
        with suppress(ValueError):
            return row[0], Place.model_validate_json(row[1])
        return None

    # --- IDENTIFY -----------------------------------------------------------------------------

    def identified(self, now: float) -> int:
        """Counts one IDENTIFY; returns how many there were within a day."""
        self._db.execute("DELETE FROM identifies WHERE at < ?", (now - DAY_S,))
        self._db.execute("INSERT INTO identifies VALUES (?)", (now,))
        (count,) = self._db.execute("SELECT count(*) FROM identifies").fetchone()
        return int(count)
