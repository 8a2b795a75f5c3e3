"""Wires the terminal: who chats, the bus, the relay, and Ctrl-C.

Two chats of one user on one data folder must never run: they would take each other's answers.
"""

import asyncio
import contextlib
import fcntl
import os
import secrets
import signal
import sys
import termios
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from bots.endings import end
from bots.platform import Publish
from bots.relay import Relay
from bots.terminal.lines import Lines
from bots.terminal.platform import NOTHING_PUBLISHED, Terminal
from bots.terminal.screen import Pipe, Screen, Window
from shared import log, names
from shared.bus import Bus
from shared.connection import Unavailable
from shared.settings import Settings

USAGE: Final = 2

PATIENCE_S: Final = 10.0
"""A restart of NATS is over by then; a person is told after that."""

KEPT_S: Final = 30 * 24 * 3600.0
"""A chat that was not opened for a month: the replies are gone long before."""

DEMO: Final = (
    "A small demo model answers, and often wrongly. For a real one set OPENAI_API_KEY, "
    "or OPENAI_BASE_URL and THREADWAX_MODEL."
)


class AlreadyOpen(Exception):  # noqa: N818  (named by what it is about, as all our errors)
    """Another process chats as this user."""


def main(settings: Settings, user: str) -> int:
    """Runs a chat on standard input and output; returns the exit code."""
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    # A line for each hop would stand in the midst of the chat.
    level = "warning" if settings.log_level == "info" else settings.log_level
    log.set_up(level, process="terminal")
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        chatter = names.user_of("terminal", user)
        with _alone(settings.home / "terminal", chatter, user), _tidy_terminal():
            return asyncio.run(_chat(settings, user, chatter, interactive=interactive))
    except names.BadName as error:
        return _failed(f"--user {user[:40]!r} cannot be used: {error}", USAGE)
    except (AlreadyOpen, Unavailable) as error:
        return _failed(str(error), NOTHING_PUBLISHED)
    except BrokenPipeError:
        # Whoever read the answers has gone; Python must not complain at its exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOTHING_PUBLISHED


async def _chat(settings: Settings, name: str, user: str, *, interactive: bool) -> int:
    _, token = names.split_user(user)
    screen: Screen = Window() if interactive else Pipe()
    bus = await Bus.connect(settings.bus_url(), name="terminal")
    terminal = Terminal(
        user=user,
        session=secrets.token_hex(4),
        lines=Lines(interactive=interactive),
        screen=screen,
        interactive=interactive,
    )
    relay = Relay(
        bus,
        terminal,
        consumer=f"terminal-{token}",
        subject=f"replies.terminal.{token}.*",
        partials=f"partials.terminal.{token}.*",
        inactive_s=KEPT_S,
    )
    _greet(screen, name, interactive=interactive, demo=settings.demo_model)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, terminal.interrupt)
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, partial(_leave, terminal, number))
    publish: Publish = partial(bus.publish, patience_s=PATIENCE_S)
    tasks = {asyncio.create_task(relay.run()), asyncio.create_task(terminal.listen(publish))}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await end(*tasks)
        await bus.close()
    return terminal.exit_code


def _leave(terminal: Terminal, number: signal.Signals) -> None:
    terminal.exit_code = 128 + number
    terminal.leave()


def _greet(screen: Screen, name: str, *, interactive: bool, demo: bool) -> None:
    if interactive:
        screen.note(
            f"threadwax: a chat as {name!r} that no crash breaks. /help lists the commands."
        )
    if demo:
        screen.note(DEMO)


@contextlib.contextmanager
def _alone(folder: Path, user: str, name: str) -> Iterator[None]:
    """Holds the user's lock on this data folder; the kernel gives it back whatever happens."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _, token = names.split_user(user)
    with (folder / f"{token}.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            pid = file.read().strip() or "unknown"
            raise AlreadyOpen(
                f"a chat as {name!r} is already open (pid {pid}): use --user"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


@contextlib.contextmanager
def _tidy_terminal() -> Iterator[None]:
    """Gives the terminal back as it was: the line editor may be left in the middle of a line."""
    before: list[Any] | None = None
    with contextlib.suppress(termios.error, OSError, ValueError):
        before = termios.tcgetattr(sys.stdin)
        quiet = termios.tcgetattr(sys.stdin)
        # Ctrl-C must not be drawn into an answer that is growing.
        quiet[3] &= ~termios.ECHOCTL
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        if before is not None:
            with contextlib.suppress(termios.error, OSError):
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _failed(message: str, code: int) -> int:
    print(message, file=sys.stderr)  # noqa: T201  (it is what the person reads)
    return code
