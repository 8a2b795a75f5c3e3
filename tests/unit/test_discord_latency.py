"""Whether Discord's gateway is slow, as discord.py measures it."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
from discord.gateway import KeepAliveHandler

from bots.discord.client import latency_s

INTERVAL_S = 41.25


def shard(beats: KeepAliveHandler | None) -> Any:
    return SimpleNamespace(_parent=SimpleNamespace(ws=SimpleNamespace(_keep_alive=beats)))


def beats() -> KeepAliveHandler:
    socket: Any = SimpleNamespace(thread_id=0, _max_heartbeat_timeout=60.0)
    return KeepAliveHandler(ws=socket, interval=INTERVAL_S, shard_id=0)


@pytest.mark.parametrize("late_s", [0.02, 20.0, INTERVAL_S - 0.5])
def test_an_answer_is_as_late_as_it_came(late_s: float) -> None:
    sent = beats()
    sent._last_send = time.perf_counter() - late_s
    sent.ack()
    assert latency_s(shard(sent)) == pytest.approx(late_s, abs=0.4)


def test_an_answer_that_was_faster_than_the_note_of_its_beat_is_not_late() -> None:
    """The thread that sends beats has not noted the last one yet."""
    sent = beats()
    sent._last_send = time.perf_counter() - INTERVAL_S - 0.01
    sent.ack()
    assert sent.latency > INTERVAL_S
    assert latency_s(shard(sent)) == 0.0


def test_nothing_is_known_before_the_first_answer() -> None:
    assert latency_s(shard(beats())) == 0.0
    assert latency_s(shard(None)) == 0.0
