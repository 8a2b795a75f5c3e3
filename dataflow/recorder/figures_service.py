"""Answers the web page's requests for the operators' figures.

Reads only. However many pages are open, it must not keep the database busy: figures are kept the
longer, the longer they took. Who may ask is decided by the permissions of the NATS server.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa
from nats.aio.msg import Msg
from pydantic import ValidationError

from dataflow.recorder.figures import figures_of
from dataflow.recorder.requests import Requests
from dataflow.recorder.server_figures import Lag, ServerView
from shared import names
from shared.bus import Bus
from shared.figures import Range, ServerFigures
from shared.recent import RecentMap
from shared.settings import Settings

FRESH_S: Final = 5.0
"""For at least this long, the same figures are given again."""

IDLE_TIMES: Final = 10
"""Figures are kept for this many times as long as it took to compute them."""

RANGES: Final = 8
"""Ranges whose answers are kept."""


class FiguresService:
    """Call from the asyncio thread."""

    def __init__(
        self, bus: Bus, engine: sa.Engine, settings: Settings, lag: Callable[[], Lag]
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._lag = lag
        self._server = ServerView(bus)
        self._known: RecentMap[int, tuple[float, bytes]] = RecentMap(RANGES)
        self._requests = Requests(bus, names.FIGURES_SUBJECT, self._read)

    async def start(self) -> None:
        """Begins to answer; goes on after a lost connection."""
        await self._requests.start()

    async def _read(self, message: Msg) -> bytes | None:
        try:
            wanted = Range.model_validate_json(message.data)
        except ValidationError:
            return None  # not our page
        begun_s = time.monotonic()
        fresh_until_s, data = self._known.get(wanted.hours) or (begun_s, b"")
        if begun_s >= fresh_until_s:
            server = await self._server.figures(self._lag())
            data = await asyncio.to_thread(self._compute, wanted, server)
            done_s = time.monotonic()
            fresh_s = max(FRESH_S, IDLE_TIMES * (done_s - begun_s))
            self._known[wanted.hours] = (done_s + fresh_s, data)
        return data

    def _compute(self, wanted: Range, server: ServerFigures) -> bytes:
        with self._engine.connect() as connection:
            return figures_of(
                connection, wanted, datetime.now(UTC), prices=self._settings.prices,
                budgets=self._settings.budgets, server=server,
            ).wire()  # fmt: skip
