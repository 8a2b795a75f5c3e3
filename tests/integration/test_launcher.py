"""The parts that `threadwax up` forks, and what happens without their launcher."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.lock import running
from tests.integration.test_up import DEADLINE_S, none_left, seen, up

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="parts are forked on Linux only")

SUPERVISOR = """
import asyncio, json, os, resource, signal, sys, time
from pathlib import Path
from ops.launcher import Launcher
from ops.supervise import Backoff, Child, Ended, Program

FOLDER = Path(sys.argv[1])

def run(name):
    from shared import lifecycle
    if name == "fails":
        sys.exit(3)
    if name == "refused":
        lifecycle.say("no token")
        sys.exit(lifecycle.CANNOT_START)
    (FOLDER / f"{name}.json").write_text(json.dumps({
        "pid": os.getpid(), "parent": os.getppid(), "session": os.getsid(0),
        "descriptors": sorted(os.listdir("/proc/self/fd"), key=int)[:-1],
        "input": os.readlink("/proc/self/fd/0"), "errors": os.readlink("/proc/self/fd/2"),
        "comm": Path("/proc/self/comm").read_text().strip(), "extra": os.environ.get("EXTRA"),
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    }))
    lifecycle.ready(name)
    time.sleep(600)

def say(name, text):
    print(name, text, flush=True)

def child(name):
    program = Program(name, (sys.executable, "-c", "raise SystemExit(9)"), FOLDER / f"{name}.log",
                      {"EXTRA": name})
    return Child(program, say, Backoff(first_s=0.05), launcher.spawn)

