"""Whether the journal has room for answers. If it is nearly full, questions get a notice instead.

A full stream of replies refuses new ones, so that no unread reply is dropped. Without this check,
questions would still be accepted, and never be answered.
"""

import asyncio
from typing import Final, NoReturn

from shared import metrics, names
from shared.bus import Bus
from shared.connection import TRANSIENT
from shared.log import logger
from shared.streams import NEARLY_FULL, filled

CHECK_EVERY_S: Final = 5.0
"""700 answers per second add about 5 MB in this time; `NEARLY_FULL` leaves about 100 MB."""


class JournalCapacity:
    """Checks the stream of replies regularly."""

    def __init__(self, bus: Bus) -> None:
        self.nearly_full = False
        """The result of the last check."""
        self._bus = bus

    async def watch(self) -> NoReturn:
        """Checks for as long as the process lives, and logs each change once."""
        while True:
            try:
                self._note(filled(await self._bus.js.stream_info(names.REPLIES)))
            except TRANSIENT:
                logger().debug("the state of the stream of replies is not available")
            await asyncio.sleep(CHECK_EVERY_S)

    def _note(self, share: float) -> None:
        metrics.journal_filled.set(share)
        nearly_full = share >= NEARLY_FULL
        if nearly_full and not self.nearly_full:
            logger().error(
                "the stream of replies is nearly full: questions get a notice instead of an "
                "answer until it has more room or its oldest replies expire",
                stream=names.REPLIES, filled=round(share, 3),
            )  # fmt: skip
        elif self.nearly_full and not nearly_full:
            logger().warning("the stream of replies has room again")
        self.nearly_full = nearly_full
