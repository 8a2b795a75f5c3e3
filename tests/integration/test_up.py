"""`threadwax up` and its supervisor, with real processes."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from ops import embedded_nats
from ops.supervise import Backoff, Child, Ended, Program, stop_in_reverse
from ops.up_nats import ready_nats
from shared import lifecycle
from shared.lock import running
from shared.settings import Settings

DEADLINE_S = 30

PRELUDE = """
import os, signal, sys, time
from shared import lifecycle
lifecycle.die_with_parent()
"""
SLEEPER = PRELUDE + "lifecycle.ready(str(os.getpid()))\ntime.sleep(600)\n"
STUBBORN = (
    PRELUDE
    + "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nlifecycle.ready('')\ntime.sleep(600)\n"
)


class Lines:
    """Collects what the supervisor prints, and can wait for a line."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str]] = []
        self._changed = asyncio.Event()

    def __call__(self, name: str, text: str) -> None:
        self.all.append((name, text))
        self._changed.set()

    async def until(self, enough: Callable[[list[tuple[str, str]]], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not enough(self.all):
                self._changed.clear()
                await self._changed.wait()

    def with_text(self, part: str) -> list[str]:
        return [text for _, text in self.all if part in text]


def program(code: str, folder: Path, name: str = "part", stop_s: float = 10.0) -> Program:
    command = (sys.executable, "-c", code)
    return Program(name, command, folder / f"{name}.log", stop_s=stop_s)


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while running(pid):
            await asyncio.sleep(0.02)


async def test_a_child_is_ready_when_it_prints_ready(tmp_path: Path) -> None:
    """The text after READY is shown."""
    say = Lines()
    child = Child(program(SLEEPER, tmp_path), say)
    child.start()
    async with asyncio.timeout(DEADLINE_S):
        await child.ready()
    assert child.pid
    assert say.all == [("part", f"ready      {child.pid}")]
    await child.stop()


async def test_a_crashing_child_is_restarted_after_growing_waits(tmp_path: Path) -> None:
    """Each consecutive crash doubles the wait up to a maximum; the reason is printed."""
    say = Lines()
    child = Child(
        program("import sys; print('last words', file=sys.stderr); sys.exit(3)", tmp_path),
        say,
        Backoff(first_s=0.01, last_s=0.04),
    )
    child.start()
    await say.until(lambda lines: len(lines) >= 5)
    await child.stop()
    waits = [text.split(" (")[0] for _, text in say.all[:5]]
    assert waits == [f"restarting in {s} s" for s in ("0.01", "0.02", "0.04", "0.04", "0.04")]
    assert all("exit code 3" in text and "part.log" in text for _, text in say.all[:5])
    assert "last words" in (tmp_path / "part.log").read_text()


async def test_a_healthy_period_resets_the_wait(tmp_path: Path) -> None:
    """A child that ran long enough is restarted as quickly as the first time."""
    say = Lines()
    backoff = Backoff(first_s=0.01, last_s=5.0, healthy_s=0.0)
    child = Child(program("raise SystemExit(1)", tmp_path), say, backoff)
    child.start()
    await say.until(lambda lines: len(lines) >= 3)
    await child.stop()
    assert all("in 0.01 s" in text for _, text in say.all)


async def test_a_killed_child_is_replaced(tmp_path: Path) -> None:
    """The new process becomes ready."""
    say = Lines()
    child = Child(program(SLEEPER, tmp_path), say, Backoff(first_s=0.01))
    child.start()
    await child.ready()
    first = child.pid
    assert first
    os.kill(first, signal.SIGKILL)
    await say.until(lambda _: len(say.with_text("ready  ")) == 2)
    assert child.pid != first
    assert say.with_text("killed by SIGKILL")
    await child.stop()


async def test_an_unwritable_log_is_given_as_the_reason(tmp_path: Path) -> None:
    """The message is not that a signal killed the child."""
    (tmp_path / "part.log").mkdir()
    say = Lines()
    child = Child(program(SLEEPER, tmp_path), say, Backoff(first_s=60))
    child.start()
    with pytest.raises(Ended, match="it cannot be started: Is a directory"):
        await child.ready()
    assert not say.with_text("killed")
    await child.stop()


async def test_a_child_that_cannot_start_is_not_restarted(tmp_path: Path) -> None:
    """The reason is printed once, and a caller that waits for the child gets it as an exception."""
    say = Lines()
    code = PRELUDE + "lifecycle.say('no token'); sys.exit(lifecycle.CANNOT_START)\n"
    child = Child(program(code, tmp_path), say, Backoff(first_s=0.01))
    child.start()
    with pytest.raises(Ended, match="no token"):
        await child.ready()
    await say.until(lambda _: bool(say.with_text("stopped")))
    assert not say.with_text("restarting")
    assert len(say.with_text("no token")) == 1
    await child.stop()


async def test_children_are_stopped_in_reverse_order(tmp_path: Path) -> None:
    """The last one started is stopped first, and no process is left."""
    order = tmp_path / "order"
    code = PRELUDE + (
        "def end(*_):\n"
        f"    open({str(order)!r}, 'a').write(sys.argv[1])\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\nlifecycle.ready('')\ntime.sleep(600)\n"
    )
    say = Lines()
    children = [
        Child(Program(name, (sys.executable, "-c", code, name), tmp_path / f"{name}.log"), say)
        for name in "abc"
    ]
    for child in children:
        child.start()
        await child.ready()
    pids = [child.pid for child in children]
    await stop_in_reverse(children)
    assert order.read_text() == "cba"
    assert not any(running(pid) for pid in pids if pid)
    assert not say.with_text("restarting")


async def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """The child is killed after its deadline."""
    child = Child(program(STUBBORN, tmp_path, stop_s=0.2), Lines())
    child.start()
    await child.ready()
    pid = child.pid
    assert pid
    async with asyncio.timeout(DEADLINE_S):
        await child.stop()
    assert not running(pid)


async def test_a_suspended_child_stops_cleanly(tmp_path: Path) -> None:
    """It is not killed, although a suspended process takes no SIGTERM."""
    ended = tmp_path / "ended"
    code = (
        PRELUDE
        + f"def end(*_):\n    open({str(ended)!r}, 'w').close()\n    sys.exit(0)\n"
        + "signal.signal(signal.SIGTERM, end)\nlifecycle.ready('')\ntime.sleep(600)\n"
    )
    child = Child(program(code, tmp_path), Lines())
    child.start()
    await asyncio.wait_for(child.ready(), DEADLINE_S)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGSTOP)
    await child.stop()
    assert ended.exists()


async def test_kill_ends_a_stop_that_waits(tmp_path: Path) -> None:
    """The child is killed at once instead of after its deadline."""
    child = Child(program(STUBBORN, tmp_path, stop_s=600), Lines())
    child.start()
    await child.ready()
    stopping = asyncio.create_task(child.stop())
    await asyncio.sleep(0)
    child.kill()
    async with asyncio.timeout(DEADLINE_S):
        await stopping


async def test_a_grandchild_ends_with_its_parent(tmp_path: Path) -> None:
    """The grandchild keeps the output open, but neither survives nor delays the restart."""
    pid_file = tmp_path / "pid"
    code = (
        "import subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(pid_file)!r}, 'w').write(str(p.pid))\nsys.exit(1)\n"
    )
    say = Lines()
    child = Child(program(code, tmp_path), say, Backoff(first_s=60))
    child.start()
    await say.until(lambda _: bool(say.with_text("restarting")))
    await until_gone(int(pid_file.read_text()))
    await child.stop()


async def test_a_large_log_is_rotated_at_the_start(tmp_path: Path) -> None:
    """The old log is kept under another name."""
    log = tmp_path / "part.log"
    with log.open("wb") as file:
        file.truncate(11 << 20)
    child = Child(program(SLEEPER, tmp_path), Lines())
    child.start()
    await child.ready()
    assert log.stat().st_size == 0
    assert (tmp_path / "part.log.1").stat().st_size == 11 << 20
    await child.stop()


async def test_a_child_ends_with_a_killed_supervisor(tmp_path: Path) -> None:
    """SIGKILL to the supervisor leaves no orphan."""
    pid_file = tmp_path / "pid"
    child = (
        PRELUDE
        + f"open({str(pid_file)!r}, 'w').write(str(os.getpid()))\n"
        + ("lifecycle.ready('')\ntime.sleep(600)\n")
    )
    supervisor = (
        "import asyncio, sys\nfrom pathlib import Path\n"
        "from ops.supervise import Child, Program\n"
        "async def main():\n"
        f"    child = Child(Program('c', (sys.executable, '-c', {child!r}),"
        f" Path({str(tmp_path / 'c.log')!r})), lambda *_: None)\n"
        "    child.start()\n    await child.ready()\n    print('up', flush=True)\n"
        "    await asyncio.sleep(600)\nasyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", supervisor, stdout=subprocess.PIPE
    )
    assert process.stdout
    assert await asyncio.wait_for(process.stdout.readline(), DEADLINE_S) == b"up\n"
    process.kill()
    await process.wait()
    await until_gone(int(pid_file.read_text()))


# --- the command ------------------------------------------------------------------------------


def up(
    home: Path,
    *arguments: str,
    command: str = "up",
    before: Sequence[str] = (),
    stdin: int = subprocess.DEVNULL,
    **extra: str,
) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if "THREADWAX" not in key}
    for name in ("NATS_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        environment.pop(name, None)
    return subprocess.Popen(
        [*before, sys.executable, "-m", "ops", command, *arguments],
        env={**environment, "THREADWAX_HOME": str(home), "THREADWAX_WEB": "off", **extra},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def seen(process: subprocess.Popen[str], *wanted: str) -> list[str]:
    """Reads status lines until each of these texts has been in one."""
    assert process.stderr
    missing, lines = set(wanted), []
    for line in process.stderr:
        lines.append(line)
        missing = {part for part in missing if part not in line}
        if not missing:
            return lines
    raise AssertionError(f"it ended without printing {missing}: {lines}")


def processes_of(home: Path) -> list[int]:
    """The processes that were started for this data folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"THREADWAX_HOME={home}\0".encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
    return found


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def none_left(home: Path) -> bool:
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if not processes_of(home):
            return True
        time.sleep(0.05)
    return False


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


@linux_only
@pytest.mark.parametrize("closed", ["<&- >&-", "2>&-", "2>/dev/full"])
def test_closed_standard_streams_change_nothing(tmp_path: Path, closed: str) -> None:
    """Otherwise the first files and sockets would take their numbers, or a full disk end it."""
    process = up(
        tmp_path, "--no-chat", OPENAI_BASE_URL="http://127.0.0.1:9/v1",
        before=("sh", "-c", f'exec "$0" "$@" {closed}'),
    )  # fmt: skip
    try:
        if "2>" not in closed:
            seen(process, "dataflow   ready", "recorder   ready", "gateway    ready")
        log, end = tmp_path / "logs" / "dataflow.log", time.monotonic() + DEADLINE_S
        while not (log.exists() and "serves partitions" in log.read_text()):
            assert time.monotonic() < end
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0
        assert none_left(tmp_path)
    finally:
        process.kill()
        process.communicate()


@linux_only
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_up_starts_every_part_and_stops_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    """A signal ends all parts with exit code 0, and nothing is printed on stdout."""
    process = up(tmp_path, "--no-chat")
    try:
        seen(
            process, "nats       ready", "model      ready", "dataflow   ready",
            "recorder   ready", "gateway    ready",
        )  # fmt: skip
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert output == ""
        assert none_left(tmp_path)
    finally:
        process.kill()
        process.communicate()


@linux_only
def test_two_signals_at_once_count_as_one(tmp_path: Path) -> None:
    """`timeout` signals the process and its group; all parts still stop in order."""
    process = up(tmp_path, "--no-chat", OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    try:
        seen(process, "nats       ready", "dataflow   ready", "gateway    ready")
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGHUP)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0
        assert errors == ""
        assert not (tmp_path / "nats" / "url").exists()
        assert '"stopping"' in (tmp_path / "logs" / "dataflow.log").read_text()
        assert none_left(tmp_path)
    finally:
        process.kill()
        process.communicate()


@linux_only
def test_up_restarts_a_killed_nats_server(tmp_path: Path) -> None:
    """It watches the server itself; a question is answered afterwards."""
    process = up(tmp_path, "--no-chat")
    try:
        seen(
            process, "nats       ready", "model      ready", "dataflow   ready", "gateway    ready"
        )
        os.kill(int((tmp_path / "nats" / "nats.pid").read_text()), signal.SIGKILL)
        seen(
            process,
            "nats       nats-server ended (exit code -9)",
            "nats       nats-server is healthy",
        )
        answer = subprocess.run(
            [sys.executable, "-m", "ops", "ask", "--user", "a", "What is the capital of France?"],
            env={**os.environ, "THREADWAX_HOME": str(tmp_path)},
            capture_output=True, text=True, timeout=100, check=True,
        )  # fmt: skip
        assert "Paris" in answer.stdout
    finally:
        process.terminate()
        process.communicate()
        assert none_left(tmp_path)


@linux_only
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_nats_command_stops_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    """The file with its address is removed, so others can see that it is not running."""
    process = up(tmp_path, "--port", "0", command="nats")
    try:
        seen(process, '"ready"')
        process.send_signal(number)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert not (tmp_path / "nats" / "url").exists()
        assert none_left(tmp_path)
    finally:
        process.kill()
        process.communicate()


@linux_only
def test_with_nohup_all_parts_survive_their_terminal(tmp_path: Path) -> None:
    """A signal that is ignored at the start remains ignored, also in the parts."""
    process = up(tmp_path, "--no-chat", OPENAI_BASE_URL="http://127.0.0.1:9/v1", before=("nohup",))
    try:
        seen(process, "nats       ready", "dataflow   ready", "gateway    ready")
        mine = processes_of(tmp_path)
        for pid in mine:
            os.kill(pid, signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        assert processes_of(tmp_path) == mine
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


@linux_only
def test_a_killed_up_leaves_no_process(tmp_path: Path) -> None:
    """SIGKILL to `up` also ends its children and grandchildren."""
    process = up(tmp_path, "--no-chat")
    try:
        seen(process, "nats       ready", "gateway    ready")
        process.kill()
        process.wait()
        assert none_left(tmp_path)
    finally:
        process.kill()
        process.communicate()


def test_up_has_a_status_and_can_be_stopped_while_it_waits_for_nats(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        process = up(tmp_path, "--no-chat", "--http-port", "0", NATS_URL=f"nats://127.0.0.1:{port}")
        try:
            status = seen(process, "status     ")[-1].split()[-1]
            silent.settimeout(DEADLINE_S)
            waiting, _ = silent.accept()
            with waiting:
                assert answer_of(status.replace("readyz", "healthz")) == (200, "ok\n")
                assert answer_of(status) == (503, "not ready: nats\n")
                process.send_signal(signal.SIGTERM)
                _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
            process.communicate()
    assert process.returncode == 0, errors
    assert "failed" not in errors


def test_a_signal_during_the_last_step_of_the_start_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop is busy, and ends right after it."""
    write = embedded_nats.private_file

    def interrupted(path: Path, text: str) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        write(path, text)

    monkeypatch.setattr(embedded_nats, "private_file", interrupted)
    with pytest.raises(lifecycle.Stopped):
        asyncio.run(ready_nats(Settings(THREADWAX_HOME=tmp_path), print, lambda: None))
    assert not Settings(THREADWAX_HOME=tmp_path).embedded_nats_url_file.exists()


def test_the_start_of_nats_leaves_nothing_that_a_fork_would_copy(tmp_path: Path) -> None:
    threads, figures = threading.enumerate(), own_figures()
    said: list[str] = []
    settings = Settings(THREADWAX_HOME=tmp_path)
    nats = asyncio.run(ready_nats(settings, said.append, lambda: said.append("meanwhile")))
    assert nats is not None
    try:
        assert said[0] == "meanwhile"
        assert said[1].startswith("ready      nats://127.0.0.1:")
        assert threading.enumerate() == threads
        assert own_figures() == figures
    finally:
        nats.close()


def answer_of(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url) as answer:  # noqa: S310  (our own page)
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def own_figures() -> list[str]:
    """The lines of our figures that are not zero."""
    lines = generate_latest().decode().splitlines()
    return [
        line for line in lines
        if line.startswith("threadwax_") and "_created" not in line and not line.endswith(" 0.0")
    ]  # fmt: skip


def test_up_says_why_it_cannot_use_an_external_server(tmp_path: Path) -> None:
    """The output has the settings in use and one line with the reason, but no secret."""
    url = "nats://me:secret@127.0.0.1:9"
    process = up(
        tmp_path / "new", "--no-chat", NATS_URL=url,
        OPENAI_BASE_URL="http://127.0.0.1:9/v1", THREADWAX_MODEL="small",
    )  # fmt: skip
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"data       {tmp_path / 'new'} (new)\n" in errors
    assert "settings   " in errors
    assert "model      small at 127.0.0.1:9, without a key (OPENAI_API_KEY is not set)\n" in errors
    assert "nats       127.0.0.1:9 (NATS_URL)\n" in errors
    assert "slack      off        set SLACK_BOT_TOKEN and SLACK_APP_TOKEN" in errors
    assert errors.count("127.0.0.1:9 cannot be used: nobody answers there") == 1
    assert "secret" not in errors


def test_a_taken_http_port_is_reported_without_a_traceback(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        process = up(tmp_path, "--no-chat", "--http-port", str(port))
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 78
    assert f"the status cannot be served on 127.0.0.1:{port}: Address already in use." in errors
    assert "THREADWAX_HTTP_PORT" in errors
    assert "Traceback" not in errors


def test_an_http_port_that_is_too_high_is_reported(tmp_path: Path) -> None:
    process = up(tmp_path, "--no-chat", "--http-port", "65535")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 78
    assert "choose 65527 or less" in errors
    assert "Traceback" not in errors


def test_the_last_line_of_a_start_says_where_the_page_is(tmp_path: Path) -> None:
    """Whoever started everything need not look for it among the lines of the other parts."""
    process = up(
        tmp_path, "--no-chat", "--http-port", "0", THREADWAX_WEB="on", THREADWAX_WEB_PORT="0",
        OPENAI_BASE_URL="http://127.0.0.1:9/v1", THREADWAX_MODEL="small",
    )  # fmt: skip
    try:
        lines = seen(process, "in a browser")
        (page,) = re.findall(r"^web +open +(http://127\.0\.0\.1:\d+) in a browser", lines[-1])
        for name in ("nats", "dataflow", "gateway", "recorder", "web"):
            assert any(line.startswith(f"{name:<10} ready ") for line in lines), name
        with urllib.request.urlopen(page) as answer:  # noqa: S310  (our own page)
            assert b"<title>" in answer.read()
        assert (tmp_path / "web" / "url").read_text() == f"{page}\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
        assert none_left(tmp_path)
    finally:
        process.kill()
        process.communicate()


def test_a_taken_port_of_the_page_stops_only_the_page(tmp_path: Path) -> None:
    """It is not restarted until the port that somebody chose is free."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        process = up(
            tmp_path, "--no-chat", THREADWAX_WEB="on", THREADWAX_WEB_PORT=str(port),
            OPENAI_BASE_URL="http://127.0.0.1:9/v1", THREADWAX_MODEL="small",
        )  # fmt: skip
        try:
            lines = seen(
                process, f"the page cannot be served on 127.0.0.1:{port}: Address already in use.",
                "web        stopped    not restarted until this is fixed", "dataflow   ready",
                "gateway    ready",
            )  # fmt: skip
            assert not [line for line in lines if "restarting" in line or "Traceback" in line]
            assert process.poll() is None
        finally:
            process.terminate()
            process.communicate()


def test_a_page_that_is_turned_off_is_not_mentioned(tmp_path: Path) -> None:
    process = up(tmp_path, "--no-chat", NATS_URL="nats://127.0.0.1:9")
    _, errors = process.communicate(timeout=60)
    assert "slack      off" in errors
    assert "web " not in errors


@linux_only
def test_a_piped_chat_that_waits_for_input_ends_with_sigterm(tmp_path: Path) -> None:
    """The chat's standard input stays open, as in a script that writes a line from time to time."""
    environment = {**os.environ, "THREADWAX_HOME": str(tmp_path), "OPENAI_BASE_URL": ""}
    process = subprocess.Popen(
        [sys.executable, "-m", "ops", "up", "--chat"], env=environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        # The chat starts right after NATS, while other parts are still starting.
        seen(process, "nats       ready", "gateway    ready", "dataflow   ready", "A small demo")
        process.send_signal(signal.SIGTERM)
        assert process.stderr
        assert process.stdin
        errors = process.stderr.read()
        assert process.wait(timeout=60) == 0, errors
        assert "Fatal Python error" not in errors
        assert "Traceback" not in errors
        assert none_left(tmp_path)
    finally:
        process.kill()
        process.communicate()


@linux_only
def test_up_reports_the_signal_that_ended_its_chat(tmp_path: Path) -> None:
    """The exit code is that of a shell, for example after Ctrl-C before the chat handles it."""
    process = up(tmp_path, "--chat", OPENAI_BASE_URL="http://127.0.0.1:9/v1", stdin=subprocess.PIPE)
    try:
        seen(process, "nats       ready", "dataflow   ready", "gateway    ready")
        (chat,) = [pid for pid in processes_of(tmp_path) if b"\0chat\0" in command_of(pid)]
        os.kill(chat, signal.SIGKILL)
        assert process.wait(timeout=60) == 137
        assert none_left(tmp_path)
    finally:
        process.kill()
        process.communicate()


@linux_only
def test_a_piped_chat_is_answered_and_stops_everything_at_its_end(tmp_path: Path) -> None:
    """Stdout contains only the answers."""
    process = subprocess.run(
        [sys.executable, "-m", "ops", "up", "--chat"],
        input="What is the capital of France?\n",
        env={**os.environ, "THREADWAX_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "Paris" in process.stdout
    assert "ready" not in process.stdout
    assert none_left(tmp_path)


@linux_only
def test_a_second_chat_uses_the_running_parts(tmp_path: Path) -> None:
    """The second chat starts nothing twice, and the first `up` keeps running after it."""
    first = up(tmp_path, "--no-chat")
    try:
        seen(first, "nats       ready", "dataflow   ready", "model      ready")
        before = processes_of(tmp_path)
        second = subprocess.run(
            [sys.executable, "-m", "ops", "up", "--chat"],
            input="What is the capital of France?\n",
            env={**os.environ, "THREADWAX_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert second.returncode == 0, second.stderr
        assert "Paris" in second.stdout
        assert "joining" in second.stderr
        assert " ready  " not in second.stderr
        assert processes_of(tmp_path) == before
        third = up(tmp_path, "--no-chat")
        _, errors = third.communicate(timeout=60)
        assert third.returncode == 78
        assert errors.count("already runs everything on this data folder; `threadwax chat`") == 1
        assert "nats       failed" not in errors
        assert processes_of(tmp_path) == before
        assert first.poll() is None
    finally:
        first.kill()
        first.communicate()
        assert none_left(tmp_path)
