"""A disk with a volatile write cache: what a power cut leaves of it is drawn.

Pure. It must never keep less than what was flushed, and never more than what was written.
"""

import mmap
import random
from dataclasses import dataclass, field
from typing import Final, Literal

SECTOR_BYTES: Final = 512
"""The unit that a disk writes whole or not at all, so a page of 4 KiB may be torn."""

Loss = Literal["all", "tail", "some"]
LOSSES: Final[dict[Loss, int]] = {"all": 2, "tail": 3, "some": 5}
"""What is lost of the cache, with weights: everything, its newest part, or any sectors."""


@dataclass
class Counts:
    """What a disk has done so far. Bytes and sectors are those of the cache at each cut."""

    writes: int = 0
    flushes: int = 0
    cuts: int = 0
    cached_sectors_lost: int = 0
    cached_sectors_kept: int = 0


@dataclass
class LossyDisk:
    """The contents as its users see them, and the writes that no flush has followed yet."""

    size: int
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        # Anonymous memory: only the pages that are written take any.
        self._now = mmap.mmap(-1, self.size)
        self._unflushed: list[tuple[int, bytes, bytes]] = []
        """Offset, the bytes before, the bytes written; the oldest first."""

    def read(self, offset: int, count: int) -> bytes:
        """The bytes there, of which there are fewer at the end of the disk."""
        return self._now[offset : min(offset + count, self.size)]

    def write(self, offset: int, data: bytes) -> None:
        """Writes into the cache."""
        end = offset + len(data)
        if end > self.size:
            raise ValueError("behind the end of the disk")
        self._unflushed.append((offset, self._now[offset:end], data))
        self._now[offset:end] = data
        self.counts.writes += 1

    def flush(self) -> None:
        """Returns when everything written is durable."""
        self._unflushed.clear()
        self.counts.flushes += 1

    def cut(self, rng: random.Random) -> None:
        """The power goes: the disk holds what was flushed, and of the cache what is drawn.

        A cache may be written out in any order, so each of its sectors is kept or lost by itself.
        """
        cache, self._unflushed = self._unflushed, []
        for offset, before, _ in reversed(cache):
            self._now[offset : offset + len(before)] = before
        loss: Loss = rng.choices(list(LOSSES), list(LOSSES.values()))[0]
        kept_share = rng.random()
        newest_kept = rng.randint(0, len(cache))
        for number, (offset, _, data) in enumerate(cache):
            for at in range(0, len(data), SECTOR_BYTES):
                kept = {
                    "all": False,
                    "tail": number < newest_kept,
                    "some": rng.random() < kept_share,
                }[loss]
                if kept:
                    sector = data[at : at + SECTOR_BYTES]
                    self._now[offset + at : offset + at + len(sector)] = sector
                    self.counts.cached_sectors_kept += 1
                else:
                    self.counts.cached_sectors_lost += 1
        self.counts.cuts += 1
