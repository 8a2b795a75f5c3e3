"""One owner for a data folder, for as long as the owner's process lives.

Never waits for the owner to go, and never trusts a file that merely exists: the kernel locks.
"""

import fcntl
import os
from pathlib import Path
from typing import Final

_READ_BYTES: Final = 128


class AlreadyRunning(Exception):
    """Another process owns it: stop that one, or use another folder. `pid` is 0 if unknown."""

    def __init__(self, what: str, path: Path, pid: int) -> None:
        who = f"process {pid}" if pid else "another process"
        super().__init__(
            f"{who} already runs {what} on {path.parent}: stop it, "
            "or use another data folder (THREADWAX_HOME)"
        )
        self.pid = pid


def locked(path: Path, what: str) -> int:
    """Takes the lock and returns its descriptor; closed by every holder of it, it is free again.

    Raises:
        AlreadyRunning: somebody else has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        left = os.pread(descriptor, _READ_BYTES, 0).decode("ascii", "replace")
        holder, _, boot = left.partition(" ")
        os.close(descriptor)
        # What an earlier boot left may name any process of this one.
        known = holder.isdecimal() and boot == f"{_boot()}\n"
        raise AlreadyRunning(what, path, int(holder) if known else 0) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()} {_boot()}\n".encode(), 0)
    return descriptor


def _boot() -> str:
    """Names this boot of the machine; empty where the kernel does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def running(pid: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
