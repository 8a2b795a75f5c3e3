"""A folder that loses its power; where the machine permits none, the test is skipped."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.power.mounts import Mount, why_not


@pytest.fixture
def lossy(tmp_path: Path) -> Iterator[Mount]:
    """An empty disk of its own."""
    if reason := why_not():
        pytest.skip(reason)
    with Mount(tmp_path / "disk") as mount:
        yield mount
