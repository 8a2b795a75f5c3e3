"""Shared by all tests: the real components as fixtures, and a block on outside connections."""

import ipaddress
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from shared import log
from tests.asking import asker  # noqa: F401  (a fixture)
from tests.fakes.model import FakeModel
from tests.fixtures_database import database_url, own_postgres, postgres  # noqa: F401  (fixtures)
from tests.fixtures_nats import bus, nats, shared_nats  # noqa: F401  (fixtures)

# `threadwax up` in a test starts the web page only if the test is about it.
os.environ.setdefault("THREADWAX_WEB", "off")

# No deadline: a busy machine must not fail a test.
settings.register_profile("threadwax", deadline=None)
settings.load_profile("threadwax")


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuses connections that would leave this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in {socket.AF_INET, socket.AF_INET6}:
            host = address[0]
            if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
                raise AssertionError(f"a test must not connect to {host}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    return


@pytest.fixture(autouse=True)
def usual_logging() -> Iterator[None]:
    """Undoes what a command that ran within a test has set up, for the next test."""
    before = log._Process.logger
    yield
    if log._Process.logger is not before:
        log.structlog.reset_defaults()  # imported there without rich, which takes seconds here
        log._Process.logger = before


@pytest.fixture
async def fake_model() -> AsyncIterator[FakeModel]:
    """A fake model on a free port."""
    model = await FakeModel().start()
    yield model
    await model.stop()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of 96 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs permission to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
