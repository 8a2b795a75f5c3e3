"""Stores the questions of earlier chats in one private file of limited size.

A convenience: whatever is wrong with the file, the chat must go on.
"""

import json
import os
from pathlib import Path
from typing import Final

from shared.private_file import private_file

FILE_LIMIT_BYTES: Final = 1 << 20
"""When the file reaches this size, the newer half is kept."""


class History:
    """The newest entries of one file, as JSON strings, one per line."""

    def __init__(self, path: Path, limit: int) -> None:
        """Keeps up to `limit` entries in `path`; with 0, the file is neither read nor written."""
        self._path = path
        self._limit = limit
        self._broken = False
        self._trouble = ""

    def take_trouble(self) -> str:
        """Why entries are not stored, in plain words, or an empty text. Reported only once."""
        trouble, self._trouble = self._trouble, ""
        return trouble

    def load(self) -> list[str]:
        """The entries, oldest first."""
        if not self._limit:
            return []
        try:
            lines = self._path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        except OSError as error:
            self._give_up(error)
            return []
        kept = _newest(lines, self._limit)
        entries = [entry for line in kept if (entry := _entry_of(line)) is not None]
        if len(lines) > 2 * self._limit or sum(map(len, lines)) > FILE_LIMIT_BYTES:
            self._write(entries)
        return entries

    def add(self, entry: str) -> None:
        """Stores an entry, unless it begins with a space, as in shells."""
        if not self._limit or entry[:1].isspace() or self._broken:
            return
        line = json.dumps(entry).encode() + b"\n"
        if len(line) > FILE_LIMIT_BYTES // 2:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            with os.fdopen(os.open(self._path, flags, 0o600), "ab", buffering=0) as file:
                file.write(line)
        except OSError as error:
            self._give_up(error)

    def forget(self) -> None:
        """Deletes the file."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            self._give_up(error)

    def _write(self, entries: list[str]) -> None:
        try:
            private_file(self._path, "\n".join(json.dumps(entry) for entry in entries))
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._broken = True
        self._trouble = f"What you type is not remembered: {self._path}: {error.strerror}."


def _newest(lines: list[bytes], limit: int) -> list[bytes]:
    """The last lines, within the limits of number and size."""
    room, first = FILE_LIMIT_BYTES // 2, len(lines)
    while first and len(lines) - first < limit and len(lines[first - 1]) <= room:
        first -= 1
        room -= len(lines[first])
    return lines[first:]


def _entry_of(line: bytes) -> str | None:
    """The entry in a line; None if a crash or an edit has damaged it."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, str) and entry else None
