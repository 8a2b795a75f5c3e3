"""Says why a process waits for NATS: each reason once, and once that it is over."""

import time
from typing import Final

from shared import lifecycle
from shared.log import logger
from shared.nats_errors import Fault

CHANGED_S: Final = 3.0
"""Another reason is reported once it has lasted this long: a server that starts has several."""


class OutageLog:
    """What was said so far in one wait."""

    def __init__(self) -> None:
        self._said: set[str] = set()
        self._since: dict[str, float] = {}

    def on(self, server: str, fault: Fault) -> None:
        """Reports the reason, unless it was reported before or only just came up."""
        now = time.monotonic()
        lasted_s = now - self._since.setdefault(fault.why, now)
        if fault.why in self._said or (self._said and lasted_s < CHANGED_S):
            return
        self._said.add(fault.why)
        logger().warning("waiting for nats", server=server, why=fault.why, remedy=fault.remedy)
        lifecycle.tell(f"waiting for NATS at {server}: {fault.why}. {fault.remedy}")

    def over(self, server: str) -> None:
        """Reports that the server is there, if the wait was reported."""
        if self._said:
            logger().warning("nats is there", server=server)
            lifecycle.tell(f"NATS at {server} is there")
