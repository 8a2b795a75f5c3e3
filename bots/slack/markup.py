"""Slack's markup to plain text, and a model's text to what Slack may show. Pure: no I/O.

A model's text must never notify anybody: each character that can begin a token of Slack's markup is
escaped, so that two chunks of a stream cannot form a token together.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bots.rendering import Dialect, rendered
from bots.slack.rich_text import when

_TOKEN: Final = re.compile(r"<([^<>]*)>")
"""https://docs.slack.dev/messaging/formatting-message-text: `<@U1>`, `<#C1|name>`, `<url|x>`."""

_USER: Final = re.compile(r"<@([A-Z0-9_]+)(?:\|[^<>]*)?>")
_CHANNEL: Final = re.compile(r"<#([A-Z0-9_]+)\|?>")
"""A mention of a channel without its name."""

_QUOTE: Final = re.compile(r"(?m)^[ \t]{0,3}(?:>[ ]?)+")
_ESCAPES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_UNSAFE: Final = re.compile(r"[&<>]")
_ENTITY: Final = re.compile(r"&(amp|lt|gt);")
_ENTITIES: Final = {"amp": "&", "lt": "<", "gt": ">"}
"""Slack writes only these three; a person typed anything else that looks like an entity."""

HOSTS_CHARS: Final = 6_000
"""How much of a question is searched for links; later links count as unknown."""

HOST_CHARS: Final = 300
"""A host name has at most 253 characters, so anything longer is not a known host."""

_LINK_BEGINS: Final = re.compile(
    r"(?<=[a-z0-9+.\-\\]):\\?/\\?/|(?<![\w./@:\-])www\.|\][(:]", re.IGNORECASE | re.ASCII
)
_MAY_BEGIN: Final = re.compile(
    r"(?:(?<=[a-z0-9+.\-\\]):\\?/?\\?|(?<![\w./@:\-])w{1,3}|\])\Z", re.IGNORECASE | re.ASCII
)
_AUTHORITY: Final = re.compile(r"[^\s/?#<>|\[\]^]*")
_HOST: Final = re.compile(r"([\w.\-]+)(?::\d*)?")
_REST_OF_LINK: Final = re.compile(r"[^\s<>|)\]\"'`]*")
_AROUND_LINKS: Final = ")}\"'`*_~.,;:!"
_TARGET: Final = re.compile(r"\s*<?([^\s)]*)")
_ABSOLUTE: Final = re.compile(r"[a-z][a-z0-9+.\-]*://|mailto:|tel:", re.IGNORECASE)
_RELATIVE: Final = re.compile(r"https?:|//|\S*\\|[\w\-]+(?:\.[\w\-]+)+", re.IGNORECASE)

SLACK: Final = Dialect(
    draws=("table", "deep heading", "rule", "task", "image", "link", "indented code")
)
"""https://docs.slack.dev/reference/block-kit/blocks/markdown-block"""

TEXT_CHARS: Final = 3_900
"""Limit for a message's `text`, which screen readers and notifications use: Slack refuses to edit a
message with more than 4,000 characters (`msg_too_long`)."""


def mentioned(text: str) -> set[str]:
    """The ids of the users that a message mentions."""
    return set(_USER.findall(text))


def unnamed_channels(text: str) -> set[str]:
    """The ids of the channels that a message mentions without their names."""
    return set(_CHANNEL.findall(text))


def plain(text: str, names: Mapping[str, str], *, without: str = "") -> str:
    """A person's message as plain text: names for ids, complete links, entities decoded.

    Mentions of the user id `without`, the bot's own, are removed.
    """

    def spoken(match: re.Match[str]) -> str:
        inside, _, label = match[1].partition("|")
        if inside.startswith("@"):
            user = inside[1:]
            return "" if user == without else f"@{names.get(user) or label or user}"
        if inside.startswith("#"):
            return f"#{label or names.get(inside[1:]) or inside[1:]}"
        if inside.startswith("!"):
            return label or _special(inside[1:])
        bare = inside.removeprefix("mailto:")
        return bare if not label or label in {bare, inside} else f"{label} ({inside})"

    return _ENTITY.sub(lambda found: _ENTITIES[found[1]], _TOKEN.sub(spoken, text)).strip()


def _special(inside: str) -> str:
    """A mention of a group, or a date, that has no label."""
    kind, _, rest = inside.partition("^")
    if kind == "date":
        return when(rest.partition("^")[0])
    return f"@group {rest}" if kind == "subteam" else f"@{kind}"


def escaped(text: str) -> str:
    """A model's text in which nothing is a token of Slack's markup.

    Quotation marks (`>`) at the start of a line stay, because they cannot begin a token.
    """
    out: list[str] = []
    end = 0
    for match in _QUOTE.finditer(text):
        out += _UNSAFE.sub(_escape, text[end : match.start()]), match[0]
        end = match.end()
    out.append(_UNSAFE.sub(_escape, text[end:]))
    return "".join(out)


