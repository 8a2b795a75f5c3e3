"""Writes files and folders that only their owner can read: addresses, passwords, conversations.

A small file is written durably as a whole, or not at all. A file that a power cut left empty or
unfinished must never be trusted.
"""

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

OURS: Final = frozenset(
    {"dataflow", "discord", "finetune", "logs", "model", "nats", "recorder", "terminal"}
)
"""The folders in a data folder."""

_OTHERS: Final = 0o077
"""The mode bits that give access to anyone but the owner."""

END: Final = "\n"
"""Ends every file, so that an unfinished file can be recognized."""


def private_file(path: Path, text: str) -> None:
    """Writes a file, in a new folder if necessary; returns when it would survive a power cut.

    Raises:
        OSError: it cannot be written; an earlier version is unchanged.
    """
    make_folder(path.parent)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text.removesuffix(END) + END)
        file.flush()
        # Without this, a power cut could leave the new name with empty contents.
        _sync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def private_text(path: Path) -> str | None:
    """The text that `private_file` wrote; None if the file is missing, unreadable or incomplete."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        return None
    # A file system may extend a file before it writes the contents, which then read as zeros.
    if not text.endswith(END) or "\0" in text:
        return None
    return text.removesuffix(END) or None


def make_private_by_default() -> None:
    """Makes all files that this process and its children create private to their owner.

    That includes files that libraries create, such as SQLite's -wal and -shm.
    """
    os.umask(_OTHERS)


def make_private(home: Path) -> None:
    """Creates a data folder, or makes an existing one and our files in it private.

    Other files are left alone: the folder may be one that a person also uses for other things.

    Raises:
        OSError: it cannot be created or written.
    """
    make_folder(home)
    if not os.access(home, os.W_OK | os.X_OK):
        raise PermissionError(None, "this user cannot write to it")
    entries = list(os.scandir(home))
    ours = [
        entry for entry in entries if entry.name in OURS or entry.name.startswith("slack.sqlite3")
    ]
    if len(ours) == len(entries):
        _tighten(home.stat(), home)
    for entry in ours:
        for found in _all_in(entry):
            with contextlib.suppress(FileNotFoundError):  # a running server removes files
                _tighten(found.stat(follow_symlinks=False), Path(found))


def _all_in(entry: "os.DirEntry[str]") -> Iterator["os.DirEntry[str]"]:
    yield entry
    if not entry.is_dir(follow_symlinks=False):
        return
    with contextlib.suppress(FileNotFoundError), os.scandir(entry) as entries:
        for inner in entries:
            yield from _all_in(inner)


def _tighten(status: os.stat_result, path: Path) -> None:
    mode = stat.S_IMODE(status.st_mode)
    # Another user's file cannot be changed, and a link has no mode of its own.
    if mode & _OTHERS and status.st_uid == os.geteuid() and not stat.S_ISLNK(status.st_mode):
        path.chmod(mode & ~_OTHERS)


def make_folder(folder: Path) -> None:
    """Durably creates a folder and its parents, private to their owner."""
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for made in missing:
        sync_folder(made.parent)


def sync_folder(folder: Path) -> None:
    """Makes the entries of a folder durable: files created, renamed or removed there."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


def _sync(descriptor: int) -> None:
    # On macOS, fsync leaves data in the disk's cache, which is lost in a power cut.
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        fcntl.fcntl(descriptor, full)
    else:
        os.fsync(descriptor)
