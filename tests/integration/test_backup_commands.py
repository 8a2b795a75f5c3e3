"""The commands as a person types them: through pipes, and after one was killed."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflow.store.sqlite import FILE, SqliteStore
from dataflow.store.store import Row, Write
from ops.backup.sqlite_files import rows_in
from ops.nats import set_up_streams
from ops.nats_server import NatsServer
from shared.bus import Bus
from shared.follow import Position
from tests.running import ROOT

THREADWAX = (sys.executable, "-m", "ops")
MESSAGES = 5


def run(
    home: Path,
    *command: str,
    stdin: bytes | int = subprocess.DEVNULL,
    stdout: int = subprocess.PIPE,
) -> tuple[int, bytes, str]:
    """Runs a command on a data folder: its exit code, standard output and standard error."""
    env = {name: value for name, value in os.environ.items() if name != "NATS_URL"}
    given = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
    done = subprocess.run(
        command, env=env | {"THREADWAX_HOME": str(home)}, cwd=ROOT, stdout=stdout,
        stderr=subprocess.PIPE, timeout=60, check=False, **given,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr.decode()


@pytest.fixture(name="home")
async def _home(tmp_path: Path) -> Path:
    """A data folder with a conversation and some messages, in which nothing runs."""
    home = tmp_path / "old"
    server = NatsServer(home / "nats", port=0)
    try:
        server.start()
        await set_up_streams(server.url)
        bus = await Bus.connect(server.url, name="test")
        for number in range(MESSAGES):
            await bus.js.publish(f"prompts.test.u{number}", b"hello")
        await bus.close()
    finally:
        server.close()
    store = SqliteStore(home / FILE)
    await store.open(16)
    await store.claim("old", {3: 0})
    await store.write([Write(3, 1, "old", Position(), (Row("test:ada", b"{}"),))])
    await store.close()
    return home


@pytest.fixture(name="archive")
def _archive(home: Path, tmp_path: Path) -> Path:
    file = tmp_path / "archive.tar"
    code, _, errors = run(home, *THREADWAX, "backup", str(file))
    assert code == 0, errors
    return file


def messages_of(home: Path) -> str:
    """What a restore to this data folder would say is there."""
    return run(home, *THREADWAX, "restore", str(home.parent / "archive.tar"))[2]


def test_an_archive_goes_through_pipes(home: Path, tmp_path: Path) -> None:
    """Nothing else is on standard output, and nothing is left in the data folder."""
    before = {path for path in home.iterdir() if path.is_file()}
    (home / ".archive.999999999.sqlite.tmp").write_text("left by a backup that was killed")
    code, archive, errors = run(home, *THREADWAX, "backup", "-")
    assert code == 0, errors
    assert f"PROMPTS: {MESSAGES} messages" in errors
    assert "standard output: " in errors
    assert {path for path in home.iterdir() if path.is_file()} == before
    new = tmp_path / "new"
    code, _, errors = run(new, *THREADWAX, "restore", "-", stdin=archive[: len(archive) // 2])
    assert code == 1
    assert "restore: standard input cannot be restored: " in errors
    assert "damaged (unexpected end of data)" in errors
    assert not (new / FILE).exists()
    code, output, errors = run(new, *THREADWAX, "restore", "-", stdin=archive)
    assert code == 0, errors
    assert b"Restored what was there" in output
    assert rows_in(new / FILE, ["conversations"]) == 1
    (tmp_path / "archive.tar").write_bytes(archive)
    assert f"{MESSAGES} messages in the stream PROMPTS" in messages_of(new)


@pytest.fixture(name="terminal")
def _terminal() -> Iterator[int]:
    master, terminal = pty.openpty()
    yield terminal
    os.close(master)
    os.close(terminal)


def test_an_archive_is_not_written_to_a_terminal_nor_read_from_one(
    home: Path, terminal: int
) -> None:
    code, _, errors = run(home, *THREADWAX, "backup", "-", stdout=terminal)
    assert (code, errors.startswith("backup: an archive is not for a terminal")) == (2, True)
    code, _, errors = run(home, *THREADWAX, "restore", "-", stdin=terminal)
    assert (code, errors.startswith("restore: an archive is not for a terminal")) == (2, True)


@pytest.mark.parametrize("command", ["backup - >&-", "restore - <&-"])
def test_a_closed_stream_is_refused(tmp_path: Path, command: str) -> None:
    """Nothing seems to be written or read."""
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m ops {command}"],
        env={**os.environ, "THREADWAX_HOME": str(tmp_path)},
        stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    stream = "output" if command.startswith("backup") else "input"
    assert f": standard {stream} is closed: redirect it" in done.stderr


def test_a_reader_that_goes_away_is_reported(home: Path) -> None:
    """Otherwise half an archive would be taken for a whole one."""
    reading, writing = os.pipe()
    os.close(reading)
    code, _, errors = run(home, *THREADWAX, "backup", "-", stdout=writing)
    os.close(writing)
    assert (code, "Traceback" in errors) == (1, False), errors
    assert errors.endswith("backup: standard output: Broken pipe\n")


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from ops.backup.progress import Progress
from ops.backup.put_back import put_back
from ops.backup.server import server_url
from shared.settings import Settings

class Killed(Progress):
    def begin(self, step):
        if step == "REPLIES":
            os.kill(os.getpid(), signal.SIGKILL)

settings = Settings()
with server_url(settings) as url:
    asyncio.run(put_back(settings, url, Path(sys.argv[1]), Killed()))
"""


def test_a_killed_restore_is_undone_by_the_commands_that_the_next_one_prints(
    archive: Path, tmp_path: Path
) -> None:
    """No words stay in a temporary file either."""
    new = tmp_path / "new"
    code, _, errors = run(new, sys.executable, "-c", KILLED, str(archive))
    assert code == -signal.SIGKILL, errors
    assert list(new.glob("dataflow/.*.tmp"))
    code, _, errors = run(new, *THREADWAX, "restore", str(archive))
    assert code == 1
    assert f"{MESSAGES} messages in the stream PROMPTS" in errors
    commands = [line for line in errors.splitlines() if line.startswith("  rm ")]
    assert commands, errors
    for command in commands:
        assert run(new, "sh", "-c", command)[0] == 0
    code, _, errors = run(new, *THREADWAX, "restore", str(archive))
    assert code == 0, errors
    assert rows_in(new / FILE, ["conversations"]) == 1
    assert not list(new.glob("**/.*.tmp*"))


@pytest.mark.parametrize(
    "command",
    [
        ("export", "--format", "chat", "--out"),
        ("finetune", "local", "--name", "x", "--data"),
        ("finetune", "local", "--name", "x", "--data", "x", "--held-out"),
        ("finetune", "openai", "--model", "x", "--data"),
        ("rehearse", "--model", "x", "--prompt"),
    ],
)
def test_a_command_that_needs_a_file_says_so(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Instead of a file with this name in the current folder."""
    code, _, errors = run(tmp_path, *THREADWAX, *command, "-")
    assert code == 2
    assert "- is not standard input or output here: name a file" in errors


def test_a_folder_that_does_not_exist_is_named(home: Path, tmp_path: Path) -> None:
    """With what to do about it."""
    nowhere = tmp_path / "nowhere"
    code, _, errors = run(home, *THREADWAX, "backup", str(nowhere / "archive.tar"))
    assert code == 1
    wanted = f"backup: {nowhere}: there is no such folder: create it, or choose another"
    assert errors.splitlines()[-1] == wanted
