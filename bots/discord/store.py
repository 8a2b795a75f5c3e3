"""What the adapter remembers across restarts, in one SQLite file of the data folder.

It holds the watermark up to which all messages are handled, the channels to read after a gap, who
asked which question (so that an edit or a deletion can be published), the sessions of the last day,
and a hash of the commands. It must never hold a message's text. If the file breaks, the last 20
hours are read again and the stream drops duplicates; only direct messages of people whose channel
was known from the file alone are not found.
"""

import secrets
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from bots.discord.sqlite_file import Row, SqliteFile
from shared.messages import Place

ASKED_KEPT: Final = 20_000
"""Questions whose edits and deletions are recognized; the dataflow keeps far fewer per user."""

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
_PLACE: Final = "place"


class KnownQuestion(NamedTuple):
    """Who asked a question, and where."""

    user: str
    place: Place


class Store:
    """The file. `watermark` is the id up to which all messages are handled; 0: unknown.

    While `frozen`, the watermark is not written, because messages before it are still being read.
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
        self.place = self._place()

    def _start_over(self, channels: list[Row]) -> None:
        """Fill an empty file with everything that is still known."""
        for channel, last in channels:
            if isinstance(channel, int) and isinstance(last, int):
                self.follow(channel, last)
        # A synced write also syncs all earlier ones, including the direct channels.
        if self.watermark:
            self.remember(_WATERMARK, str(self.watermark))
        self.remember(_LOST, "1")

    def _place(self) -> str:
        """A name of this file on this machine, which no copy of it elsewhere has."""
        name = self.fact(_PLACE)
        if name is None:
            name = secrets.token_hex(8)
            self.remember(_PLACE, name)
        return f"{name}@{socket.gethostname()}"

    def continue_at(self, watermark: int) -> None:
        """Another process has handled all messages up to this id."""
        if watermark > self.watermark:
            self.watermark = watermark
            self.remember(_WATERMARK, str(watermark))

    @property
    def lost(self) -> bool:
        """Whether a watermark was lost with an earlier file; if so, this is not the first start."""
        return not self.watermark and self.fact(_LOST) is not None

    def close(self) -> None:
        """Save the watermark and close the file."""
        self.save()
        self._file.close()

    # --- facts --------------------------------------------------------------------------------

    def fact(self, name: str) -> str | None:
        """A value by its name; None if there is none."""
        rows = self._file.run("SELECT value FROM facts WHERE name = ?", (name,))
        return rows[0][0] if rows else None

    def remember(self, name: str, value: str) -> None:
        """Keep a value. The first write of a name is synced: an old watermark beats none."""
        run = self._file.run_synced if self.fact(name) is None else self._file.run
        run("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    # --- the watermark ------------------------------------------------------------------------

    def begin(self, message: int) -> None:
        """A message is being handled: the watermark stays below it until `done`."""
        self._handling.add(message)

    def done(self, message: int, *, at_most: int | None = None) -> None:
        """A message is handled; the watermark can move up to it, but not beyond `at_most`."""
        self._handling.discard(message)
        reached = message if at_most is None else min(message, at_most)
        self._highest = max(self._highest, reached)

    def save(self) -> None:
        """Advance the watermark and write it, unless it is frozen."""
        if self.frozen or not self._highest:
            return
        watermark = min([self._highest, *(message - 1 for message in self._handling)])
        if watermark > self.watermark:
            self.watermark = watermark
            self.remember(_WATERMARK, str(watermark))

    def distrust_watermark_after(self, newest: int) -> None:
        """Discard the watermark if it is beyond the newest possible message."""
        if self.watermark > newest:
            self.watermark = 0
            self.remember(_LOST, "1")

    # --- channels -----------------------------------------------------------------------------

    def follow(self, channel: int, message: int, *, direct: bool = False) -> None:
        """The bot was addressed in this channel, so it is read after a gap.

        The first write of a direct channel is synced: Discord does not list direct channels, so one
        that a power cut removed would not be found again.
        """
        is_new = not self._file.run("SELECT 1 FROM channels WHERE id = ?", (channel,))
        run = self._file.run_synced if direct and is_new else self._file.run
        run("INSERT OR REPLACE INTO channels VALUES (?, ?)", (channel, message))

    def forget_channel(self, channel: int) -> None:
        """The channel no longer exists."""
        self._file.run("DELETE FROM channels WHERE id = ?", (channel,))

    def followed(self) -> list[int]:
        """The channels to read, most recent first."""
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
        """The question that was asked with this message, command or button."""
        rows = self._file.run("SELECT user, place FROM asked WHERE message = ?", (source,))
        with suppress(ValueError):
            if rows:
                return KnownQuestion(rows[0][0], Place.model_validate_json(rows[0][1]))
        return None

    def forget_person(self, user: str) -> None:
        """Forgets which questions a person asked: later edits of them are not recognized."""
        self._file.run("DELETE FROM asked WHERE user = ?", (user,))

    # --- sessions -----------------------------------------------------------------------------

    def identified(self, now: float) -> int:
        """Count a new session (IDENTIFY); returns the number within the last day."""
        self._file.run("DELETE FROM identifies WHERE at < ?", (now - DAY_S,))
        self._file.run("INSERT INTO identifies VALUES (?)", (now,))
        rows = self._file.run("SELECT count(*) FROM identifies")
        return int(rows[0][0]) if rows else 0
