"""Stored conversations that this version cannot read, each kept in a file of its own."""

import hashlib
import os
from pathlib import Path
from typing import Final

from shared.log import logger
from shared.private_file import make_folder

FOLDER: Final = Path("dataflow") / "unreadable"
"""In the data folder."""


class Unreadable:
    """The folder of conversations that were set aside."""

    def __init__(self, home: Path) -> None:
        self._folder = home / FOLDER

    def set_aside(self, user: str, saved: bytes, why: str) -> None:
        """Keeps a conversation and reports it.

        Raises:
            OSError: it cannot be written.
        """
        make_folder(self._folder)
        path = self._folder / f"{hashlib.sha256(saved).hexdigest()[:16]}.json"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(saved)
        logger().error(
            "a stored conversation cannot be read and was set aside: it begins again, empty",
            user=user, file=str(path), error=why,
        )  # fmt: skip

    def erase(self, user: str) -> int:
        """Deletes what was set aside of a user; returns how many conversations."""
        name = f'"{user}"'.encode()
        erased = 0
        for path in self._folder.glob("*"):
            if name in path.read_bytes():
                path.unlink()
                erased += 1
        return erased
