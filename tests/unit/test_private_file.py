"""Incomplete files are never trusted. tests/power shows what a power cut leaves behind."""

import stat
from pathlib import Path

import pytest

from ops.nats_server import NatsServer
from shared.private_file import private_file, private_text
from shared.settings import Settings

UNFINISHED = {
    "empty": b"", "only an end": b"\n", "zeros": bytes(32), "no end": b"nats://threadwax:pass",
    "zeros at the end": b"nats://threadwax:pass\0\0\0\n", "not text": b"\xff\xfe\n",
}  # fmt: skip


def test_only_the_owner_can_read_a_private_file(tmp_path: Path) -> None:
    """This holds for the file and for folders that are created for it."""
    path = tmp_path / "home" / "nats" / "password"
    private_file(path, "secret")
    assert private_text(path) == "secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["password"]


def test_a_missing_file_has_no_content(tmp_path: Path) -> None:
    """Reading it returns None."""
    assert private_text(tmp_path / "none") is None


@pytest.mark.parametrize("left", UNFINISHED.values(), ids=UNFINISHED.keys())
def test_an_incomplete_file_is_not_trusted(tmp_path: Path, left: bytes) -> None:
    """The files contain an address, a password or a port."""
    settings = Settings.model_validate({"THREADWAX_HOME": tmp_path})
    path = settings.embedded_nats_url_file
    path.parent.mkdir(parents=True)
    for name in ("url", "password", "port"):
        path.with_name(name).write_bytes(left)
    assert settings.bus_url().startswith("embedded:")
    server = NatsServer(path.parent, port=0)
    assert 1 <= server.port <= 65_535
    assert len(server.url) > len("nats://threadwax:@127.0.0.1:10000") + 30
    assert private_text(path.with_name("password")) is not None
    server.close()


def test_an_impossible_port_is_not_trusted(tmp_path: Path) -> None:
    """The file contains a number that is not a port."""
    private_file(tmp_path / "nats" / "port", "99999")
    server = NatsServer(tmp_path / "nats", port=0)
    assert 1 <= server.port <= 65_535
    server.close()
