"""When a failed call is tried again.

Pure, apart from the clock that it is given. A wait must never be shorter than what the endpoint
asked for.
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
    """Seconds before each retry, in the form that `backoff` takes. It ends when time is up.

    Each wait is what the endpoint asked for (Retry-After), else a draw from the upper half of a
    limit that doubles. If the endpoint asks for more time than there is left, the call is given
    up at once: a try before that would be in vain, and the person would wait for nothing.
    A first try that took all the time itself, because the endpoint was silent, is repeated once.
    """
    ends_at = clock() + give_up_after_s
    limit_s, wait_s, failures = FIRST_LIMIT_S, 0.0, 0
    while True:
        # The error that is sent gets no name here: this generator is part of its traceback, so it
        # would keep the whole call in memory until garbage is collected.
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
