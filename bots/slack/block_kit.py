"""Reads the words in Block Kit blocks, as a person sees them. Pure: no I/O.

Everything comes out in Slack's own markup, which `text.plain` turns into words. It must never
raise, whatever the shape, and never read deeper than its limit. A kind of block that this module
does not know gives the texts in it, or at least its name.

https://docs.slack.dev/reference/block-kit
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from bots.slack.shapes import mapping, mappings, text, value

DEPTH: Final = 8
"""Lists inside quotes inside sections; Slack itself nests half as deep."""

OPTIONS: Final = 20
"""Limit for the choices of one group of radio buttons or check boxes."""

_LEAVES: Final = {
    "text": ("text", "", ""),
    "user": ("user_id", "<@", ">"),
    "usergroup": ("usergroup_id", "<!subteam^", ">"),
    "channel": ("channel_id", "<#", ">"),
    "broadcast": ("range", "<!", ">"),
    "emoji": ("name", ":", ":"),
    "color": ("value", "", ""),
}
"""Elements of rich text that hold no others: the key of their words, and what goes around them."""

_STYLES: Final = {"code": "`", "strike": "~"}
"""Styles that change what a text means."""

_WORDS: Final = (
    "rich_text_title", "title", "subtitle", "caption", "label", "text", "description", "body",
    "details", "output", "hint",
)  # fmt: skip
_PARTS: Final = (
    "fields",
    "accessory",
    "hero_image",
    "elements",
    "child_blocks",
    "tasks",
    "sources",
    "actions",
)
"""The keys under which blocks hold texts and further elements, in the order of their display."""

_LISTS_OF_CHOICES: Final = frozenset({"radio_buttons", "checkboxes"})
_SILENT: Final = frozenset({"divider", "feedback_buttons", "plain_text_input"})
_KNOWN: Final = frozenset(
    {"section", "header", "markdown", "actions", "context_actions", "card", "carousel",
     "container", "plan", "task_card"}
)  # fmt: skip
"""Kinds that are left out if there are no words in them; other kinds are named."""

_BUTTONS: Final = frozenset({"actions", "context_actions"})
_KIND: Final = re.compile(r"[a-z_]{1,30}")
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_BRACKETS: Final = str.maketrans({"<": "&lt;", ">": "&gt;"})


def lines_of(
    blocks: object, *, buttons: bool = True, skip_rich_text: bool = False
) -> Iterator[str]:
    """What people read in blocks, line by line; `buttons` are named by their labels.

    `skip_rich_text`: the message's own text has the same words.
    """
    for block in blocks if isinstance(blocks, list) else ():
        kind = text(block, "type")
        if (skip_rich_text and kind == "rich_text") or (not buttons and kind in _BUTTONS):
            continue
        yield from _element(block, DEPTH)


def _element(element: object, depth: int) -> Iterable[str]:
    """A block, an element of one, or a text object."""
    kind = text(element, "type")
    if not isinstance(element, Mapping) or not depth or kind in _SILENT:
        return ()
    return _READERS.get(kind, _other)(element, depth - 1)


def _plain(element: Mapping[str, Any], _: int) -> Iterable[str]:
    return (_raw(element, "text"),)


def _markup(element: Mapping[str, Any], _: int) -> Iterable[str]:
    return (text(element, "text"),)


def _rich_text(element: Mapping[str, Any], depth: int) -> Iterable[str]:
    return (line for part in mappings(element, "elements") for line in _rich(part, depth))


def _context(element: Mapping[str, Any], depth: int) -> Iterable[str]:
    inside = (line for part in mappings(element, "elements") for line in _element(part, depth))
    return (" ".join(filter(None, inside)),)


def _image(element: Mapping[str, Any], _: int) -> Iterable[str]:
    return (_named("image", _label(element, "title") or _raw(element, "alt_text")),)


def _video(element: Mapping[str, Any], _: int) -> Iterable[str]:
    by = _raw(element, "author_name") or _raw(element, "provider_name")
    name = _label(element, "title") or _raw(element, "alt_text")
    return _named("video", f"{name}, by {by}" if by else name), _label(element, "description")


def _file(element: Mapping[str, Any], _: int) -> Iterable[str]:
    file = mapping(element, "file")
    name = _raw(file, "title") or _raw(file, "name") or _raw(element, "external_id")
    return (_named("file", name),)


def _call(element: Mapping[str, Any], _: int) -> Iterable[str]:
    return (_named("call", _raw(element, "call", "v1", "name")),)


def _input(element: Mapping[str, Any], depth: int) -> Iterable[str]:
    return _named("input", _label(element, "label")), *_element(element.get("element"), depth)


def _alert(element: Mapping[str, Any], _: int) -> Iterable[str]:
    level, words = text(element, "level"), _label(element, "text")
    return (f"[{level}] {words}" if level not in {"", "default"} else words,)


def _button(element: Mapping[str, Any], _: int) -> Iterable[str]:
    return (_named("button", _label(element, "text")),)


def _table(element: Mapping[str, Any], depth: int) -> Iterable[str]:
    yield text(element, "caption")
    rows = value(element, "rows")
    for row in rows if isinstance(rows, list) else ():
        cells = row if isinstance(row, list) else mappings(row, "cells")
        yield " | ".join(" ".join(filter(None, _element(cell, depth))) for cell in cells)


def _number(element: Mapping[str, Any], _: int) -> Iterable[str]:
    inside = value(element, "value")
    return (text(element, "text") or (str(inside) if isinstance(inside, int | float) else ""),)


def _other(element: Mapping[str, Any], depth: int) -> Iterator[str]:
    """An element that holds others, or one of a kind that this module does not know."""
    kind = text(element, "type")
    if kind in _LISTS_OF_CHOICES:
        options = mappings(element, "options")[:OPTIONS]
        yield from (_named("option", _label(option, "text")) for option in options)
    elif "placeholder" in element:
        yield _named("menu", _label(element, "placeholder"))
    else:
        found = False
        for line in _inside(element, depth):
            found = found or bool(line)
            yield line
        if not found and kind not in _KNOWN and _KIND.fullmatch(kind):
            yield f"[{kind.replace('_', ' ')}]"


def _inside(element: Mapping[str, Any], depth: int) -> Iterator[str]:
    for key in _WORDS:
        inside = value(element, key)
        yield from (text(element, key),) if isinstance(inside, str) else _element(inside, depth)
    for key in _PARTS:
        inside = value(element, key)
        for part in inside if isinstance(inside, list) else (inside,):
            yield from _element(part, depth)


_READERS: Final[dict[str, Callable[[Mapping[str, Any], int], Iterable[str]]]] = {
    "plain_text": _plain, "raw_text": _plain, "raw_number": _number, "mrkdwn": _markup,
    "rich_text": _rich_text, "table": _table, "data_table": _table, "context": _context,
    "image": _image, "video": _video, "file": _file, "call": _call, "input": _input,
    "alert": _alert, "button": _button, "workflow_button": _button, "icon_button": _button,
}  # fmt: skip


# --- rich text ------------------------------------------------------------------------------------


def _rich(element: Mapping[str, Any], depth: int) -> Iterator[str]:
    """An element of rich text as lines."""
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
    margin = "  " * (indent if isinstance(indent, int) and 0 <= indent <= DEPTH else 0)
    number = first if isinstance(first, int) else 0
    for item in mappings(element, "elements"):
        number += 1
        mark = f"{number}." if text(element, "style") == "ordered" else "•"
        inside = "\n".join(filter(None, _rich(item, depth - 1)))
        if inside:
            yield f"{margin}{mark} {inside}"


def _inline(element: Mapping[str, Any], depth: int) -> str:
    """The text of an element and of those in it."""
    kind = text(element, "type")
    inner = mappings(element, "elements")
    if not inner:
        return _leaf(kind, element)
    return "".join(_inline(one, depth - 1) for one in inner) if depth else ""


def _leaf(kind: str, element: Mapping[str, Any]) -> str:
    if kind == "link":
        url = text(element, "url").translate(_ESCAPES)
        label = text(element, "text").translate(_ESCAPES)
        return f"<{url}|{label}>" if label else f"<{url}>"
    if kind == "date":
        return text(element, "fallback").translate(_ESCAPES) or when(value(element, "timestamp"))
    key, before, after = _LEAVES.get(kind, ("text", "", ""))
    found = text(element, key).translate(_ESCAPES)
    if found and before:
        return f"{before}{found}{after}"
    marks = [m for style, m in _STYLES.items() if value(element, "style", style) is True]
    for mark in marks if found.strip() else ():
        found = f"{mark}{found}{mark}"
    return found


# --- small things ---------------------------------------------------------------------------------


def when(stamp: object) -> str:
    """A time in seconds, as Slack sends it, in words; empty if it is none."""
    try:
        return f"{datetime.fromtimestamp(float(str(stamp)), UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return ""


def _raw(element: Mapping[str, Any], *keys: str) -> str:
    """A text without markup. Slack escapes some of these texts and leaves others as they are."""
    return text(element, *keys).translate(_BRACKETS)


def _label(element: Mapping[str, Any], key: str) -> str:
    """The words of a text object, which some blocks have as a plain string."""
    inside = value(element, key)
    if isinstance(inside, str):
        return text(element, key)
    return " ".join(filter(None, _element(inside, 2)))


def _named(kind: str, name: str) -> str:
    return f"[{kind}: {name}]" if name else f"[{kind}]"
