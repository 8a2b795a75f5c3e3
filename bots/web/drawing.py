"""How often growing answers are drawn: the more of them there are, the less often each.

Streamlit sends what scripts draw from one event loop. If they draw more than it can send, it gets
slower with every further one, instead of reaching a limit.
"""

import threading
from types import TracebackType
from typing import Final, Self

PAUSE_S: Final = 0.1
DRAWN_PER_S: Final = 800.0
"""For all tabs together; one core sends about twice as many (`tests/benchmarks/web.py`)."""


class Drawing:
    """The tabs in which answers grow; each enters it for as long. Used by all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tabs = 0

    def __enter__(self) -> Self:
        with self._lock:
            self._tabs += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._tabs -= 1

    @property
    def pause_s(self) -> float:
        """How long a tab waits until it draws again."""
        return max(PAUSE_S, self._tabs / DRAWN_PER_S)
