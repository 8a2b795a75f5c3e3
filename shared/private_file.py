"""Small files that only their owner can read: addresses, passwords, ports.

A file is written whole and durably or not at all. One that a power cut left empty or unfinished
must never be believed.
"""

import fcntl
import os
from pathlib import Path
from typing import Final

END: Final = "\n"
"""Ends every file, so that an unfinished one can be recognized."""


def private_file(path: Path, text: str) -> None:
    """Writes a file; returns when it survives a power cut. The folder is made if it is missing.

    Raises:
        OSError: it cannot be written, and what was there before is unchanged.
    """
    make_folder(path.parent)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text.removesuffix(END) + END)
        file.flush()
        # Without this, the name can become durable before the contents: an empty file.
        _sync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def private_text(path: Path) -> str | None:
    """What `private_file` wrote there; None if the file is missing, unreadable or not whole."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        return None
    # A file system may extend a file before it writes the contents: they read as zeros.
    if not text.endswith(END) or "\0" in text:
        return None
    return text.removesuffix(END) or None


def make_folder(folder: Path) -> None:
    """Makes a folder durably, with its parents, for its owner only."""
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for made in missing:
        sync_folder(made.parent)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable: what was created, renamed or removed there."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


def _sync(descriptor: int) -> None:
    # On macOS fsync leaves data in the disk's cache, which a power cut empties.
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        fcntl.fcntl(descriptor, full)
    else:
        os.fsync(descriptor)
