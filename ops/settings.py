"""Reads the settings of a command, or ends the process with one line for each error.

Must never show a value.
"""

import io
import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NoReturn, TypeVar

import click
from dotenv.parser import parse_stream
from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsError

from ops.setting_errors import fault_lines
from ops.setting_names import (
    BEGINNINGS,
    PREFIXES,
    Unknown,
    unknown_in_environment,
    unknown_in_file,
)
from shared import folders
from shared.named_secrets import SUFFIX, secret_names
from shared.secret_files import secret_files
from shared.setting_kinds import new_names
from shared.settings import Settings
from shared.traces.settings import TraceSettings

EXIT_CODE: Final = 2
"""The same as Click's for a wrong command line."""

ALLOW_LISTS: Final = re.compile(r".+_ALLOW_(USERS|CHANNELS|ROLES|GUILDS)")
"""Settings that admit only the listed people and places."""

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
"""A name that can be a setting. python-dotenv accepts everything before an equals sign as a name,
including invisible characters and section headings."""

Kind = TypeVar("Kind", bound=BaseSettings)


def read(kind: type[Kind]) -> Kind:
    """Returns the settings of one class, or ends the process if anything is wrong."""
    try:
        Path.cwd()
    except FileNotFoundError:
        _end(["the current folder no longer exists: change to one that does"])
    if problems := list(_problems()):
        _end(problems)
    try:
        return kind()
    except ValidationError as error:
        _end(list(fault_lines(error, kind, place_of)))
    except (SettingsError, OSError) as error:
        _end([_unread(error)])


def warnings() -> list[str]:
    """What does not stop a start: old names of settings, and variables that have no effect.

    The latter look like settings of ours, but may be those of another program.
    """
    return [*_renamed(), *_without_effect()]


def _renamed() -> Iterator[str]:
    for name in sorted(key.upper() for key in _set_names()):
        if name.startswith(BEGINNINGS) and (new := _new_name(name)):
            yield (
                f"{name} is now called {new}: rename it, because the next release will not read "
                f"the old name ({place_of(name)})"
            )


def _without_effect() -> list[str]:
    return [
        f"{found.name} is not a setting of threadwax and has no effect{_suggested(found)}"
        for found in _unknown_in_environment()
        if not found.stops
        and (found.name.startswith(PREFIXES[0]) or found.meant.lower() not in _set_names())
    ]


def faults(kind: type[BaseSettings]) -> list[str]:
    """Returns the errors in the settings of one class."""
    try:
        kind()
    except ValidationError as error:
        return list(fault_lines(error, kind, place_of))
    except (SettingsError, OSError) as error:
        return [_unread(error)]
    return []


def place_of(name: str) -> str:
    """Where a name is set, in words; if only the old name of a setting is set, where that is."""
    if name.lower() not in _set_names():
        for kind in _kinds(name.upper()):
            for old, new in new_names(kind).items():
                if new == name.upper() and old.lower() in _set_names():
                    return f"set as {old}, its old name: {place_of(old)}"
    if name.lower() in {variable.lower() for variable in os.environ}:
        return "set in the environment"
    lines = [line for key, _, line in _entries() if key.lower() == name.lower()]
    if lines:
        return f"{folders.settings_file()}, line {lines[-1]}"
    if (name + SUFFIX).lower() in _set_names():
        return f"set by a file: {name}{SUFFIX} is {place_of(name + SUFFIX)}"
    file = secret_files().get(name.lower())
    return f"set by the file {file}" if file else "not set"


def _unread(error: SettingsError | OSError) -> str:
    """Says why the file of a secret cannot be read."""
    cause = error if isinstance(error, OSError) else error.__cause__
    if not isinstance(cause, OSError):
        return str(error)
    return (
        f"{cause.filename} cannot be read: {cause.strerror}. Make it a readable file, or remove it."
    )


def _end(problems: list[str]) -> NoReturn:
    for problem in problems:
        click.echo(problem, err=True)
    sys.exit(EXIT_CODE)