async def main():
    children = [child(name) for name in sys.argv[2:]]
    for one in children:
        one.start()
    print("launcher", launcher.pid, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for one in children:
        await one.stop()
    await launcher.close()
    print("closed", flush=True)

launcher = Launcher(run)
asyncio.run(main())
"""


class Supervised:
    """A supervisor with a launcher, in a process of its own."""

    def __init__(self, folder: Path, *names: str, **options: object) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, str(folder), *names],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options,  # type: ignore[call-overload]
        )  # fmt: skip
        self.lines: list[str] = []

    def line(self, *, starts: str) -> str:
        """Returns the next line that starts like this, which can have been read already."""
        for text in self._unseen():
            if text.startswith(starts):
                self.lines.remove(text)
                return text
        raise AssertionError(f"no line starts with {starts!r}: {self.lines}")

    def _unseen(self) -> Iterator[str]:
        assert self.process.stdout
        yield from list(self.lines)
        for text in self.process.stdout:
            self.lines.append(text)
            yield text

    def part(self, name: str) -> dict[str, object]:
        self.line(starts=f"{name} ready")
        found: dict[str, object] = json.loads((self.folder / f"{name}.json").read_text())
        return found

    def stop(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.line(starts="closed")
        assert self.process.wait(DEADLINE_S) == 0


Start = Callable[..., Supervised]


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Start]:
    started: list[Supervised] = []

    def start(*names: str, **options: object) -> Supervised:
        started.append(Supervised(tmp_path, *names, **options))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()


def gone(pid: int) -> bool:
    end = time.monotonic() + DEADLINE_S
    while running(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not running(pid)


def test_a_forked_part_has_what_a_program_of_its_own_would_have(
    supervised: Start, tmp_path: Path
) -> None:
    """Its own session, name and streams, its variables, and nothing that `up` had open."""
    system = supervised("slack", "discord", pass_fds=(os.open(tmp_path, os.O_RDONLY),))
    launcher = int(system.line(starts="launcher").split()[1])
    for name in ("slack", "discord"):
        part = (
            system.part(name) if name == "slack" else json.loads(_text(tmp_path / "discord.json"))
        )
        assert part["parent"] == launcher
        assert part["session"] == part["pid"]
        assert part["descriptors"] == ["0", "1", "2"]
        assert part["input"] == os.devnull
        assert part["errors"] == str(tmp_path / f"{name}.log")
        assert part["comm"] == f"threadwax {name}"[:15]
        assert part["extra"] == name
        assert part["blocked"] == []
    system.stop()
    assert gone(launcher)


def _text(path: Path) -> str:
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if path.exists() and (text := path.read_text()):
            return text
        time.sleep(0.02)
    raise AssertionError(f"{path} was not written")


def test_the_end_of_a_forked_part_is_reported_like_that_of_a_program(supervised: Start) -> None:
    """Its exit code, its last message and the signal that killed it; killed ones start again."""
    system = supervised("slack", "fails", "refused")
    # As when systemd stops all processes at once: the launcher has to outlive the parts.
    launcher = int(system.line(starts="launcher").split()[1])
    for number in (signal.SIGTERM, signal.SIGHUP):
        os.kill(launcher, number)
    pid = system.part("slack")["pid"]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGKILL)
    assert "killed by SIGKILL" in system.line(starts="slack restarting")
    assert system.part("slack")["pid"] != pid
    assert "in 0.05 s (exit code 3;" in system.line(starts="fails restarting")
    system.line(starts="refused no token")
    system.line(starts="refused stopped    not restarted until this is fixed")
    assert running(launcher)
    system.stop()
    assert "refused no token\n" not in system.lines


@pytest.mark.parametrize("is_suspended", [False, True])
def test_a_killed_supervisor_leaves_neither_launcher_nor_part(
    supervised: Start, *, is_suspended: bool
) -> None:
    system = supervised("slack")
    launcher = int(system.line(starts="launcher").split()[1])
    pid = system.part("slack")["pid"]
    assert isinstance(pid, int)
    if is_suspended:
        os.kill(launcher, signal.SIGSTOP)
    system.process.kill()
    system.process.wait()
    assert gone(launcher)
    assert gone(pid)


def test_a_launcher_that_does_not_answer_is_ended(supervised: Start) -> None:
    """A part that ends meanwhile starts again as a program, and everything can be stopped."""
    system = supervised("slack")
    launcher = int(system.line(starts="launcher").split()[1])
    pid = system.part("slack")["pid"]
    assert isinstance(pid, int)
    os.kill(launcher, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    system.line(starts="slack restarting")
    assert "exit code 9" in system.line(starts="slack restarting")  # that of its command
    system.stop()
    assert gone(launcher)


@pytest.fixture
def room_for_three() -> Iterator[Path]:
    """A control group with room for the supervisor, its thread and the launcher."""
    roots = (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup"))  # cgroup version 1 and 2
    root = next((root for root in roots if (root / "cgroup.procs").exists()), None)
    if root is None or not os.access(root, os.W_OK):
        pytest.skip("THE LIMIT OF PROCESSES IS NOT TESTED: control groups cannot be made here")
    group = root / f"threadwax-{os.getpid()}"
    group.mkdir()
    try:
        try:
            (group / "pids.max").write_text("3")
        except OSError as error:
            pytest.skip(f"THE LIMIT OF PROCESSES IS NOT TESTED: {error.strerror}: {error.filename}")
        yield group
        while (group / "cgroup.procs").read_text():  # all of them have been killed
            time.sleep(0.02)
    finally:
        group.rmdir()


def test_a_system_without_room_for_a_process_is_the_reason_shown(
    room_for_three: Path, supervised: Start
) -> None:
    """The part is tried again, as after every failed start."""
    members = room_for_three / "cgroup.procs"
    system = supervised("slack", preexec_fn=lambda: members.write_text(f"{os.getpid()}\n"))
    line = system.line(starts="slack restarting")
    assert "it cannot be started: Resource temporarily unavailable" in line


def test_without_its_launcher_up_starts_its_parts_again_as_programs(tmp_path: Path) -> None:
    """They stop first, since the launcher's end ends them, and nothing is left at the end."""
    process = up(tmp_path, "--no-chat", OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    try:
        seen(
            process, "nats       ready", "dataflow   ready", "gateway    ready", "recorder   ready"
        )
        (launcher,) = [
            pid for pid in _children_of(process.pid)
            if Path(f"/proc/{pid}/comm").read_text().startswith("threadwax laun")
        ]  # fmt: skip
        parts = _children_of(launcher)
        assert len(parts) == 3
        os.kill(launcher, signal.SIGKILL)
        lines = seen(process, "dataflow   ready", "gateway    ready", "recorder   ready")
        assert sum("restarting in" in line for line in lines) == 3
        assert all(gone(pid) for pid in parts)  # as soon as process 1 has noticed
        commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in _children_of(process.pid)]
        assert sum(b"\0gateway\0" in command for command in commands) == 1
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert none_left(tmp_path)
    finally:
        process.kill()
        process.communicate()


def _children_of(pid: int) -> list[int]:
    return [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
