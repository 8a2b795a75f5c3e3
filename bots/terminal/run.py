"""Starts a chat in the terminal: its user, bus, relay and signals.

Two chats of one user on one data folder must never run: each would take the other's answers.
"""

import asyncio
import contextlib
import getpass
import io
import os
import secrets
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from nats.aio.msg import Msg
from pydantic import ValidationError
from typing_extensions import override

from bots.relay import Relay
from bots.terminal.history import History
from bots.terminal.messages import PROMPT, PlainLines
from bots.terminal.platform import NOTHING_PUBLISHED, Terminal
from bots.terminal.screen import PlainScreen, Screen
from shared import lifecycle, log, names, tracing, user_names
from shared.bus import Bus
from shared.connection import Unavailable
from shared.lock import AlreadyRunning, locked
from shared.own_history import own_history
from shared.replies import Partial
from shared.settings import Settings
from shared.tasks import end

USAGE: Final = 2

PATIENCE_S: Final = 10.0
"""A restart of NATS takes less; after this the person is told."""

KEPT_S: Final = 30 * 24 * 3600.0
"""The consumer of an unused chat is removed after this; its replies expire long before."""

DUMB: Final = frozenset({"", "dumb", "unknown"})
"""Values of TERM for a terminal that cannot move its cursor."""

DEMO: Final = (
    "A small demo model answers, and is often wrong. For a real one set OPENAI_API_KEY, "
    "or OPENAI_BASE_URL and THREADWAX_MODEL."
)


class AlreadyOpen(Exception):
    """Another process already chats as this user."""


def main(settings: Settings, user: str) -> int:
    """Runs a chat on standard input and output; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None if it was closed
            stream.reconfigure(errors="replace")
    # At INFO, a line for each hop would appear in the chat.
    level = "warning" if settings.log_level == "info" else settings.log_level
    log.set_up(level, process="terminal")
    try:
        tracing.start("terminal")
        chatter = user_names.user_of("terminal", user)
        with _alone(settings.home / "terminal", chatter, user):
            return asyncio.run(_chat(settings, user, chatter, level))
    except user_names.BadName as error:
        return _failed(f"--user {user[:40]!r} cannot be used: {error}", USAGE)
    except (AlreadyOpen, Unavailable, tracing.CannotTrace) as error:
        return _failed(str(error), NOTHING_PUBLISHED)
    except BrokenPipeError:
        # The reader of the answers is gone; Python must not complain at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOTHING_PUBLISHED
    finally:
        tracing.stop()


def user_name() -> str:
    """The person's user name on this machine."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no entry for this user, as in some containers
        return f"user{os.getuid()}"


async def _chat(settings: Settings, name: str, user: str, level: str) -> int:
    _, token = user_names.split_user(user)
    interactive = _is_terminal(sys.stdin) and _is_terminal(sys.stdout)
    bus = await Bus.connect(settings.bus_url, name="terminal")
    editor = None
    path = settings.home / "terminal" / f"{token}.history"
    if interactive and os.environ.get("TERM", "") not in DUMB:
        # Imported here, because a pipe needs no line editor.
        from bots.terminal.chat_window import ChatWindow  # noqa: PLC0415
        from bots.terminal.editor import Editor  # noqa: PLC0415

        editor = Editor(History(path, settings.chat_history))
        screen: Screen = ChatWindow(editor)
    else:
        screen = PlainScreen(sys.stdout if interactive else sys.stderr)
    terminal = Terminal(
        publish=partial(bus.publish, patience_s=PATIENCE_S),
        user=user,
        session=secrets.token_hex(4),
        lines=editor or PlainLines(sys.stdin, prompt=PROMPT if interactive else "", history=path),
        screen=screen,
        interactive=interactive,
        fetch_history=partial(own_history, bus),
        connected=lambda: bus.connected,
    )
    partials = names.partials_to_user(user)
    relay = Relay(
        bus,
        terminal,
        consumer=f"terminal-{token}",
        subject=names.replies_to_user(user),
        partials=partials,
        inactive_s=KEPT_S,
    )
    with _signals_to(terminal), _errors_above(screen if editor else None, level):
        demo = settings.demo_model and settings.adapter is None
        _greet(screen, name, interactive=interactive, demo=demo)
        await bus.watch(partials, partial(_see_status, terminal))
        tasks = {asyncio.create_task(relay.run()), asyncio.create_task(terminal.listen())}
        editing = None
        if editor:
            editor.interrupted = terminal.interrupt
            editing = asyncio.create_task(editor.run())
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            screen.close()
            if editing:
                await editing  # restores the terminal
            await end(*tasks)
            await bus.close()
    return terminal.exit_code


async def _see_status(terminal: Terminal, message: Msg) -> None:
    """Shows why an answer is delayed, even while the relay holds it back for an earlier one."""
    if b'"status"' in message.data:
        with contextlib.suppress(ValidationError):
            terminal.show_status(Partial.model_validate_json(message.data))


def _is_terminal(stream: object) -> bool:
    return isinstance(stream, io.TextIOWrapper) and stream.isatty()


def _greet(screen: Screen, name: str, *, interactive: bool, demo: bool) -> None:
    if interactive:
        screen.note(f"A chat as {name!r}; it survives crashes. /help lists the commands and keys.")
    if demo:
        screen.note(DEMO)


@contextlib.contextmanager
def _signals_to(terminal: Terminal) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, terminal.interrupt)
    for number in lifecycle.stop_signals():
        if number != signal.SIGINT:
            loop.add_signal_handler(number, terminal.leave, 128 + number)
    yield


class _Above(io.TextIOBase):
    """A standard error whose lines appear above the line being typed."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show

    @override
    def isatty(self) -> bool:
        return True

    @override
    def write(self, text: str) -> int:
        if text.strip():
            self._show(text.rstrip("\n"))
        return len(text)


@contextlib.contextmanager
def _errors_above(window: Screen | None, level: str) -> Iterator[None]:
    """Sends log lines to the window, which alone may write to the terminal."""
    if window is None:
        yield
        return
    try:
        with contextlib.redirect_stderr(_Above(window.note)):
            log.set_up(level, process="terminal")
            yield
    finally:
        log.set_up(level, process="terminal")


@contextlib.contextmanager
def _alone(folder: Path, user: str, name: str) -> Iterator[None]:
    """Holds the user's lock on this data folder; the kernel releases it whatever happens."""
    _, token = user_names.split_user(user)
    try:
        descriptor = locked(folder / f"{token}.lock", f"the chat of {name!r}")
    except AlreadyRunning as held:
        where = f" in process {held.pid}" if held.pid else ""
        raise AlreadyOpen(
            f"A chat as {name!r} is already open{where}. "
            f"To chat as somebody else at the same time: {_command()} chat --user NAME"
        ) from None
    except OSError as error:
        raise Unavailable(
            f"The data folder {folder.parent} cannot be written to ({error.strerror}). "
            "Set THREADWAX_HOME to a folder that you can write to."
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


def _command() -> str:
    """The command that starts us: `make chat` does not add one to the path."""
    here = Path(sys.executable).with_name("threadwax")
    if shutil.which("threadwax") or not here.exists():
        return "threadwax"
    return os.path.relpath(here)


def _failed(message: str, code: int) -> int:
    print(message, file=sys.stderr)  # noqa: T201  (it is what the person reads)
    return code
