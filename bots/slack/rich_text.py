"""Reads rich text elements as a person sees them. Pure: no I/O.

The result is in Slack's own markup. It must never raise, whatever the shape.

https://docs.slack.dev/reference/block-kit/blocks/rich-text-block
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from bots.slack.payloads import mappings, text, value

INDENT: Final = 8
"""The deepest indentation of a list that is shown."""

_LEAVES: Final = {
    "text": ("text", "", ""),
    "user": ("user_id", "<@", ">"),
    "usergroup": ("usergroup_id", "<!subteam^", ">"),
    "channel": ("channel_id", "<#", ">"),
    "broadcast": ("range", "<!", ">"),
    "emoji": ("name", ":", ":"),
    "color": ("value", "", ""),
}
"""Elements without inner elements: the key of their text, and what goes before and after it."""

_CONTAINERS: Final = frozenset(
    {"rich_text_section", "rich_text_list", "rich_text_quote", "rich_text_preformatted"}
)
_STYLES: Final = {"code": "`", "strike": "~"}
"""Styles that change the meaning of a text, and their marks."""

KIND: Final = re.compile(r"[a-z_]{1,30}")
ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def rich_lines(element: Mapping[str, Any], depth: int) -> Iterator[str]:
    """The lines of a rich text element; `depth` limits how deep it is read."""
    kind = text(element, "type")
    if not depth:
        return
    if kind == "rich_text_list":
        yield from _list(element, depth)
    elif kind == "rich_text_quote":
        yield from (f"&gt; {line}" for line in _inline(element, depth).split("\n"))
    elif kind == "rich_text_preformatted":
        yield f"```\n{_inline(element, depth)}\n```"
    else:
        yield _inline(element, depth)


def _list(element: Mapping[str, Any], depth: int) -> Iterator[str]:
    indent, first = value(element, "indent"), value(element, "offset")
    margin = "  " * (indent if isinstance(indent, int) and 0 <= indent <= INDENT else 0)
    number = first if isinstance(first, int) else 0
    for item in mappings(element, "elements"):
        number += 1
        mark = f"{number}." if text(element, "style") == "ordered" else "•"
        inside = "\n".join(filter(None, rich_lines(item, depth - 1)))
        if inside:
            yield f"{margin}{mark} {inside}"


def _inline(element: Mapping[str, Any], depth: int) -> str:
    """The text of an element and of its inner elements."""
    kind = text(element, "type")
    inner = mappings(element, "elements")
    if not inner:
        return _leaf(kind, element)
    return "".join(_inline(one, depth - 1) for one in inner) if depth else ""


def _leaf(kind: str, element: Mapping[str, Any]) -> str:
    if kind == "link":
        url = text(element, "url").translate(ESCAPES)
        label = text(element, "text").translate(ESCAPES)
        return f"<{url}|{label}>" if label else f"<{url}>"
    if kind == "date":
        return text(element, "fallback").translate(ESCAPES) or when(value(element, "timestamp"))
    key, before, after = _LEAVES.get(kind, ("text", "", ""))
    found = text(element, key).translate(ESCAPES)
    if not found and kind not in _LEAVES and kind not in _CONTAINERS:
        names = (text(element, other) for other in ("title", "name", "url"))
        name = next(filter(None, names), "").translate(ESCAPES)
        return named(kind.replace("_", " "), name) if KIND.fullmatch(kind) else name
    if found and before:
        return f"{before}{found}{after}"
    marks = [m for style, m in _STYLES.items() if value(element, "style", style) is True]
    for mark in marks if found.strip() else ():
        found = f"{mark}{found}{mark}"
    return found


def when(stamp: object) -> str:
    """A Unix time from Slack, in words; empty if it is not a time."""
    try:
        return f"{datetime.fromtimestamp(float(str(stamp)), UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return ""


def named(kind: str, name: str) -> str:
    """Something other than text, by its kind and its name."""
    return f"[{kind}: {name}]" if name else f"[{kind}]"
