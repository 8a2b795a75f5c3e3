"""One owner for a data folder, for as long as the owner's process lives.

Never waits for the owner to go, and never trusts a file that merely exists: the kernel locks.
"""

import fcntl
import os
from pathlib import Path


class Held(Exception):  # noqa: N818  (named by what it is about, as all our errors)
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
        Held: somebody else has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).strip()
        os.close(descriptor)
        raise Held(what, path, int(holder) if holder.isdigit() else 0) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def running(pid: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
