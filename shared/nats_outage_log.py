"""Reports why a process waits for NATS, each reason once, and when the wait is over."""

import time
from typing import Final

from shared import lifecycle
from shared.log import logger
from shared.nats_errors import Fault

CHANGED_S: Final = 3.0
"""A new reason is reported once it has lasted this long: a starting server has several."""


class OutageLog:
    """The reports about one wait."""

    def __init__(self) -> None:
        self._reported: set[str] = set()
        self._since: dict[str, float] = {}

    def waiting(self, server: str, fault: Fault) -> None:
        """Reports the reason, unless it is already reported or is too recent."""
        now = time.monotonic()
        lasted_s = now - self._since.setdefault(fault.why, now)
        if fault.why in self._reported or (self._reported and lasted_s < CHANGED_S):
            return
        self._reported.add(fault.why)
        logger().warning("waiting for nats", server=server, why=fault.why, remedy=fault.remedy)
        lifecycle.say_if_supervised(f"waiting for NATS at {server}: {fault.why}. {fault.remedy}")

    def over(self, server: str) -> None:
        """Reports that the server is available, if the wait was reported."""
        if self._reported:
            logger().warning("nats is available", server=server)
            lifecycle.say_if_supervised(f"NATS at {server} is available")
