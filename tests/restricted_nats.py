"""A real nats-server with two users: one is allowed everything, the other what the test allows."""

import http.client
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.nats_server import binary
from ops.ports import HOST, free_port

START_S = 20.0


class RestrictedNats:
    """The server. `operator_url` is for setting up the streams; `url` is for the limited user."""

    def __init__(self, folder: Path, *, denied: tuple[str, ...] = ()) -> None:
        self._folder = folder
        self._conf = folder / "nats.conf"
        self._port, self._monitor = free_port(), free_port()
        self._write(denied)
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [binary(), "-c", str(self._conf), "-a", HOST, "-p", str(self._port),
                 "-m", str(self._monitor)],
                stdout=log, stderr=log,
            )  # fmt: skip
        self._wait(lambda: self._get("/healthz") is not None)

    @property
    def operator_url(self) -> str:
        return f"nats://operator:secret@{HOST}:{self._port}"

    @property
    def url(self) -> str:
        return f"nats://limited:secret@{HOST}:{self._port}"

    def deny(self, *subjects: str) -> None:
        """Forbids the limited user to publish on these subjects, and on no others, from now on.

        The user stays connected.
        """
        before = (self._get("/varz") or {})["config_load_time"]
        self._write(subjects)
        self._process.send_signal(signal.SIGHUP)
        self._wait(lambda: (self._get("/varz") or {}).get("config_load_time") != before)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _write(self, denied: tuple[str, ...]) -> None:
        permissions = {"publish": {"deny": list(denied)}, "subscribe": {"allow": [">"]}}
        users = [
            {"user": "operator", "password": "secret"},
            {"user": "limited", "password": "secret", "permissions": permissions},
        ]
        conf = {
            "jetstream": {"store_dir": str(self._folder / "js"), "sync_interval": "always"},
            "authorization": {"users": users},
        }
        self._conf.write_text(json.dumps(conf))

    def _get(self, path: str) -> dict[str, str] | None:
        connection = http.client.HTTPConnection(HOST, self._monitor, timeout=2)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            found: dict[str, str] = json.loads(answer.read())
        except OSError:
            return None
        else:
            return found if answer.status == http.HTTPStatus.OK else None
        finally:
            connection.close()

    def _wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_S
        while not condition():
            assert self._process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)


@contextmanager
def restricted_nats(folder: Path, *denied: str) -> Iterator[RestrictedNats]:
    """Starts a server for one test; the limited user is not allowed to publish on `denied`."""
    folder.mkdir()
    server = RestrictedNats(folder, denied=denied)
    try:
        yield server
    finally:
        server.close()
