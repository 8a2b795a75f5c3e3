"""Only the owner can read a data folder, whichever program wrote the files."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dataflow.store.sqlite import FILE
from shared import private_file
from tests.running import ROOT, START_S

OTHERS = 0o077
LOOSE = 0o022
"""A umask with which everybody can read new files."""

ALL_ADAPTERS = """
import asyncio, os, sys
from pathlib import Path
from shared import private_file
from ops import cli

private_file.make_private_by_default()
home = Path(os.environ["THREADWAX_HOME"])
private_file.make_private(home)

from bots.discord.sqlite_file import SqliteFile
from bots.slack.installations import InstallationStore

memory = SqliteFile(
    home / "discord" / "memory.sqlite", "CREATE TABLE IF NOT EXISTS t (a)", keep="SELECT a FROM t",
    start_over=lambda rows: None,
)
memory.open()
memory.run("INSERT INTO t VALUES (1)")
asyncio.run(InstallationStore(f"sqlite:///{home / 'slack.sqlite3'}", "1").create())
print("made", flush=True)
sys.stdin.read()
"""


def readable_by_others(home: Path) -> list[str]:
    """The files and folders that others can read, with their modes."""
    found = []
    for path in (home, *home.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if mode & OTHERS and not path.is_symlink():
            found.append(f"{path.relative_to(home)} {mode:o}")
    return found


def environment(home: Path, **extra: str) -> dict[str, str]:
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("OPENAI", "NATS", "THREADWAX"))
    }
    ours = {"THREADWAX_HOME": str(home), "THREADWAX_EVICT_AFTER_S": "2", "THREADWAX_WEB_PORT": "0"}
    return {**kept, **ours, **extra}


async def started(home: Path, **extra: str) -> asyncio.subprocess.Process:
    """Starts `up` with a loose umask; returns once its parts are ready."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops", "up", "--no-chat",
        cwd=ROOT, env=environment(home, **extra), umask=LOOSE, stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr
    missing = {"nats ", "model ", "dataflow ", "gateway ", "web "}
    async with asyncio.timeout(START_S):
        while missing:
            line = (await process.stderr.readline()).decode()
            assert line, missing
            if " ready " in line:
                missing -= {name for name in missing if line.startswith(name)}
    return process


@pytest.mark.timeout(180)
async def test_after_a_full_start_nothing_is_readable_by_others(tmp_path: Path) -> None:
    """The test covers the stores, logs, locks and sockets, and the files of every adapter."""
    home = tmp_path / "home"
    process = await started(home)
    adapters = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ALL_ADAPTERS, cwd=ROOT, env=environment(home), umask=LOOSE,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        asked = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ops", "ask", "--user", "ada", "Where is Paris?",
            cwd=ROOT, env=environment(home), umask=LOOSE, stdout=subprocess.PIPE,
        )  # fmt: skip
        answer, _ = await asyncio.wait_for(asked.communicate(), START_S)
        assert answer
        assert adapters.stdout
        assert await asyncio.wait_for(adapters.stdout.readline(), START_S) == b"made\n"
        async with asyncio.timeout(START_S):
            while not (home / f"{FILE}-wal").exists():
                await asyncio.sleep(0.05)
        for expected in ("discord/memory.sqlite", "slack.sqlite3", "logs/dataflow.log", "nats/url"):
            assert (home / expected).exists(), expected
        assert readable_by_others(home) == []
    finally:
        for other in (adapters, process):
            other.send_signal(signal.SIGTERM)
            await other.communicate()
    assert readable_by_others(home) == []


@pytest.mark.timeout(180)
async def test_a_folder_of_an_older_version_becomes_private(tmp_path: Path) -> None:
    """Older versions left files readable; the target of a link is not changed."""
    home = tmp_path / "home"
    for name in ("nats/js", "dataflow/members", "discord", "logs", "terminal", "model"):
        (home / name).mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.write_text("mine")
    outside.chmod(0o644)
    (home / "logs" / "link").symlink_to(outside)
    for suffix in ("", "-wal", "-shm", "-journal"):
        (home / f"slack.sqlite3{suffix}").touch()
    (home / "discord" / "memory.sqlite").touch()
    for path in (home, *home.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o777 if path.is_dir() else 0o666)
    process = await started(home)
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert readable_by_others(home) == []
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644


def test_a_folder_with_other_files_stays_readable(tmp_path: Path) -> None:
    """THREADWAX_HOME may be a folder with a person's own files: only our own become private."""
    (tmp_path / "nats").mkdir()
    (tmp_path / "photos").mkdir()
    for folder in (tmp_path, tmp_path / "nats", tmp_path / "photos"):
        folder.chmod(0o755)
    private_file.make_private(tmp_path)
    modes = [
        stat.S_IMODE(f.stat().st_mode) for f in (tmp_path, tmp_path / "nats", tmp_path / "photos")
    ]
    assert modes == [0o755, 0o700, 0o755]


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (Path.touch, "{0} is not a folder: remove it, or set THREADWAX_HOME to another folder"),
        (
            lambda path: path.symlink_to("/nowhere/there"),
            "{0} is a link to /nowhere/there, which does not exist: create that folder, or set",
        ),
        (lambda path: path.symlink_to(path), "{0} "),
        (lambda path: path.mkdir(mode=0o500), "{0} is not writable for this user: make it"),
        (lambda path: path.mkdir(mode=0o000), "{0} is not writable for this user: make it"),
        (Path.mkdir, ""),
        (lambda _: None, ""),
    ],
    ids=["file", "dangling link", "loop", "read-only", "no access", "folder", "nothing"],
)
@pytest.mark.parametrize("below", ["", "x", "x/y"])
def test_an_unusable_folder_is_named_with_the_remedy(
    tmp_path: Path, make: Callable[[Path], object], fault: str, below: str
) -> None:
    """The message names the folder to change. As root, the check runs without root's privileges."""
    place = tmp_path / "place"
    make(place)
    tmp_path.chmod(0o711)
    program = (
        "import sys; from pathlib import Path; from ops.folder_check import fault_of; "
        "print(fault_of(Path(sys.argv[1])))"
    )
    user = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all") if os.geteuid() == 0 else ()
    ran = subprocess.run(
        [*user, sys.executable, "-c", program, str(place / below)], cwd=ROOT,
        env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.stderr == ""
    because = f"{place / below} cannot be created, because " if below and fault else ""
    assert ran.stdout.startswith(f"{because}{fault.format(place)}")
    assert bool(ran.stdout.strip()) == bool(fault)


@pytest.mark.parametrize("what", ["a file", "below a file"])
def test_every_command_reports_an_unusable_data_folder(tmp_path: Path, what: str) -> None:
    """Each command prints the remedy, not a traceback."""
    file = tmp_path / "file"
    file.touch()
    home = file if what == "a file" else file / "home"
    for command in ("up", "nats", "dataflow", "gateway", "chat"):
        ran = subprocess.run(
            [sys.executable, "-m", "ops", command], cwd=ROOT, env=environment(home),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert ran.returncode == 78, ran.stderr
        assert (
            f"{file} is not a folder: remove it, or set THREADWAX_HOME to another folder"
            in ran.stderr
        )
        assert "THREADWAX_HOME" in ran.stderr
        assert "Traceback" not in ran.stderr
