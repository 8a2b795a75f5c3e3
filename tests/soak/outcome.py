"""What a soak ends with: what the people saw, and what the streams and the database have."""

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared import names
from shared.bus import Bus
from shared.streams import ADAPTERS
from tests.soak.processes import FakeProcess


async def outcome_of(platforms: Mapping[str, FakeProcess], url: str, home: Path) -> dict[str, Any]:
    """Counts messages, replies and recorded answers, and lists what is wrong.

    Args:
        platforms: the processes with the people, by the name of their adapter.
        url: of NATS.
        home: the folder with the data folder of each process.
    """
    statuses = {name: await users.call("status", last=True) for name, users in platforms.items()}
    outcomes: Counter[str] = Counter()
    for status in statuses.values():
        outcomes.update(status["outcomes"])
    wrong = [f"{name}: {text}" for name, status in statuses.items() for text in status["wrong"]]
    bus = await Bus.connect(url, name="soak")
    try:
        # The last sequence counts all replies, including those that have expired.
        replies = await bus.last_sequence(names.REPLIES)
        dead = (await bus.js.stream_info(names.DLQ)).state.messages
        for name in ADAPTERS:
            info = await bus.js.consumer_info(names.REPLIES, name)
            if left := (info.num_pending or 0) + (info.num_ack_pending or 0):
                wrong.append(f"{name} has {left} unread replies")
    finally:
        await bus.close()
    return {
        "sent": sum(status["sent"] for status in statuses.values()),
        "outcomes": outcomes,
        "gestures": {name: status["gestures"] for name, status in statuses.items()},
        "replies": replies,
        "recorded": _recorded_answers(home / "recorder" / "recorder" / "threadwax.sqlite"),
        "dead_letters": dead,
        "wrong": wrong,
    }


def _recorded_answers(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        return int(database.execute("SELECT count(*) FROM answers").fetchone()[0])
