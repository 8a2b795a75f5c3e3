"""Finds what looks like a backup of the data folder. It must never change one.

A backup is out of reach: what was erased is still in it, and comes back if it is restored.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

_WORDS: Final = ("backup", "bak", ".old", "copy", "archive", "snapshot", ".broken-")
_ENDINGS: Final = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".zip", ".dump", ".sql", ".sql.gz")


@dataclass(frozen=True, slots=True)
class Backup:
    """A file or folder that looks like a backup, and when it was last changed."""

    path: Path
    changed_at: datetime


def backups(home: Path) -> list[Backup]:
    """What looks like a backup in the data folder and next to it, the oldest first."""
    found = [
        Backup(path, datetime.fromtimestamp(path.stat().st_mtime, UTC))
        for path in {*_inside(home), *_beside(home)}
    ]
    return sorted(found, key=lambda backup: (backup.changed_at, backup.path))


def _inside(home: Path) -> Iterator[Path]:
    for path in home.rglob("*"):
        name = path.name.lower()
        if name.endswith(_ENDINGS) or any(word in name for word in _WORDS):
            yield path


def _beside(home: Path) -> Iterator[Path]:
    for path in home.parent.glob("*"):
        name = path.name.lower()
        is_named_alike = home.name.lstrip(".").lower() in name and path != home
        if is_named_alike and (name.endswith(_ENDINGS) or any(word in name for word in _WORDS)):
            yield path
