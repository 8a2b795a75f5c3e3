"""Two Slack adapters: one is cut off from NATS only, or from Slack only."""

import asyncio
import itertools
import os
import time
from http import HTTPStatus

import pytest

from bots.slack.wording import EMPTY
from tests.end_to_end.redundant import Waits, readiness, until
from tests.end_to_end.slack_pair import SlackWorld
from tests.end_to_end.test_slack_processes import expected
from tests.fakes.slack import ROOM
from tests.running import Running

CUTS = list(itertools.product(("nats", "slack"), (10.0, 45.0)))
if not os.environ.get("ALL_CASES"):
    CUTS = [("nats", 14.0), ("slack", 14.0)]
HOW = ("sockets", "http") if os.environ.get("ALL_CASES") else ("sockets",)
RETRIES_S = (0.05, 60.0, 300.0) if os.environ.get("ALL_CASES") else (0.05, 8.0, 16.0)
"""Slack tries again at once, after one minute and after five."""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("slack_world", HOW, indirect=True)
@pytest.mark.parametrize("cut", CUTS)
async def test_one_is_cut_off(slack_world: SlackWorld, cut: tuple[str, float]) -> None:
    """The other one answers. Everything is shown once, notices and previews, too."""
    (from_what, seconds), slack, waits = cut, slack_world.slack, Waits()
    slack_world.model.pause_s = 0.05
    numbers = itertools.count()
    threads: dict[str, tuple[str, str]] = {}
    mentions = 0

    def ask() -> None:
        number = next(numbers)
        text = f"number {number}"
        if number % 2:
            threads[text] = ("DBOB", slack.dm(text, user="UBOB"))
        else:
            threads[text] = (ROOM, slack.mention(text))
        waits.ask(text)

    def all_answered() -> bool:
        shown = {text: slack.thread(*where) for text, where in threads.items()}
        waits.see({text for text, seen in shown.items() if seen == [expected(text)]})
        return len(waits.took_s) == len(threads)

    ask()
    await slack.until(all_answered, seconds=20)
    proxy = slack_world.proxies[from_what]
    slack.sockets.retries_s = RETRIES_S
    proxy.pause()
    cut_at, ready = time.monotonic(), ""
    while (gone_s := time.monotonic() - cut_at) < seconds:
        ask()
        if len(threads) % 3 == 0:
            slack.mention("")
            mentions += 1
        for _ in range(10):
            await asyncio.sleep(0.1)
            all_answered()
        status, why = await readiness(slack_world.pair.both[0])
        if status != HTTPStatus.OK and not ready:
            ready = f"not ready after {time.monotonic() - cut_at:.0f} s: {why}"
    in_time = len(waits.took_s)
    # Slack does not see what was under way: the kernel gives such calls up after 10 s.
    if from_what == "slack":
        proxy.reset()
    proxy.resume()
    ask()
    await slack.until(all_answered, seconds=90)
    print(f"{in_time} of {len(threads)} answered during the cut; {ready}")  # noqa: T201
    waits.report(f"slack cut off from {from_what} for {gone_s:.0f} s")
    await slack.until(lambda: slack.told("UADA").count(EMPTY) >= mentions, seconds=60)
    await asyncio.sleep(3)
    assert all_answered()
    assert [slack.thread(*where) for where in threads.values()] == [[expected(t)] for t in threads]
    assert slack.told("UADA") == [EMPTY] * mentions
    assert not any(slack.status(*where) for where in threads.values())
    assert len(slack_world.model.requests) == len(threads)
    if from_what == "slack":  # after NATS was away, it takes a stored question, or a minute
        await until(lambda: is_ready(slack_world.pair.both[0]), 60)


async def is_ready(adapter: Running) -> bool:
    return (await readiness(adapter))[0] == HTTPStatus.OK
