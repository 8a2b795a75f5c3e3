"""Locks a data folder for one owner while the owner's process lives.

Never waits for the owner to exit, and never trusts a file that merely exists: the kernel locks.
"""

import fcntl
import os
from pathlib import Path
from typing import Final

_READ_BYTES: Final = 128


class AlreadyRunning(Exception):
    """Another process holds the lock: stop it, or use another folder. `pid` is 0 if unknown."""

    def __init__(self, what: str, path: Path, pid: int) -> None:
        who = f"process {pid}" if pid else "another process"
        super().__init__(
            f"{who} already runs {what} on {path.parent}: stop it, "
            "or use another data folder (THREADWAX_HOME)"
        )
        self.pid = pid


def locked(path: Path, what: str) -> int:
    """Takes the lock; returns its descriptor. Closing that, and each inherited copy, releases it.

    Raises:
        AlreadyRunning: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        left = os.pread(descriptor, _READ_BYTES, 0).decode("ascii", "replace")
        holder, _, boot = left.partition(" ")
        os.close(descriptor)
        # A process id of an earlier boot can belong to any process now.
        known = holder.isdecimal() and boot == f"{_boot()}\n"
        raise AlreadyRunning(what, path, int(holder) if known else 0) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()} {_boot()}\n".encode(), 0)
    return descriptor


def _boot() -> str:
    """Identifies this boot of the machine; empty if the kernel does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def running(pid: int) -> bool:
    """Whether a process with this id exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
