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
        if member == self._member:
            return False
        path = self._folder / member
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return False  # it may run elsewhere
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True

    def others(self) -> list[str]:
        """The other members that use the data folder now."""
        names = [path.name for path in self._folder.iterdir() if path.name != self._member]
        return sorted(name for name in names if not self.is_dead(name))

    def remove_dead(self, but: Collection[str]) -> None:
        """Removes the files of dead members that hold nothing."""
        for path in self._folder.iterdir():
            if path.name not in but and self.is_dead(path.name):
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Releases the lock, and removes its file."""
        (self._folder / self._member).unlink(missing_ok=True)
        os.close(self._descriptor)
