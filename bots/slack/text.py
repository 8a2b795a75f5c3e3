"""Slack's markup to plain words, and a model's words to what Slack may show. Pure: no I/O.

A model's text must never notify anybody: whatever begins a token of Slack's markup is escaped,
character by character, so that no token can come together from two chunks of a stream.
"""

import re
from collections.abc import Mapping
from html import unescape
from typing import Final
from urllib.parse import urlsplit

_TOKEN: Final = re.compile(r"<([^<>]*)>")
"""https://docs.slack.dev/messaging/formatting-message-text: `<@U1>`, `<#C1|name>`, `<url|x>`."""

_USER: Final = re.compile(r"<@([A-Z0-9]+)(?:\|[^<>]*)?>")
_QUOTE: Final = re.compile(r"(?m)^[ \t]{0,3}(?:>[ ]?)+")
_ESCAPES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_UNSAFE: Final = re.compile(r"[&<>]")

_LINK: Final = re.compile(r"(?i)\b[a-z][a-z0-9+.\-]*://[^\s<>|)\]\"'`]*")
_UNFINISHED: Final = re.compile(r"(?i)(?:&[a-z]*|[a-z][a-z0-9+.\-]*(?::(?:/(?:/\S*)?)?)?)\Z")
"""The end of a growing text that may still become a link, or another host than it is now."""

FALLBACK_CHARS: Final = 300
"""Of an answer in a notification; the message itself is in its blocks."""


def mentioned(text: str) -> set[str]:
    """The ids of the users whom a message mentions."""
    return set(_USER.findall(text))


def plain(text: str, names: Mapping[str, str], *, without: str = "") -> str:
    """A person's message as words: names for ids, links in full, entities decoded.

    The user id `without` is the bot's own: its mention says whom the message is for, and is
    dropped.
    """

    def spoken(match: re.Match[str]) -> str:
        inside, _, label = match[1].partition("|")
        if inside.startswith("@"):
            user = inside[1:]
            return "" if user == without else f"@{names.get(user) or label or user}"
        if inside.startswith("#"):
            return f"#{label or inside[1:]}"
        if inside.startswith("!"):
            return label or f"@{inside[1:].split('^')[0]}"
        bare = inside.removeprefix("mailto:")
        return bare if not label or label in {bare, inside} else f"{label} ({inside})"

    return unescape(_TOKEN.sub(spoken, text)).strip()


def escaped(text: str) -> str:
    """A model's text with nothing in it that Slack would take for a token of its markup.

    Marks of a quotation at the start of a line stay: they begin no token.
    """
    out: list[str] = []
    end = 0
    for match in _QUOTE.finditer(text):
        out += _UNSAFE.sub(_escape, text[end : match.start()]), match[0]
        end = match.end()
    out.append(_UNSAFE.sub(_escape, text[end:]))
    return "".join(out)


def _escape(match: re.Match[str]) -> str:
    return _ESCAPES[match[0]]


def escaped_length(text: str) -> int:
    """Characters of a text in Slack at most; adds up over pieces."""
    return len(text) + 4 * text.count("&") + 3 * (text.count("<") + text.count(">"))


def fallback(text: str) -> str:
    """What a notification shows of an answer, in one line."""
    words = " ".join(text.split())
    if len(words) > FALLBACK_CHARS:
        words = words[: FALLBACK_CHARS - 1].rstrip() + "…"
    return _UNSAFE.sub(_escape, words)


def hosts(text: str) -> frozenset[str]:
    """The hosts of the links in a text."""
    return frozenset(filter(None, (_host(link[0]) for link in _LINK.finditer(text))))


def _host(link: str) -> str:
    try:
        return (urlsplit(link).hostname or "").lower()
    except ValueError:
        return ""


def defanged(text: str, known: frozenset[str]) -> str:
    """A text whose links to unknown hosts are no links any more.

    A link preview is a request to whoever the model chose, with whatever it put into the address.
    """

    def shown(match: re.Match[str]) -> str:
        host = _host(match[0])
        if host and any(host == name or host.endswith(f".{name}") for name in known):
            return match[0]
        return match[0].replace("://", "[:]//")

    return _LINK.sub(shown, text)


def finished(text: str) -> str:
    """A growing text up to where no later word can change what was shown."""
    match = _UNFINISHED.search(text)
    return text[: match.start()] if match else text
