"""Reads Block Kit blocks as a person sees them. Pure: no I/O.

The result is in Slack's own markup, which `markup.plain` turns into plain text. It must never
raise, whatever the shape, nor read deeper than its limit. An unknown kind of block yields the texts
in it, or at least its name.

https://docs.slack.dev/reference/block-kit
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from bots.slack.payloads import mapping, mappings, text, value
from bots.slack.rich_text import ESCAPES, KIND, named, rich_lines, when

DEPTH: Final = 8
"""Limit for nested elements; Slack nests half as deep."""

BLOCKS: Final = 100
"""Slack allows 50 in a message."""

OPTIONS: Final = 20
"""Limit for the options of one group of radio buttons or checkboxes."""

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
"""The keys of texts and of further elements in a block, in the order of display."""

_VALUES: Final = ("initial_date", "initial_time", "initial_value")
"""The initial values of date pickers, time pickers and text fields."""

_LISTS_OF_CHOICES: Final = frozenset({"radio_buttons", "checkboxes"})
_SILENT: Final = frozenset({"divider", "feedback_buttons", "plain_text_input"})
_KNOWN: Final = frozenset(
    {"section", "header", "markdown", "actions", "context_actions", "card", "carousel",
     "container", "plan", "task_card"}
)  # fmt: skip
"""Kinds that are left out if they contain no text; other kinds are then named."""

_BUTTONS: Final = frozenset({"actions", "context_actions"})
_BRACKETS: Final = str.maketrans({"<": "&lt;", ">": "&gt;"})


def lines_of(
    blocks: object, *, buttons: bool = True, skip_rich_text: bool = False
) -> Iterator[str]:
    """The lines that people read in blocks; with `buttons`, also the labels of the buttons.

    `skip_rich_text`: leaves out rich text, which the message's own text repeats.
    """
    found = blocks if isinstance(blocks, list) else []
    for block in found[:BLOCKS]:
        kind = text(block, "type")
        if (skip_rich_text and kind == "rich_text") or (not buttons and kind in _BUTTONS):
            continue
        yield from _element(block, DEPTH)
    if len(found) > BLOCKS:
        yield f"[cut: {len(found) - BLOCKS:,} more blocks]"


def _element(element: object, depth: int) -> Iterable[str]:
    """The lines of a block, an element of one, or a text object."""
    kind = text(element, "type")
    if not isinstance(element, Mapping) or not depth or kind in _SILENT:
        return ()
    return _READERS.get(kind, _other)(element, depth - 1)


def _plain(element: Mapping[str, Any], _: int) -> Iterable[str]:
    return (_raw(element, "text"),)


def _markup(element: Mapping[str, Any], _: int) -> Iterable[str]:
    return (text(element, "text"),)


def _rich_text(element: Mapping[str, Any], depth: int) -> Iterable[str]:
    return (line for part in mappings(element, "elements") for line in rich_lines(part, depth))


def _context(element: Mapping[str, Any], depth: int) -> Iterable[str]:
    inside = (line for part in mappings(element, "elements") for line in _element(part, depth))
    return (" ".join(filter(None, inside)),)


def _image(element: Mapping[str, Any], _: int) -> Iterable[str]:
    return (named("image", _label(element, "title") or _raw(element, "alt_text")),)


def _video(element: Mapping[str, Any], _: int) -> Iterable[str]:
    by = _raw(element, "author_name") or _raw(element, "provider_name")
    name = _label(element, "title") or _raw(element, "alt_text")
    return named("video", f"{name}, by {by}" if by else name), _label(element, "description")


def _file(element: Mapping[str, Any], _: int) -> Iterable[str]:
    file = mapping(element, "file")
    name = _raw(file, "title") or _raw(file, "name") or _raw(element, "external_id")
    return (named("file", name),)


def _call(element: Mapping[str, Any], _: int) -> Iterable[str]:
    return (named("call", _raw(element, "call", "v1", "name")),)


def _input(element: Mapping[str, Any], depth: int) -> Iterable[str]:
    return named("input", _label(element, "label")), *_element(element.get("element"), depth)


def _alert(element: Mapping[str, Any], _: int) -> Iterable[str]:
    level, words = text(element, "level"), _label(element, "text")
    return (f"[{level}] {words}" if level not in {"", "default"} else words,)


def _button(element: Mapping[str, Any], _: int) -> Iterable[str]:
    return (button_words(_label(element, "text"), text(element, "url")),)


def button_words(label: str, url: str) -> str:
    """A button by its label and the address that it opens; empty if it has neither."""
    url = url.translate(ESCAPES)
    shown = f"{label} ({url})" if label and url else label or url
    return f"[button: {shown}]" if shown else ""


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
    """An element with inner elements, or one of an unknown kind."""
    kind = text(element, "type")
    if kind in _LISTS_OF_CHOICES:
        chosen = _chosen(element)
        for option in mappings(element, "options")[:OPTIONS]:
            label = _label(option, "text")
            yield named("option", f"{label} (chosen)" if label in chosen else label)
            yield _label(option, "description")
    elif _is_menu(kind, element):
        yield _menu(element)
    else:
        found = False
        for line in _inside(element, depth):
            found = found or bool(line)
            yield line
        if not found and kind not in _KNOWN and KIND.fullmatch(kind):
            yield f"[{kind.replace('_', ' ')}]"


def _is_menu(kind: str, element: Mapping[str, Any]) -> bool:
    """Whether people choose or enter something in it."""
    return "placeholder" in element or kind == "overflow" or any(map(element.__contains__, _VALUES))


def _menu(element: Mapping[str, Any]) -> str:
    groups = [element, *mappings(element, "option_groups")[:OPTIONS]]
    options = [_label(o, "text") for one in groups for o in mappings(one, "options")[:OPTIONS]]
    shown = ", ".join(_chosen(element)) or _label(element, "placeholder")
    return named("menu", ": ".join(filter(None, (shown, ", ".join(options[:OPTIONS])))))


def _chosen(element: Mapping[str, Any]) -> list[str]:
    """The initial labels and values."""
    options = [mapping(element, "initial_option"), *mappings(element, "initial_options")[:OPTIONS]]
    labels = [_label(option, "text") for option in options]
    at = value(element, "initial_date_time")
    return [*filter(None, (*labels, *(_raw(element, key) for key in _VALUES), when(at)))]


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


# --- texts ----------------------------------------------------------------------------------------


def _raw(element: Mapping[str, Any], *keys: str) -> str:
    """A text without markup. Slack escapes only some of these texts."""
    return text(element, *keys).translate(_BRACKETS)


def _label(element: Mapping[str, Any], key: str) -> str:
    """The text of a text object, or of the plain string that some blocks have instead."""
    inside = value(element, key)
    if isinstance(inside, str):
        return text(element, key)
    return " ".join(filter(None, _element(inside, 2)))
