"""Keeps tests of monthly budgets away from the end of a month, when the counters begin again."""

import asyncio
from datetime import UTC, datetime, timedelta

from dataflow.budget import renewal

LONGEST_TEST = timedelta(minutes=3)
"""No test of budgets takes longer than this, even on a busy machine."""


def wait_s(now: datetime, longest: timedelta = LONGEST_TEST) -> float:
    """How many seconds to wait so that the month has this much time left."""
    left = renewal("month", now.date()) - now
    return left.total_seconds() if left < longest else 0.0


async def enough_of_the_month() -> None:
    """Returns when a test can begin and end in the same month: at once on nearly all days."""
    await asyncio.sleep(wait_s(datetime.now(UTC)))
