"""Finds out whether threadwax is already running on a data folder, so that a chat can join it.

Never keeps a lock, and never creates a folder.
"""

import os
from pathlib import Path

from dataflow.partitions.member_locks import living
from shared.lock import AlreadyRunning, locked, running
from shared.settings import Settings


def running_here(settings: Settings) -> int | None:
    """Returns the process that runs NATS on this data folder, if a dataflow runs there too.

    Returns None if NATS_URL is set, because a dataflow of that server can be anywhere.
    """
    if settings.nats_url is not None or not living(settings.home):
        return None
    return owner(settings.embedded_nats_url_file.with_name("lock"))


def owner(lock: Path) -> int | None:
    """Returns the running process that holds this lock."""
    if not lock.exists():
        return None
    try:
        os.close(locked(lock, ""))
    except AlreadyRunning as held:
        return held.pid if held.pid and running(held.pid) else None
    except OSError:  # reported by the process that needs the folder
        return None
    return None
