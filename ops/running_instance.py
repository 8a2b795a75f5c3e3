"""Whether threadwax runs on a data folder already, so that a chat can join it.

Looks only: it must never keep a lock, nor create a folder.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from shared.lock import AlreadyRunning, locked, running
from shared.settings import Settings


def running_here(settings: Settings) -> int | None:
    """The process that runs NATS on this data folder, if a dataflow answers there as well.

    None with a NATS server of somebody else (NATS_URL): its streams may be served from anywhere.
    """
    nats = settings.embedded_nats_url_file.with_name("lock")
    dataflows = (settings.home / "dataflow").glob("lock-*")
    if settings.nats_url is not None or not any(_owners(dataflows)):
        return None
    return next(_owners(iter([nats])), None)


def _owners(locks: Iterator[Path]) -> Iterator[int]:
    """The living processes that hold these locks."""
    for path in locks:
        if not path.exists():
            continue
        try:
            os.close(locked(path, ""))
        except AlreadyRunning as held:
            if held.pid and running(held.pid):
                yield held.pid
        except OSError:  # whoever needs the folder says what is wrong with it
            continue
