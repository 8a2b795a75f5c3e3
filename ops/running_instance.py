"""Finds out whether threadwax is already running on a data folder, so that a chat can join it.

Never keeps a lock, and never creates a folder.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from shared.lock import AlreadyRunning, locked, running
from shared.settings import Settings


def running_here(settings: Settings) -> int | None:
    """Returns the process that runs NATS on this data folder, if a dataflow runs there too.

    Returns None if NATS_URL is set, because a dataflow of that server can be anywhere.
    """
    nats = settings.embedded_nats_url_file.with_name("lock")
    dataflows = (settings.home / "dataflow").glob("lock-*")
    if settings.nats_url is not None or not any(owners(dataflows)):
        return None
    return next(owners(iter([nats])), None)


def owners(locks: Iterator[Path]) -> Iterator[int]:
    """Yields the running processes that hold these locks."""
    for path in locks:
        if not path.exists():
            continue
        try:
            os.close(locked(path, ""))
        except AlreadyRunning as held:
            if held.pid and running(held.pid):
                yield held.pid
        except OSError:  # reported by the process that needs the folder
            continue
