"""What the processes that want a lease tell each other: who is alive, and who waits.

Beats over core NATS, which needs no leader of a stream. Nothing here decides who holds a lease: the
stored value does. No clock is compared with another machine's: silence is counted in beats of
one's own that came back, so nobody seems silent while NATS is away.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, Literal

import nats.errors
from nats.aio.msg import Msg
from pydantic import BaseModel, ValidationError

from shared import names
from shared.bus import Bus
from shared.connection import TRANSIENT
from shared.pulse import FRESH_S, now_s
from shared.tasks import end

BEAT_S: Final = 0.5
SILENT_BEATS: Final = 9
"""The holder is dead, frozen or cut off if this many own beats came back without one of it."""

CUT_OFF_S: Final = 3.0
"""A holder whose own beats do not come back for this long is cut off.

It stops before another process starts, since `SILENT_BEATS` take at least four seconds.
"""

WAITING_FOR_S: Final = 30.0
"""How long a process that waits for the lease is remembered after it was last heard."""

_OLD_WAITING: Final = b"waiting"
"""The note of versions without beats. A holder steps down only if it hears that somebody waits."""

Kind = Literal["held", "waiting", "quiet", "free"]


class Note(BaseModel):
    """`held`: from the holder. `waiting`: it wants the lease. `quiet`: only if nobody else has it.

    `free`: the lease has just been given up.
    """

    process: str
    kind: Kind
    hears: str = ""
    """The holder whose beats it hears."""

    at: float
    """When it was sent, by the sender's own clock."""


class LeaseNotes:
    """The beats of one process, and what it hears of the others."""

    def __init__(self, bus: Bus, lease: str, process: str, *, on_news: Callable[[], None]) -> None:
        """`on_news`: the lease is free, or its holder has just become silent."""
        self._bus = bus
        self._subject = names.lease_notes(lease)
        self._process = process
        self._on_news = on_news
        self._beating: asyncio.Task[None] | None = None
        self._own_at = now_s()
        self._holder = ""
        self._heard_at = float("-inf")
        self._silent_beats = 0
        self._heard_by_other_at = float("-inf")
        self._others_at = float("-inf")
        self.kind: Kind = "quiet"

    def begin(self) -> None:
        """Begins to send beats and to hear those of others."""
        if self._beating is None:
            self._own_at = now_s()
            self._beating = asyncio.create_task(self._beat())

    async def close(self) -> None:
        """Sends no more beats."""
        beating, self._beating = self._beating, None
        if beating is not None:
            await end(beating)

    async def tell_free(self) -> None:
        """Tells the others that the lease is free. Best effort."""
        await self._send("free")

    # --- what was heard -------------------------------------------------------------------------

    @property
    def others_wait(self) -> bool:
        """Whether another process has lately asked for the lease."""
        return now_s() - self._others_at < WAITING_FOR_S

    @property
    def is_cut_off(self) -> bool:
        """Whether own beats do not come back: others do not hear them, either."""
        return now_s() - self._own_at > CUT_OFF_S

    @property
    def heard_by_other_at(self) -> float:
        """When another process that waits last said that it hears this holder."""
        return self._heard_by_other_at

    def follow(self, holder: str, *, is_alive: bool) -> None:
        """Counts the silence of this holder; `is_alive`: it has just renewed the lease."""
        if is_alive or holder != self._holder:
            self._holder, self._silent_beats = holder, 0

    @property
    def is_silent(self) -> bool:
        """Whether the holder is dead, frozen or cut off."""
        return self._silent_beats >= SILENT_BEATS

    async def _hear(self, message: Msg) -> None:
        if message.data == _OLD_WAITING and self.kind == "held":  # else perhaps one's own
            self._others_at = now_s()
            return
        try:
            note = Note.model_validate_json(message.data)
        except ValidationError:
            return  # of another version
        if note.kind == "free":
            self._on_news()
        elif note.process == self._process:
            self._hear_own(note)
        elif note.kind == "held" and note.process == self._holder:
            self._heard_at, self._silent_beats = now_s(), 0
        elif note.kind == "waiting":
            self._others_at = now_s()
            if note.hears == self._process:
                self._heard_by_other_at = now_s()

    def _hear_own(self, note: Note) -> None:
        self._own_at = max(self._own_at, note.at)
        # After a short cut, all beats come back at the same moment, perhaps before the holder's.
        if now_s() - note.at <= FRESH_S:
            self._silent_beats += 1
            if self._silent_beats == SILENT_BEATS:
                self._on_news()

    # --- what is sent ---------------------------------------------------------------------------

    async def _beat(self) -> None:
        notes = await self._bus.watch(self._subject, self._hear)
        try:
            while True:
                if self._bus.connected:
                    await self._send(self.kind)
                await asyncio.sleep(BEAT_S)
        finally:
            with contextlib.suppress(nats.errors.Error):
                await notes.unsubscribe()

    async def _send(self, kind: Kind) -> None:
        hears = self._holder if now_s() - self._heard_at <= FRESH_S else ""
        note = Note(process=self._process, kind=kind, hears=hears, at=now_s())
        with contextlib.suppress(*TRANSIENT):
            await self._bus.client.publish(self._subject, note.model_dump_json().encode())
            if kind == "waiting":
                await self._bus.client.publish(self._subject, _OLD_WAITING)
