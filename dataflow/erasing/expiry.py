"""Removes turns that are too old from evicted conversations, which may not be used for months.

Conversations in memory do it themselves. It must never overwrite a newer version.
"""

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from dataflow.conversation import Conversation
from dataflow.erasing.recovery_files import empty_log
from dataflow.eviction.store import BUSY_S, FILE
from dataflow.retention import Kept, may_have_older
from dataflow.tokens import Window

AT_ONCE: Final = 100
PAUSE_S: Final = 0.05
"""After this many conversations, so that people who talk meanwhile are not delayed."""


def expire_evicted(store: Path, kept: Kept, window: Window) -> int:
    """Rewrites conversations with older turns; returns how many. Blocks; reads the whole file.

    Raises:
        StillBusy: the write-ahead log is in use, so older bytes may be left in it.
        sqlite3.Error: the file cannot be used now.
    """
    file = store / FILE
    if not file.exists():
        return 0
    changed, after = 0, ""
    with closing(sqlite3.connect(file, timeout=BUSY_S, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        while rows := connection.execute(
            "SELECT user, saved FROM conversations WHERE user > ? ORDER BY user LIMIT ?",
            (after, AT_ONCE),
        ).fetchall():
            for user, saved in rows:
                if (shorter := _without_older(saved, kept, window)) is not None:
                    changed += connection.execute(
                        "UPDATE conversations SET saved = ? WHERE user = ? AND saved = ?",
                        (shorter, user, saved),
                    ).rowcount
            after = rows[-1][0]
            time.sleep(PAUSE_S)
        empty_log(connection)
    return changed


def _without_older(saved: bytes, kept: Kept, window: Window) -> bytes | None:
    """The conversation without older turns; None if there are none, or if it cannot be read."""
    if not may_have_older(saved, kept):
        return None
    try:
        conversation = Conversation.load(saved, window)
    except ValueError:
        return None  # of a newer version
    conversation.forget_older(kept)
    return conversation.dump()