def escaped_within(text: str, limit: int) -> str:
    """The beginning of `escaped`, of at most `limit` characters."""
    whole = escaped(text[:limit])
    if len(whole) <= limit:
        return whole
    entity = whole.rfind("&", limit - len("&amp;") + 1, limit)
    return whole[: limit if entity < 0 or ";" in whole[entity:limit] else entity]


def _escape(match: re.Match[str]) -> str:
    return _ESCAPES[match[0]]


def escaped_length(text: str) -> int:
    """Upper limit for the length of an escaped text; additive over its pieces."""
    return len(text) + 4 * text.count("&") + 3 * (text.count("<") + text.count(">"))


def fallback(text: str) -> str:
    """The text for notifications and screen readers: as much of an answer as fits."""
    whole = escaped(text[:TEXT_CHARS])
    if len(text) <= TEXT_CHARS and len(whole) <= TEXT_CHARS:
        return whole
    return f"{escaped_within(text, TEXT_CHARS)}…"


def drawable(text: str) -> str:
    """A model's Markdown, with whatever Slack does not render, such as formulas, as code."""
    return rendered(text, SLACK)


# --- links ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Link:
    """The beginning of a link, the host that it leads to, and a text that replaces it.

    `host` is empty if it cannot be a known host. `decided`: text that comes later cannot change it.
    """

    start: int
    end: int
    host: str
    inert: str
    decided: bool


def hosts(text: str) -> frozenset[str]:
    """The hosts of the links in a text."""
    return frozenset(link.host for link in _links(text[:HOSTS_CHARS]) if link.host)


def defanged(text: str, known: frozenset[str], *, growing: bool = False) -> str:
    """A text in which links to unknown hosts are no longer links.

    A link preview is a request to a host that the model chose, with data that it put into the
    address. `growing`: the result ends before half a link, and before anything that later text
    could change.
    """
    out: list[str] = []
    last = whole = 0
    end = len(text)
    for link in _links(text):
        if growing and link.start >= whole and (rest := _REST_OF_LINK.match(text, link.end)):
            whole = rest.end()
        if growing and (whole == len(text) or not link.decided):
            end = link.start
            break
        host = link.host
        if not host or not any(host == name or host.endswith(f".{name}") for name in known):
            out += text[last : link.start], link.inert
            last = link.end
    else:
        if growing and (begun := _MAY_BEGIN.search(text, max(last, end - len(":\\/\\")))):
            end = begun.start()
    return "".join([*out, text[last:end]])


def _links(text: str) -> Iterator[_Link]:
    for begin in _LINK_BEGINS.finditer(text):
        if begin[0][0] == "]":
            yield from _without_scheme(text, begin)
        else:
            absolute = begin[0][0] == ":"
            host, decided = _host_at(text, begin.end() if absolute else begin.start())
            if "\\" in text[begin.start() - absolute : begin.end()]:
                host = ""
            inert = f"[:]{begin[0][1:]}" if absolute else f"{begin[0][:-1]}[.]"
            yield _Link(*begin.span(), host, inert, decided)


def _host_at(text: str, at: int) -> tuple[str, bool]:
    """The host in an address, and whether its end is in the text.

    An address that browsers and Slack might read differently has no host.
    """
    authority = _AUTHORITY.match(text, at, at + HOST_CHARS)
    end = authority.end() if authority else at
    if end == at + HOST_CHARS:
        return "", True
    host = _HOST.fullmatch(text[at:end].rstrip(_AROUND_LINKS))
    return (host[1].lower() if host else ""), end < len(text)


def _without_scheme(text: str, begin: re.Match[str]) -> Iterator[_Link]:
    """A Markdown link whose target has no scheme, which Slack might complete.

    A link with a scheme is found by its scheme.
    """
    if begin[0] == "]:" and not _defines(text, begin.start()):
        return
    window = begin.end() + HOST_CHARS
    found = _TARGET.match(text, begin.end(), window)
    target, at, end = (found[1], *found.span(1)) if found else ("", len(text), len(text))
    escaping = "\\" in target
    if _ABSOLUTE.match(target) and not escaping:
        return
    decided = end < len(text) or window <= len(text)
    if _RELATIVE.match(target):
        readable = not escaping and not target.lower().startswith("http")
        host = _host_at(text, at + 2 * target.startswith("//"))[0] if readable else ""
        yield _Link(*begin.span(), host, f"] {begin[0][1]}", decided)
    elif not decided:
        yield _Link(*begin.span(), "", begin[0], decided)


def _defines(text: str, at: int) -> bool:
    """Whether the bracket that closes there is a link definition, which begins its line."""
    line = text[max(text.rfind("\n", 0, at) + 1, at - HOST_CHARS) : at]
    return line.lstrip(" \t>*+-").startswith("[")
