"""A fixture with a folder on a lossy disk. Tests are skipped if the machine does not permit one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.power.mounts import Mount, why_not


@pytest.fixture
def lossy(tmp_path: Path) -> Iterator[Mount]:
    """An empty lossy disk."""
    if reason := why_not():
        pytest.skip(reason)
    with Mount(tmp_path / "disk") as mount:
        yield mount
