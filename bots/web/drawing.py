"""How often growing answers are drawn: the more of them there are, the less often each.

Streamlit sends what scripts draw from one event loop. If they draw more than it can send, it gets
slower with every further one, instead of reaching a limit.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

PAUSE_S: Final = 0.1
DRAWN_PER_S: Final = 800.0
"""For all tabs together. At this rate 250 of them take two thirds of a core: docs/benchmarks.md."""


class Drawing:
    """The tabs in which answers grow. Used by all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tabs = 0

    @contextmanager
    def tab(self) -> Iterator[None]:
        """Counts a tab for as long as its answers grow."""
        with self._lock:
            self._tabs += 1
        try:
            yield
        finally:
            with self._lock:
                self._tabs -= 1

    @property
    def pause_s(self) -> float:
        """How long a tab waits until it draws again."""
        return max(PAUSE_S, self._tabs / DRAWN_PER_S)
