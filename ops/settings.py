"""Reads settings for a command, or ends the process with one line for each thing that is wrong.

Holds no setting of its own, and must never show a value.
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
from shared.setting_kinds import new_names
from shared.settings import Settings

EXIT_CODE: Final = 2
"""As click's own for a wrong command line."""

LISTS_OF_THE_ALLOWED: Final = re.compile(r".+_ALLOW_(USERS|CHANNELS|ROLES|GUILDS)")
"""The names of lists that admit only those who are on them."""

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
"""What can be meant for a setting. The library takes everything before an equals sign for a name,
invisible characters and section headings included."""

Kind = TypeVar("Kind", bound=BaseSettings)


def read(kind: type[Kind]) -> Kind:
    """The settings of one class; anything wrong ends the process."""
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
                f"{name} is now called {new}: rename it, since the next release no longer reads "
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
    """What is wrong with the settings of one class, for the doctor."""
    try:
        kind()
    except ValidationError as error:
        return list(fault_lines(error, kind, place_of))
    except (SettingsError, OSError) as error:
        return [_unread(error)]
    return []


def place_of(name: str) -> str:
    """Where a variable was set, in words; under its old name if only that is set."""
    if name.lower() not in _set_names():
        for kind in _kinds(name.upper()):
            for old, new in new_names(kind).items():
                if new == name.upper() and old.lower() in _set_names():
                    return f"set as {old}, its old name: {place_of(old)}"
    if name.lower() in {variable.lower() for variable in os.environ}:
        return "set in the environment"
    lines = [line for key, _, line in _entries() if key.lower() == name.lower()]
    return f"{folders.settings_file()}, line {lines[-1]}" if lines else "set by a file"


def _unread(error: SettingsError | OSError) -> str:
    """What is wrong with the file of a secret."""
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
        yield f"{file} is not UTF-8 text: save it as UTF-8, without anything but text in it."
        return
    for key, value, line in entries:
        if not key:
            yield (
                f"{file}, line {line}: this is not a setting: write NAME=value, and put a value "
                "that has a # or a line break in it into single quotes"
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
    """An allow list that was set and is empty: only without it everybody is admitted."""
    values = {key.upper(): (value or "") for key, value, _ in _entries()}
    values |= {key.upper(): value for key, value in os.environ.items()}
    for name, value in values.items():
        if LISTS_OF_THE_ALLOWED.fullmatch(name) and name in _known(name) and not value.strip():
            yield (
                f"{name}: it is empty: name somebody, or remove it to admit everybody "
                f"({place_of(name)})"
            )


@cache
def _entries() -> tuple[tuple[str, str | None, int], ...]:
    """Names, values and line numbers of `.env`; an empty name for a line that cannot be read.

    Raises:
        OSError: it cannot be read.
        UnicodeDecodeError: it is not text.
    """
    file = folders.settings_file()
    if not file.exists():
        return ()
    text = file.read_text(encoding="utf-8")
    if "\0" in text:  # UTF-16 without a mark, which PowerShell appends to a file
        raise UnicodeDecodeError("utf-8", b"\0", 0, 1, "NUL")
    found: list[tuple[str, str | None, int]] = []
    for binding in parse_stream(io.StringIO(text)):
        # A binding begins with the blank lines before it.
        skipped = binding.original.string
        line = binding.original.line + skipped[: len(skipped) - len(skipped.lstrip())].count("\n")
        if binding.error or (binding.key is not None and NAME.fullmatch(binding.key) is None):
            found.append(("", None, line))
        elif binding.key is not None:
            found.append((binding.key, binding.value, line))
    return tuple(found)


def _unknown_in_environment() -> list[Unknown]:
    names = [name for name in os.environ if name.upper().startswith(BEGINNINGS)]
    verdicts = (unknown_in_environment(name, _known(name)) for name in names)
    return [verdict for verdict in verdicts if verdict is not None]


def _set_names() -> set[str]:
    return {name.lower() for name in os.environ} | {key.lower() for key, _, _ in _entries()}


def _known(name: str) -> frozenset[str]:
    """Every setting that a variable could be meant for.

    Those of a platform are read only if the name begins as theirs do, since that takes time.
    """
    name = name.upper().replace("-", "_")
    found: frozenset[str] = frozenset()
    for kind in _kinds(name):
        found |= _names(kind)
        if name in found:
            break
    return found


def _kinds(name: str) -> Iterator[type[BaseSettings]]:
    yield Settings
    if name.startswith("S") and "_" in name:
        from bots.slack.settings import SlackSettings  # noqa: PLC0415

        yield SlackSettings
    if name.startswith("DI") and "_" in name:
        from bots.discord.settings import DiscordSettings  # noqa: PLC0415

        yield DiscordSettings


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
    """Where settings come from, in words."""
    file: Path = folders.settings_file()
    return str(file) if folders.visible(file) else f"environment only ({file} does not exist)"
