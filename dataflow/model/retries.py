"""When a failed call is tried again.

Pure, apart from the clock that it is given. A wait must never be shorter than the endpoint asked
for.
"""

import random
from collections.abc import Callable, Generator
from typing import Any, Final

from dataflow.model.errors import ModelError

FIRST_LIMIT_S: Final = 1.0
LAST_LIMIT_S: Final = 16.0


def waits_s(
    rng: random.Random, give_up_after_s: float, clock: Callable[[], float]
) -> Generator[float, Any, None]:
    """Yields the seconds before each retry, in the form that `backoff` takes, until time is up.

    Each wait is the one that the endpoint asked for (Retry-After), or else a random time in the
    upper half of a limit that doubles. If the endpoint asks for more time than is left, the call
    fails at once, because an earlier retry would be in vain. If a silent endpoint used up all the
    time in the first try, there is one retry.
    """
    ends_at = clock() + give_up_after_s
    limit_s, wait_s, failures = FIRST_LIMIT_S, 0.0, 0
    while True:
        # The error must not get a name here: this generator is part of its traceback, and the cycle
        # would keep the whole call in memory.
        asked_s = _asked_s((yield wait_s))
        failures += 1
        left_s = max(ends_at - clock(), 0.0)
        if (not left_s and failures > 1) or (asked_s is not None and asked_s > left_s):
            return
        drawn_s = rng.uniform(limit_s / 2, limit_s)
        wait_s = min(drawn_s, left_s) if asked_s is None else max(asked_s, drawn_s / 4)
        limit_s = min(limit_s * 2, LAST_LIMIT_S)


def _asked_s(error: Any) -> float | None:
    return error.retry_after_s if isinstance(error, ModelError) else None
