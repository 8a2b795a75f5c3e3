"""Whether the journal has room for answers. Where it nearly has not, people are told so at once.

A full stream of replies takes nothing more, so that nothing is dropped that somebody has not read.
Without this, questions would still be accepted and wait for their answers in silence.
"""

import asyncio
from typing import Final, NoReturn

from shared import metrics, names
from shared.bus import Bus
from shared.connection import TRANSIENT
from shared.log import logger
from shared.streams import NEARLY_FULL, filled

LOOK_EVERY_S: Final = 5.0
"""Meanwhile 700 answers a second add some 5 MB, of a rest of 100."""


class JournalRoom:
    """Looks now and then. `nearly_full` is what it saw last."""

    def __init__(self, bus: Bus) -> None:
        self.nearly_full = False
        self._bus = bus

    async def watch(self) -> NoReturn:
        """Looks for as long as the process lives; each change is told once."""
        while True:
            try:
                self._note(filled(await self._bus.js.stream_info(names.REPLIES)))
            except TRANSIENT:
                logger().debug("how full the journal is cannot be asked now")
            await asyncio.sleep(LOOK_EVERY_S)

    def _note(self, share: float) -> None:
        metrics.journal_filled.set(share)
        nearly_full = share >= NEARLY_FULL
        if nearly_full and not self.nearly_full:
            logger().error(
                "the stream of replies is nearly full: questions get a notice instead of an "
                "answer until it has more room, or its oldest replies are gone",
                stream=names.REPLIES, filled=round(share, 3),
            )  # fmt: skip
        elif self.nearly_full and not nearly_full:
            logger().warning("the stream of replies has room again")
        self.nearly_full = nearly_full
