"""Fills a small file system (`small_disk`)."""

import contextlib
from pathlib import Path


def fill(ballast: Path) -> None:
    """Writes a file until there is no room left."""
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            with contextlib.suppress(OSError):  # there is no room left
                while True:
                    file.write(b"x" * size)
