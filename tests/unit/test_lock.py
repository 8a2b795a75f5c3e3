"""A lock names its owner, but never a process of an earlier boot."""

import os
from pathlib import Path

import pytest

from shared.lock import AlreadyRunning, locked


def test_a_lock_names_its_owner(tmp_path: Path) -> None:
    """The message says which process to stop."""
    descriptor = locked(tmp_path / "lock", "a part")
    with pytest.raises(AlreadyRunning, match=f"process {os.getpid()} already runs a part") as held:
        locked(tmp_path / "lock", "a part")
    assert held.value.pid == os.getpid()
    os.close(descriptor)


@pytest.mark.parametrize(
    "left",
    [b"", b"1234\n", b"1234 another-boot\n", bytes(16), b"\xff\xfe 1", b"12"],
    ids=["empty", "older version", "another boot", "zeros", "garbage", "cut short"],
)
def test_a_lock_file_from_before_a_power_cut_names_no_owner(tmp_path: Path, left: bytes) -> None:
    """Its process id may now belong to an unrelated process, which nobody should stop."""
    path = tmp_path / "lock"
    descriptor = locked(path, "a part")
    path.write_bytes(left)
    with pytest.raises(AlreadyRunning, match="another process already runs") as held:
        locked(path, "a part")
    assert held.value.pid == 0
    os.close(descriptor)
