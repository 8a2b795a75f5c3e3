"""Reads the words in Block Kit blocks, as a person sees them. Pure: no I/O.

Everything comes out in Slack's own markup, which `text.plain` turns into words. It must never
raise, whatever the shape, and never read deeper than its limit. A kind of block that this module
does not know gives the texts in it, or at least its name.

https://docs.slack.dev/reference/block-kit
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from bots.slack.payloads import mapping, mappings, text, value
from bots.slack.rich_text import ESCAPES, KIND, named, rich_lines, when

DEPTH: Final = 8
"""Lists inside quotes inside sections; Slack itself nests half as deep."""

BLOCKS: Final = 100
"""Slack takes 50 in a message."""

OPTIONS: Final = 20
"""Limit for the choices of one group of radio buttons or check boxes."""

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

_VALUES: Final = ("initial_date", "initial_time", "initial_value")
"""What a date picker, a time picker or a field of text shows at first."""

_LISTS_OF_CHOICES: Final = frozenset({"radio_buttons", "checkboxes"})
_SILENT: Final = frozenset({"divider", "feedback_buttons", "plain_text_input"})
_KNOWN: Final = frozenset(
    {"section", "header", "markdown", "actions", "context_actions", "card", "carousel",
     "container", "plan", "task_card"}
)  # fmt: skip
"""Kinds that are left out if there are no words in them; other kinds are named."""

_BUTTONS: Final = frozenset({"actions", "context_actions"})
_BRACKETS: Final = str.maketrans({"<": "&lt;", ">": "&gt;"})


def lines_of(
    blocks: object, *, buttons: bool = True, skip_rich_text: bool = False
) -> Iterator[str]:
    """What people read in blocks, line by line; `buttons` are named by their labels.

    `skip_rich_text`: the message's own text has the same words.
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
    """A button by its label and the address that it opens; empty if it shows neither."""
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
    """An element that holds others, or one of a kind that this module does not know."""
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
    """Whether people choose or enter something there, and see what is chosen."""
    return "placeholder" in element or kind == "overflow" or any(map(element.__contains__, _VALUES))


def _menu(element: Mapping[str, Any]) -> str:
    groups = [element, *mappings(element, "option_groups")[:OPTIONS]]
    options = [_label(o, "text") for one in groups for o in mappings(one, "options")[:OPTIONS]]
    shown = ", ".join(_chosen(element)) or _label(element, "placeholder")
    return named("menu", ": ".join(filter(None, (shown, ", ".join(options[:OPTIONS])))))


def _chosen(element: Mapping[str, Any]) -> list[str]:
    """The labels and values that are chosen."""
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


# --- small things ---------------------------------------------------------------------------------


def _raw(element: Mapping[str, Any], *keys: str) -> str:
    """A text without markup. Slack escapes some of these texts and leaves others as they are."""
    return text(element, *keys).translate(_BRACKETS)


def _label(element: Mapping[str, Any], key: str) -> str:
    """The words of a text object, which some blocks have as a plain string."""
    inside = value(element, key)
    if isinstance(inside, str):
        return text(element, key)
    return " ".join(filter(None, _element(inside, 2)))
