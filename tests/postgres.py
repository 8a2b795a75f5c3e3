"""A real PostgreSQL server for tests: private, on a socket in a temporary folder, no port."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

import psycopg

from tests.namespaces import NETWORK, Host
from tests.running import before_exec

STARTS_WITHIN_S: Final = 60.0
STOPS_WITHIN_S: Final = 30.0

USER: Final = "threadwax"


def binaries() -> Path | None:
    """The folder of PostgreSQL's programs; None if it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


class Postgres:
    """A server with a folder of its own. Root cannot run one: then it runs as `nobody`."""

    def __init__(self, on: Host | None = None) -> None:
        """`on`: the host that it runs on. It then listens on a port there, too."""
        self.on = on
        programs = binaries()
        assert programs is not None
        self._programs = programs
        self._as = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        # A socket's path has at most 107 bytes, and `nobody` must reach it.
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        if self._as is not None:
            os.chown(self.folder, self._as.pw_uid, self._as.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None
        self._run(
            "initdb", "--pgdata", "data", "--username", USER, "--auth", "trust", "--no-sync",
            "--encoding", "UTF8", "--locale", "C",
        )  # fmt: skip
        if on is not None:
            with (self.folder / "data" / "pg_hba.conf").open("a") as rules:
                rules.write(f"host all all {NETWORK} trust\n")

    def url(self, database: str) -> str:
        """The URL of one of its databases."""
        return f"postgresql://{USER}@/{database}?host={self.folder}"

    def url_from_elsewhere(self, database: str) -> str:
        """The URL of one of its databases for other hosts."""
        assert self.on is not None
        return f"postgresql://{USER}@{self.on.address}/{database}"

    def start(self) -> None:
        """Starts it; returns when it answers."""
        if self.on is None:
            self._start()
        else:
            self.on.call(self._start)

    def _start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._programs / "postgres", "-D", self.folder / "data",
                    "-c", f"listen_addresses={self.on.address if self.on else ''}",
                    "-c", f"unix_socket_directories={self.folder}",
                    "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=40",
                ],
                cwd=self.folder, stdout=log, stderr=log, **self._identity(),
                preexec_fn=before_exec,  # noqa: PLW1509  (two system calls, no locks)
            )  # fmt: skip
        deadline = time.monotonic() + STARTS_WITHIN_S
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """Stops it, with all its connections."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # "fast shutdown"
            self._process.wait(STOPS_WITHIN_S)
            self._process = None

    def crash(self) -> None:
        """Ends all its processes at once, without writing anything: the next start recovers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)  # "immediate shutdown"
        self._process.wait(STOPS_WITHIN_S)
        self._process = None

    def create(self, database: str) -> str:
        """Makes an empty database; returns its URL."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}"')
        return self.url(database)

    def close(self) -> None:
        """Stops it and removes its folder."""
        self.stop()
        shutil.rmtree(self.folder)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, check=False,
            **self._identity(),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def _identity(self) -> dict[str, object]:
        if self._as is None:
            return {}
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
        return {
            "user": self._as.pw_uid, "group": self._as.pw_gid, "extra_groups": [],
            "env": environment,
        }  # fmt: skip