def _problems() -> Iterator[str]:
    file = folders.settings_file()
    try:
        entries = _entries()
    except OSError as error:
        yield f"{file} cannot be read: {error.strerror}. Make it a readable file, or remove it."
        return
    except UnicodeDecodeError:
        yield f"{file} is not UTF-8 text: save it as plain text in UTF-8."
        return
    for key, value, line in entries:
        if not key:
            yield (
                f"{file}, line {line}: this is not a setting: write NAME=value, and put values "
                "with a # or a line break into single quotes"
            )
        elif (found := unknown_in_file(key, _known(key))) is not None:
            yield (
                f"{file}, line {line}: {found.name} is not a setting of threadwax"
                f"{_suggested(found)} .env.example lists them all."
            )
        elif value is None and key.upper() in _known(key):
            yield f"{file}, line {line}: {key} has no value: write {key}=value"
    for unknown in _unknown_in_environment():
        if unknown.stops:
            yield (
                f"{unknown.name} in the environment is not a setting of threadwax"
                f"{_suggested(unknown)} Unset it if it is for another program."
            )
    yield from _empty_lists()


def _empty_lists() -> Iterator[str]:
    """Yields allow lists that are set but empty, which must not admit everybody."""
    values = {key.upper(): (value or "") for key, value, _ in _entries()}
    values |= {key.upper(): value for key, value in os.environ.items()}
    for name, value in values.items():
        if ALLOW_LISTS.fullmatch(name) and name in _known(name) and not value.strip():
            yield (
                f"{name}: it is empty: add an entry, or remove the setting to admit everybody "
                f"({place_of(name)})"
            )


@cache
def _entries() -> tuple[tuple[str, str | None, int], ...]:
    """Returns names, values and line numbers of `.env`, with an empty name for unreadable lines.

    Raises:
        OSError: the file cannot be read.
        UnicodeDecodeError: the file is not text.
    """
    file = folders.settings_file()
    if not file.exists():
        return ()
    text = file.read_text(encoding="utf-8")
    if "\0" in text:  # UTF-16 without a byte order mark, which PowerShell appends to files
        raise UnicodeDecodeError("utf-8", b"\0", 0, 1, "NUL")
    found: list[tuple[str, str | None, int]] = []
    for binding in parse_stream(io.StringIO(text)):
        # The text of a binding begins with the blank lines before it.
        skipped = binding.original.string
        line = binding.original.line + skipped[: len(skipped) - len(skipped.lstrip())].count("\n")
        if binding.error or (binding.key is not None and NAME.fullmatch(binding.key) is None):
            found.append(("", None, line))
        elif binding.key is not None:
            found.append((binding.key, binding.value, line))
    return tuple(found)


def forget_file() -> None:
    """Lets this process read `.env` again, which can have changed since."""
    _entries.cache_clear()


def _unknown_in_environment() -> list[Unknown]:
    names = [name for name in os.environ if name.upper().startswith(BEGINNINGS)]
    verdicts = (unknown_in_environment(name, _known(name)) for name in names)
    return [verdict for verdict in verdicts if verdict is not None]


def _set_names() -> set[str]:
    variables, lines = os.environ, [key for key, _, _ in _entries()]
    return {name.lower() for name in (*variables, *lines)} | secret_files().keys()


def _known(name: str) -> frozenset[str]:
    """Returns all settings that a variable could be.

    Imports a platform's settings only if the name begins like theirs, because imports take time.
    """
    name = name.upper().replace("-", "_")
    found: frozenset[str] = frozenset()
    for kind in _kinds(name):
        found |= _names(kind)
        found |= {secret + SUFFIX for secret in secret_names(kind)}
        if name in found:
            break
    return found


def _kinds(name: str) -> Iterator[type[BaseSettings]]:
    yield Settings
    if name.startswith("O"):
        yield TraceSettings
    if name.startswith("S") and "_" in name:
        from bots.slack.settings import SlackSettings

        yield SlackSettings
    if name.startswith("DI") and "_" in name:
        from bots.discord.settings import DiscordSettings

        yield DiscordSettings
    if name.startswith("THREADWAX_W"):
        from bots.web.settings import WebSettings

        yield WebSettings


@cache
def _names(kind: type[BaseSettings]) -> frozenset[str]:
    """The names that are read, the old ones of renamed settings included."""
    return frozenset(str(field.alias) for field in kind.model_fields.values()) | set(
        new_names(kind)
    )


def _new_name(name: str) -> str:
    """The new name of a setting, if this is its old one; empty otherwise."""
    return next(filter(None, (new_names(kind).get(name) for kind in _kinds(name))), "")


def _suggested(found: Unknown) -> str:
    meant = _new_name(found.meant) or found.meant
    return f": did you mean {meant}?" if meant else "."


def settings_place() -> str:
    """Says where the settings come from."""
    file: Path = folders.settings_file()
    return str(file) if folders.visible(file) else f"environment only ({file} does not exist)"
