"""What a Slack message says wherever it says it: text, blocks, attachments, forwards. Pure: no I/O.

Everything comes out in Slack's own markup, which `text.plain` turns into words. It must never
raise, whatever the shape, and never read deeper or longer than its limits.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bots.slack.shapes import mappings, text, value

DEPTH: Final = 8
"""Lists inside quotes inside sections; Slack itself nests half as deep."""

CHARS: Final = 40_000
"""As long as Slack's longest message."""

FORWARDS: Final = 5
FORWARD_CHARS: Final = 8_000
"""Of one forwarded message: about 2,000 tokens."""

_FORWARD_FLAGS: Final = ("is_share", "is_msg_unfurl", "is_reply_unfurl")
_LEAVES: Final = {
    "text": "text", "link": "url", "user": "user_id", "channel": "channel_id",
    "broadcast": "range", "emoji": "name",
}  # fmt: skip
"""The kinds of rich text that hold no others, and where each has its words."""

_AROUND: Final = {
    "user": ("<@", ">"), "channel": ("<#", ">"), "broadcast": ("<!", ">"), "emoji": (":", ":"),
}  # fmt: skip
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


@dataclass(frozen=True, slots=True)
class Forward:
    """A message of somebody else inside a message."""

    author: str
    text: str


def forwards_of(message: Mapping[str, Any]) -> tuple[Forward, ...]:
    """The messages that are forwarded in this one."""
    found = []
    for attachment in _forwarding(message):
        words = (
            text(attachment, "text")
            or _lines(
                blocks_text(value(inner, "message", "blocks"))
                for inner in mappings(attachment, "message_blocks")
            )
            or text(attachment, "fallback")
        )
        if words:
            author = text(attachment, "author_name") or text(attachment, "author_subname")
            found.append(Forward(author or "somebody", words[:FORWARD_CHARS]))
    return tuple(found)


def files_of(message: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The files of a message and of those that are forwarded in it."""
    inner = (file for one in _forwarding(message) for file in mappings(one, "files"))
    return (*mappings(message, "files"), *inner)


def _forwarding(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The attachments that are messages; link previews are attachments as well."""
    return [
        one
        for one in mappings(message, "attachments")
        if any(value(one, flag) is True for flag in _FORWARD_FLAGS)
    ][:FORWARDS]


def words_of(message: Mapping[str, Any], *, blocks_first: bool = False) -> str:
    """What people read in a message.

    `blocks_first`: its text is only a summary of its blocks, as in our own messages.
    """
    said = text(message, "text")
    shown = blocks_text(value(message, "blocks")) if blocks_first or not said else ""
    inside = (
        _lines(text(one, key) for key in ("pretext", "title", "text")) or text(one, "fallback")
        for one in mappings(message, "attachments")
    )
    return _lines((shown or said, *inside))[:CHARS]


def blocks_text(blocks: object) -> str:
    """The words in blocks, a line per block; buttons have none."""
    if not isinstance(blocks, list):
        return ""
    return _lines(_block(block) for block in blocks)[:CHARS]


def _block(block: object) -> str:
    match text(block, "type"):
        case "markdown":
            return text(block, "text")
        case "section" | "header":
            fields = (text(field, "text") for field in mappings(block, "fields"))
            return _lines((text(block, "text", "text"), *fields))
        case "context":
            return " ".join(filter(None, (text(e, "text") for e in mappings(block, "elements"))))
        case "rich_text":
            return _lines(_rich(part, DEPTH) for part in mappings(block, "elements"))
    return ""


def _rich(element: Mapping[str, Any], depth: int) -> str:
    kind = text(element, "type")
    if kind in _LEAVES:
        return _leaf(kind, element)
    if not depth:
        return ""
    inner = (_rich(one, depth - 1) for one in mappings(element, "elements"))
    return _lines(inner) if kind == "rich_text_list" else "".join(inner)


def _leaf(kind: str, element: Mapping[str, Any]) -> str:
    found = text(element, _LEAVES[kind]).translate(_ESCAPES)
    if kind == "link":
        label = text(element, "text").translate(_ESCAPES)
        return f"<{found}|{label}>" if label else f"<{found}>"
    before, after = _AROUND.get(kind, ("", ""))
    return f"{before}{found}{after}"


def _lines(parts: Iterable[str]) -> str:
    return "\n".join(filter(None, parts))
