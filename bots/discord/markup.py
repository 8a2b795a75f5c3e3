"""Discord's markup: answers as Discord can draw them, and messages as people see them.

In messages, ids become names, and dates, emoji and commands become words; an id without a known
name stays as it is. Pure, and linear in the length of the text. It must never change code, in which
Discord shows the markup itself, nor lose a word of an answer.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from bots.rendering import Dialect, rendered

DISCORD: Final = Dialect(draws=())
"""Discord draws none of the optional elements: see docs/discord.md."""

_FENCE: Final = "```"

# https://docs.discord.com/developers/reference#message-formatting
_MARKUP: Final = re.compile(
    r"`[^`\n]*`"
    r"|<@!?(?P<user>\d{1,20})>"
    r"|<@&(?P<role>\d{1,20})>"
    r"|<#(?P<channel>\d{1,20})>"
    r"|<a?:(?P<emoji>\w{1,32}):\d{1,20}>"
    r"|<t:(?P<time>-?\d{1,13})(?::[a-zA-Z])?>"
    r"|</(?P<command>[^<>:\n]{1,100}):\d{1,20}>"
    r"|<id:(?P<page>[a-z-]{1,32})(?::\d{1,20})?>",
    re.ASCII,
)

_DRAWN: Final = {"emoji": ":{}:", "command": "/{}", "page": "#{}"}


def _unknown(_: int) -> None:
    return None


@dataclass(frozen=True, slots=True)
class MentionNames:
    """The names of a server's roles and channels by id; None for a name that must not be shown."""

    role: Callable[[int], str | None] = _unknown
    channel: Callable[[int], str | None] = _unknown


NO_NAMES: Final = MentionNames()


def downgraded(text: str) -> str:
    """Replace what Discord does not draw: tables, LaTeX, pictures, deep headings."""
    return rendered(text, DISCORD)


def readable(text: str, users: Mapping[str, str], mention_names: MentionNames) -> str:
    """A message's text as Discord shows it; `users` maps ids to people's names."""

    def named(match: "re.Match[str]") -> str:
        return _named(match, users, mention_names) or match[0]

    pieces = text.split(_FENCE)
    # Every second piece is code, unless its fence is never closed.
    closed = len(pieces) - (len(pieces) % 2 == 0)
    return _FENCE.join(
        piece if number % 2 and number < closed else _MARKUP.sub(named, piece)
        for number, piece in enumerate(pieces)
    )


def _named(
    match: "re.Match[str]", users: Mapping[str, str], mention_names: MentionNames
) -> str | None:
    kind = match.lastgroup
    if kind is None:
        return None  # code
    value = match[kind]
    if kind == "user":
        return _prefixed("@", users.get(value))
    if kind == "role":
        return _prefixed("@", mention_names.role(int(value)))
    if kind == "channel":
        return _prefixed("#", mention_names.channel(int(value)))
    return _date(int(value)) if kind == "time" else _DRAWN[kind].format(value)


def _prefixed(sign: str, name: str | None) -> str | None:
    return f"{sign}{name}" if name else None


def _date(seconds: int) -> str | None:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, OSError, ValueError):  # Discord accepts years that Python does not
        return None
