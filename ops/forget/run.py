"""`threadwax forget`: runs the steps in order and prints the results.

Safe to repeat: each step erases what is left.
"""

import asyncio
import sqlite3
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from ops.forget import adapter_files, database, markers
from ops.forget.backups import backups
from ops.forget.receipt import Receipt, lines_of
from ops.forget.request import WAIT_S, forgotten
from ops.forget.users import stored_events
from shared import user_names
from shared.connection import Unavailable
from shared.publishing import OverQuota
from shared.settings import Settings

FAILED: Final = 1
USAGE: Final = 2

CONFIRM: Final = (
    "Everything stored about {user} will be erased, and unanswered questions are withdrawn. "
    "Continue?"
)
NOT_YET: Final = (
    "Not done within {seconds:.0f} s. The request is stored, and the dataflow carries it out as "
    "soon as it can, also after a restart. Is `threadwax dataflow` running? Run this again for the "
    "receipt."
)


def list_users(settings: Settings) -> int:
    """Prints all users of the stream with the number of their events; returns the exit code."""
    try:
        found = asyncio.run(stored_events(settings.bus_url))
    except Unavailable as error:
        return _failed(str(error))
    for user, count in sorted(found.items()):
        platform, token = user_names.split_user(user)
        click.echo(f"{user}\t{count} events\t{platform} {_readable(token)}")
    if not found:
        click.echo("The stream has no events.", err=True)
    return 0


def forget(settings: Settings, user: str, *, sure: bool) -> int:
    """Has a user forgotten and prints the receipt; returns the exit code."""
    if (why := _not_a_user(user)) is not None:
        return _failed(why, USAGE)
    if not sure and not click.confirm(CONFIRM.format(user=user), err=True):
        return FAILED
    try:
        reply = asyncio.run(forgotten(settings.bus_url, user))
    except (Unavailable, OverQuota) as error:
        return _failed(str(error))
    if reply is None:
        return _failed(NOT_YET.format(seconds=WAIT_S))
    counts = dict(reply.erased or {})
    failures: list[str] = []
    steps: dict[str, Callable[[Path, str], int]] = {
        "terminal_history": adapter_files.erase_history,
        "discord_questions": adapter_files.erase_discord,
    }
    for name, step in steps.items():
        try:
            if count := step(settings.home, user):
                counts[name] = count
        except (OSError, sqlite3.Error) as error:
            failures.append(f"{name}: {error}")
    recorded = database.Erased({})
    try:
        recorded = database.erase(settings, user, reply.said_at)
    except Exception as error:  # noqa: BLE001  (whatever a driver raises: the rest is done)
        failures.append(f"database: {type(error).__name__}: {str(error).splitlines()[0][:200]}")
    receipt = Receipt(
        user, datetime.now(UTC), counts, recorded.rows,
        tuple(backups(settings.home)), recorded.exports, tuple(failures),
    )  # fmt: skip
    for line in lines_of(receipt):
        click.echo(line)
    return FAILED if failures else 0


def verify(settings: Settings, wanted: list[str]) -> int:
    """Searches the data folder for markers; returns 0 if everything was read and none found."""
    short = [marker for marker in wanted if len(marker) < markers.SHORTEST_CHARS]
    if not wanted or short:
        return _failed(
            f"--verify needs markers of at least {markers.SHORTEST_CHARS} characters: words that "
            "only this person wrote",
            USAGE,
        )
    found = markers.search(settings.home, wanted, on_file=_progress(sys.stderr.isatty()))
    for path in found.read:
        hits = found.matches.get(path)
        click.echo(f"{'FOUND' if hits else 'clean'}  {path.relative_to(settings.home)}"
                   + (f": {len(hits)} of the markers" if hits else ""))  # fmt: skip
    for path, why in found.unreadable.items():
        click.echo(f"NOT READ  {path.relative_to(settings.home)}: {why}")
    click.echo(
        f"{len(found.read)} files with {found.bytes_read:,} bytes in {settings.home} were read; "
        f"{len(found.matches)} contain a marker."
    )
    return 0 if found.clean else FAILED


def _progress(visible: bool) -> Callable[[Path], None]:  # noqa: FBT001
    def show(path: Path) -> None:
        if visible:
            click.echo(f"\r\033[K{path.name}", nl=False, err=True)

    return show


def _not_a_user(user: str) -> str | None:
    try:
        user_names.split_user(user)
    except user_names.BadName:
        return (
            f"{user!r} is not a user: write it as platform:name, such as terminal:ada. "
            "`threadwax forget --list` lists them"
        )
    return None


def _readable(token: str) -> str:
    try:
        return user_names.decoded(token)
    except user_names.BadName:
        return token


def _failed(message: str, code: int = FAILED) -> int:
    click.echo(message, err=True)
    return code
