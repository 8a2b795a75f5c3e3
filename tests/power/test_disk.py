"""After a cut a disk holds the flushed data and any part of the later writes."""

import random

from hypothesis import given
from hypothesis import strategies as st

from tests.power.disk import SECTOR_BYTES, LossyDisk

SECTORS = 8

WRITES = st.lists(
    st.one_of(
        st.just("flush"),
        st.tuples(
            st.integers(0, SECTORS - 1), st.integers(1, 3), st.binary(min_size=1, max_size=1)
        ),
    ),
    max_size=20,
)


@given(WRITES, st.integers())
def test_a_sector_holds_its_flushed_contents_or_those_of_a_later_write(
    steps: list[tuple[int, int, bytes] | str], seed: int
) -> None:
    """No seed produces any other contents."""
    disk = LossyDisk(SECTORS * SECTOR_BYTES)
    allowed = [{bytes(1)} for _ in range(SECTORS)]
    now = [bytes(1)] * SECTORS
    for step in steps:
        if isinstance(step, str):
            disk.flush()
            allowed = [{byte} for byte in now]
            continue
        first, count, byte = step
        count = min(count, SECTORS - first)
        disk.write(first * SECTOR_BYTES, byte * SECTOR_BYTES * count)
        for sector in range(first, first + count):
            now[sector] = byte
            allowed[sector].add(byte)
    assert disk.read(0, SECTORS * SECTOR_BYTES) == b"".join(b * SECTOR_BYTES for b in now)
    disk.cut(random.Random(seed))
    for sector in range(SECTORS):
        left = disk.read(sector * SECTOR_BYTES, SECTOR_BYTES)
        assert left[:1] in allowed[sector]
        assert left == left[:1] * SECTOR_BYTES


def test_every_combination_of_lost_and_kept_writes_occurs() -> None:
    """Every kind of loss occurs, and a newer write can survive an older one."""
    seen = set()
    for seed in range(100):
        disk = LossyDisk(2 * SECTOR_BYTES)
        disk.write(0, b"a" * SECTOR_BYTES)
        disk.write(SECTOR_BYTES, b"b" * SECTOR_BYTES)
        disk.cut(random.Random(seed))
        seen.add((disk.read(0, 1), disk.read(SECTOR_BYTES, 1)))
    assert seen == {(a, b) for a in (b"a", b"\0") for b in (b"b", b"\0")}
