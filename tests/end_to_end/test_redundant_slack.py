"""Two Slack adapters: one is killed, frozen or stopped, and comes back.

Nothing is lost, shown twice or out of order, and no preview is left. The longest wait of each case
is printed.
"""

import asyncio
import itertools
import json
import time

import pytest

from shared import names
from shared.bus import Bus
from tests.end_to_end.redundant import CASES, FROZEN_S, Waits, stored, until
from tests.end_to_end.slack_pair import SlackWorld
from tests.end_to_end.test_slack_processes import ANSWER_S, expected
from tests.fakes.slack import ROOM

PEOPLE = ("UADA", "UBOB", "UCARL")


@pytest.mark.timeout(240)
async def test_two_slack_adapters(slack_world: SlackWorld, bus: Bus) -> None:
    """Each of the two is killed, frozen and stopped while people ask, in threads, too."""
    slack, pair = slack_world.slack, slack_world.pair
    numbers = itertools.count()
    threads: dict[str, list[str]] = {}
    channels: dict[str, str] = {}

    def ask(waits: Waits) -> None:
        number = next(numbers)
        text, user = f"number {number}", PEOPLE[number % 3]
        if number % 4 == 3:
            ts, channel = slack.dm(text), "DADA"
        elif number % 4 == 2 and (old := [t for t in threads if channels[t] == ROOM]):
            # A follow-up without a mention, by the one who asked in this thread.
            ts, channel = old[-1], ROOM
            slack.send(text, thread=ts, user=slack.messages[ROOM][ts]["user"])
        else:
            ts, channel = slack.mention(text, user=user), ROOM
        threads.setdefault(ts, []).append(text)
        channels[ts] = channel
        waits.ask(text)

    # Slack sends a mention as two events, and each may come to another process.
    for _ in range(6):
        slack.mention("")
    await slack.until(lambda: len(slack.ephemerals) >= 6, seconds=ANSWER_S)
    for fault, victim in CASES:
        waits = Waits()

        async def all_answered(waits: Waits = waits) -> bool:
            seen = {t for ts in threads for t in slack.thread(channels[ts], ts)}
            waits.see({text for text in waits.asked_at if expected(text) in seen})
            return len(waits.took_s) == 5

        watching = asyncio.create_task(until(all_answered, FROZEN_S + ANSWER_S))
        for _ in range(2):
            ask(waits)
            await asyncio.sleep(0.3)
        await pair.hit(pair.both[victim], fault)
        down = time.monotonic()
        for _ in range(3):
            ask(waits)
            await asyncio.sleep(0.4)
        if fault == "freeze":
            await asyncio.sleep(max(0.0, down + FROZEN_S - time.monotonic()))
        await pair.heal(pair.both[victim], fault)
        slack_world.balance()
        try:
            await watching
        except TimeoutError:
            missing = waits.asked_at.keys() - waits.took_s.keys()
            raise AssertionError(f"{fault} {victim}: no answer to {missing}") from None
        waits.report(f"slack {fault} {'AB'[victim]}")
    await asyncio.sleep(4)  # a second post would come with the redelivery after 2 s
    journal = [json.loads(data)["text"].rstrip() for data in await stored(bus, names.REPLIES)]
    for ts, texts in threads.items():
        shown = slack.thread(channels[ts], ts)
        assert sorted(shown) == sorted(map(expected, texts))
        assert shown == [text for text in journal if text in shown]
        assert slack.status(channels[ts], ts) == ""
    assert len(slack_world.model.requests) == sum(map(len, threads.values()))
    assert len(slack.ephemerals) == 6
