"""Tells at once whether a member on this machine is dead, by locks that the kernel releases.

Members on other machines are heard instead (`members.py`), which takes seconds.
"""

import fcntl
import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

from shared.private_file import make_folder

FOLDER: Final = Path("dataflow") / "members"
"""In the data folder: one locked file for each member that uses it."""


class MemberLocks:
    """The lock of this member, and those of others that use the same data folder."""

    def __init__(self, home: Path, member: str) -> None:
        """Takes this member's lock, which ends with the process.

        Raises:
            OSError: the data folder cannot be written.
        """
        self._folder = home / FOLDER
        self._member = member
        make_folder(self._folder)
        self._descriptor = os.open(self._folder / member, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def is_dead(self, member: str) -> bool:
        """Whether this member used the data folder and has ended."""
        path = self._folder / member
        return member != self._member and path.exists() and not _is_locked(path)

    def others(self) -> list[str]:
        """The other members that use the data folder now."""
        return [path.name for path in _locked_in(self._folder) if path.name != self._member]

    def remove_dead(self, but: Collection[str]) -> None:
        """Removes the files of dead members that hold nothing."""
        for path in self._folder.iterdir():
            if path.name not in but and self.is_dead(path.name):
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Releases the lock, and removes its file."""
        (self._folder / self._member).unlink(missing_ok=True)
        os.close(self._descriptor)


def living(home: Path) -> list[str]:
    """The members that use a data folder now."""
    return [path.name for path in _locked_in(home / FOLDER)]


def _locked_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if _is_locked(path))


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
