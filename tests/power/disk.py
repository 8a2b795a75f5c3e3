"""A disk with a volatile write cache, of which a power cut keeps a random part.

Pure. It never loses flushed data, and never holds data that was not written.
"""

import mmap
import random
from dataclasses import dataclass, field
from typing import Final, Literal

SECTOR_BYTES: Final = 512
"""The unit that a disk writes completely or not at all. A page of 4 KiB can be torn."""

Loss = Literal["all", "tail", "some"]
LOSSES: Final[dict[Loss, int]] = {"all": 2, "tail": 3, "some": 5}
"""The lost part of the cache, with weights: everything, the newest writes, or any sectors."""


@dataclass
class Counts:
    """Counts of a disk's operations. Sectors are those in the cache at each cut."""

    writes: int = 0
    flushes: int = 0
    cuts: int = 0
    cached_sectors_lost: int = 0
    cached_sectors_kept: int = 0


@dataclass
class LossyDisk:
    """The current contents, and the writes that have not been flushed."""

    size: int
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        # Anonymous memory: pages take no memory until they are written.
        self._now = mmap.mmap(-1, self.size)
        self._unflushed: list[tuple[int, bytes, bytes]] = []
        """Offset, old bytes and new bytes of each write, oldest first."""

    def read(self, offset: int, count: int) -> bytes:
        """Returns the bytes at the offset: fewer than `count` at the end of the disk."""
        return self._now[offset : min(offset + count, self.size)]

    def write(self, offset: int, data: bytes) -> None:
        """Writes into the cache."""
        end = offset + len(data)
        if end > self.size:
            raise ValueError("past the end of the disk")
        self._unflushed.append((offset, self._now[offset:end], data))
        self._now[offset:end] = data
        self.counts.writes += 1

    def flush(self) -> None:
        """Makes all earlier writes durable."""
        self._unflushed.clear()
        self.counts.flushes += 1

    def cut(self, rng: random.Random) -> None:
        """Cuts the power: the disk keeps all flushed data and a random part of the cache.

        A cache can be written out in any order, so each sector is kept or lost independently.
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
