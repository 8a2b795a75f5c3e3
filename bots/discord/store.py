"""What the adapter remembers over a restart, in one SQLite file of the data folder.

Up to which message all was handled, which channels to read after a gap, who asked what (so that an
edit or a deletion can be published), IDENTIFYs and the hash of the commands. It must never hold a
message's text. If the file breaks, the last 20 hours are read again, and the stream drops what it
has; only direct messages of people whose channel the file alone knew are not found.
"""

from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from bots.discord.sqlite_file import Row, SqliteFile
from shared.messages import Place

ASKED_KEPT: Final = 20_000
"""Questions whose deletion is understood; the flow keeps far fewer of one user."""

CHANNELS_KEPT: Final = 500
DAY_S: Final = 24 * 3600.0

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS channels (id INTEGER PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS identifies (at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS asked (
    message INTEGER PRIMARY KEY, user TEXT NOT NULL, place TEXT NOT NULL);
"""
_KEEP: Final = "SELECT id, last FROM channels"
_WATERMARK: Final = "mark"
_LOST: Final = "lost"


class KnownQuestion(NamedTuple):
    """Who asked a question, and where."""

    user: str
    place: Place


class Store:
    """The file. `mark` is the snowflake up to which everything was handled; 0: not known.

    While `frozen`, the mark is not written: what is before it is still being read.
    """

    def __init__(self, path: Path) -> None:
        self.watermark = 0
        self.frozen = True
        self._handling: set[int] = set()
        self._highest = 0
        self._file = SqliteFile(path, _SCHEMA, keep=_KEEP, start_over=self._start_over)
        self._file.open()
        with suppress(ValueError):
            self.watermark = int(self.fact(_WATERMARK) or 0)

    def _start_over(self, channels: list[Row]) -> None:
        """Begins an empty file with what is still known."""
        for channel, last in channels:
            if isinstance(channel, int) and isinstance(last, int):
                self.follow(channel, last)
        # Synced, and with them all that was written before: direct channels are among those.
        if self.watermark:
            self.remember(_WATERMARK, str(self.watermark))
        self.remember(_LOST, "1")

    @property
    def lost(self) -> bool:
        """Whether a mark was lost with an earlier file, so that this is not the first start."""
        return not self.watermark and self.fact(_LOST) is not None

    def close(self) -> None:
        """Writes what is known and closes the file."""
        self.save()
        self._file.close()

    # --- facts --------------------------------------------------------------------------------

    def fact(self, name: str) -> str | None:
        """A remembered value."""
        rows = self._file.run("SELECT value FROM facts WHERE name = ?", (name,))
        return rows[0][0] if rows else None

    def remember(self, name: str, value: str) -> None:
        """Keeps a value. The first one is synced: an old mark is better than none."""
        run = self._file.run_synced if self.fact(name) is None else self._file.run
        run("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    # --- the mark -----------------------------------------------------------------------------

    def begin(self, message: int) -> None:
        """A message is being handled: the mark stays below it until `done`."""
        self._handling.add(message)

    def done(self, message: int, *, at_most: int | None = None) -> None:
        """A message needs nothing any more; the mark moves to it, but not beyond `at_most`."""
        self._handling.discard(message)
        reached = message if at_most is None else min(message, at_most)
        self._highest = max(self._highest, reached)

    def save(self) -> None:
        """Moves the mark and writes it, unless there is a gap before it."""
        if self.frozen or not self._highest:
            return
        watermark = min([self._highest, *(message - 1 for message in self._handling)])
        if watermark > self.watermark:
            self.watermark = watermark
            self.remember(_WATERMARK, str(watermark))

    def distrust_watermark_after(self, newest: int) -> None:
        """Counts the mark as lost if it is beyond the newest message that there can be."""
        if self.watermark > newest:
            self.watermark = 0
            self.remember(_LOST, "1")

    # --- channels -----------------------------------------------------------------------------

    def follow(self, channel: int, message: int, *, direct: bool = False) -> None:
        """The bot was spoken to there: it is read after a gap.

        Discord lists no direct channels: one that a power cut took would not be found again, so a
        new one is synced.
        """
        is_new = not self._file.run("SELECT 1 FROM channels WHERE id = ?", (channel,))
        run = self._file.run_synced if direct and is_new else self._file.run
        run("INSERT OR REPLACE INTO channels VALUES (?, ?)", (channel, message))

    def forget_channel(self, channel: int) -> None:
        """It is gone."""
        self._file.run("DELETE FROM channels WHERE id = ?", (channel,))

    def followed(self) -> list[int]:
        """The channels to read, the latest first."""
        self._file.run(
            "DELETE FROM channels WHERE id NOT IN "
            "(SELECT id FROM channels ORDER BY last DESC LIMIT ?)",
            (CHANNELS_KEPT,),
        )
        return [row[0] for row in self._file.run("SELECT id FROM channels ORDER BY last DESC")]

    # --- questions ----------------------------------------------------------------------------

    def remember_question(self, source: int, user: str, place: Place) -> None:
        """Somebody asked with this message, command or button."""
        self._file.run(
            "INSERT OR REPLACE INTO asked VALUES (?, ?, ?)",
            (source, user, place.model_dump_json()),
        )
        if source % 64 == 0:
            self._file.run(
                "DELETE FROM asked WHERE message <= "
                "(SELECT message FROM asked ORDER BY message DESC LIMIT 1 OFFSET ?)",
                (ASKED_KEPT,),
            )

    def question(self, source: int) -> KnownQuestion | None:
        """Who asked with this message, command or button, and where."""
        rows = self._file.run("SELECT user, place FROM asked WHERE message = ?", (source,))
        with suppress(ValueError):
            if rows:
                return KnownQuestion(rows[0][0], Place.model_validate_json(rows[0][1]))
        return None

    # --- IDENTIFY -----------------------------------------------------------------------------

    def identified(self, now: float) -> int:
        """Counts one IDENTIFY; returns how many there were within a day."""
        self._file.run("DELETE FROM identifies WHERE at < ?", (now - DAY_S,))
        self._file.run("INSERT INTO identifies VALUES (?)", (now,))
        rows = self._file.run("SELECT count(*) FROM identifies")
        return int(rows[0][0]) if rows else 0
