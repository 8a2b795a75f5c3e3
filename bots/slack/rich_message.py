"""Reads a Slack message: its text, blocks, attachments, forwards and files. Pure: no I/O.

The result is in Slack's own markup, which `markup.plain` turns into plain text. It must never
raise, whatever the shape, nor exceed its limits, nor show the preview of a linked message to
somebody who may not be able to open it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bots.slack.block_kit import button_words, lines_of
from bots.slack.file_objects import in_brackets
from bots.slack.payloads import mapping, mappings, text, value
from bots.slack.rich_text import when

CHARS: Final = 40_000
"""The length of Slack's longest message."""

ENCLOSED: Final = 10
ENCLOSED_CHARS: Final = 8_000
"""Limit for one forwarded message, preview or attachment: about 2,000 tokens."""

FIELDS: Final = 50
FILES: Final = 20
REACTIONS: Final = 20

NESTED: Final = 3
"""Limit for forwards inside forwards; Slack shows two levels."""

HIDDEN: Final = "(a link to a message in another conversation, which not everybody here can open)"
ANYWHERE: Final = None
"""Every linked message may be quoted, because the asker wrote the link."""

PLACEHOLDERS: Final = frozenset({"This content can't be displayed."})
"""Slack's own texts for messages that have only blocks."""

_FORWARD_FLAGS: Final = ("is_share", "is_msg_unfurl", "is_reply_unfurl")
_MESSAGE_KEYS: Final = ("message_blocks", "channel_id")
_PREVIEW_KEYS: Final = ("from_url", "original_url", "service_name", "bot_id", "app_unfurl_url")
_IMAGE: Final = "[image: "
_OWN_FOOTERS: Final = frozenset({"Slack Conversation"})
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})

Readable = Collection[str] | None
"""Channels whose messages may be quoted from a link; `ANYWHERE` for all."""


@dataclass(frozen=True, slots=True)
class Enclosed:
    """A text by somebody else inside a message: a forward, a preview, an attachment."""

    by: str
    text: str


def written_in(message: Mapping[str, Any]) -> str:
    """What the author wrote: the text of a message, and what its blocks add to it."""
    return _lines(_written(message))


def words_of(message: Mapping[str, Any], *, readable: Readable = (), own: bool = False) -> str:
    """Everything that people read in a message.

    `own`: it is one of ours, so its text only repeats its blocks, and its buttons do not matter.
    """
    if own:
        shown = _lines(lines_of(value(message, "blocks"), buttons=False))
        return shown or _lines((text(message, "text"),))
    return _lines(_all_of(message, readable, NESTED))


def enclosed_in(message: Mapping[str, Any], readable: Readable = ANYWHERE) -> tuple[Enclosed, ...]:
    """The forwards, previews and attachments in a message."""
    return tuple(_enclosed(message, readable, NESTED))


def files_of(message: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The files of a message and of the messages that it forwards."""
    inner = (
        file
        for one in mappings(message, "attachments")[:ENCLOSED]
        if _is_message(one)
        for file in mappings(one, "files")
    )
    return (*mappings(message, "files"), *inner)


def linked_channels(messages: Iterable[Mapping[str, Any]]) -> set[str]:
    """The channels of the messages that these messages link to; forwards do not count."""
    return {
        text(one, "channel_id")
        for message in messages
        for one in mappings(message, "attachments")[:ENCLOSED]
        if _is_link(one)
    } - {""}


# --- messages -------------------------------------------------------------------------------------


def _written(message: Mapping[str, Any]) -> Iterator[str]:
    said, blocks = text(message, "text"), value(message, "blocks")
    if not message.get("bot_id") and message.get("subtype") != "bot_message" and said:
        # Slack derives the text of a person's message from its rich text.
        yield said
        yield from lines_of(blocks, skip_rich_text=True)
        return
    # An app writes both the text and the blocks, and people read the blocks.
    shown = _lines(lines_of(blocks))
    if not shown or (said not in PLACEHOLDERS and _bare(said) not in _bare(shown)):
        yield said
    yield shown


def _all_of(message: Mapping[str, Any], readable: Readable, depth: int) -> Iterator[str]:
    yield from _written(message)
    for one in _enclosed(message, readable, depth):
        yield _inline(one)
    for file in mappings(message, "files")[:FILES]:
        yield in_brackets(file).translate(_ESCAPES)
    if text(message, "subtype") == "huddle_thread" or mapping(message, "room"):
        people = value(message, "room", "participant_history")
        many = len(people) if isinstance(people, list) else 0
        count = f" with {many} {'person' if many == 1 else 'people'}" if many else ""
        yield f"[huddle{count}]"
    reactions = (
        f":{text(one, 'name')}: {value(one, 'count')}"
        for one in mappings(message, "reactions")[:REACTIONS]
        if isinstance(value(one, "count"), int)
    )
    if found := ", ".join(reactions):
        yield f"[reactions: {found}]"


# --- attachments ----------------------------------------------------------------------------------


def _is_message(attachment: Mapping[str, Any]) -> bool:
    flagged = any(value(attachment, flag) is True for flag in _FORWARD_FLAGS)
    return flagged or any(attachment.get(key) for key in _MESSAGE_KEYS)


def _is_link(attachment: Mapping[str, Any]) -> bool:
    """Slack shows a linked message only to people who can open it, but a forward to everybody."""
    return _is_message(attachment) and value(attachment, "is_share") is not True


def _enclosed(message: Mapping[str, Any], readable: Readable, depth: int) -> Iterator[Enclosed]:
    attachments = mappings(message, "attachments")
    for one in attachments[:ENCLOSED] if depth else ():
        if _is_link(one) and readable is not ANYWHERE and text(one, "channel_id") not in readable:
            yield Enclosed("", HIDDEN)
            continue
        if _is_message(one):
            author = text(one, "author_name") or text(one, "author_subname") or "somebody"
            by, lines = f"{author}, forwarded", _forward(one, readable, depth)
        elif any(one.get(key) for key in _PREVIEW_KEYS):
            by, lines = "link preview", _attachment(one, readable, depth)
        else:
            by, lines = "", _attachment(one, readable, depth)
        if found := _lines(lines, ENCLOSED_CHARS):
            yield Enclosed(by, found)
    if depth and len(attachments) > ENCLOSED:
        yield Enclosed("", f"[cut: {len(attachments) - ENCLOSED} more attachments]")


def _forward(one: Mapping[str, Any], readable: Readable, depth: int) -> Iterator[str]:
    """The lines of a forwarded or linked message."""
    inner = [mapping(block, "message") for block in mappings(one, "message_blocks")]
    said = text(one, "text")
    found = _lines((
        said,
        *(line for m in inner for line in lines_of(m.get("blocks"), skip_rich_text=bool(said))),
        *_fields(one),
        *lines_of(one.get("blocks"), skip_rich_text=bool(said)),
    ))  # fmt: skip
    nested = [e for m in (one, *inner) for e in _enclosed(m, readable, depth - 1)]
    # The files that the asker forwards are sent with the question, so they need no mention.
    named = [] if readable is ANYWHERE and depth == NESTED else mappings(one, "files")[:FILES]
    files = [in_brackets(file).translate(_ESCAPES) for file in named]
    yield found
    yield from map(_inline, nested)
    yield from files
    if not found and not nested and not files:
        yield text(one, "title")
        yield text(one, "fallback")
    if text(one, "footer") not in _OWN_FOOTERS:
        yield text(one, "footer")


def _attachment(one: Mapping[str, Any], readable: Readable, depth: int) -> Iterator[str]:
    """The lines of a legacy attachment or a preview: https://docs.slack.dev/legacy/legacy-messaging."""
    found = _lines(_parts_of(one, readable, depth))
    yield found
    if not found or found.startswith(_IMAGE):  # only the fallback describes the image
        yield text(one, "fallback")
    footer, at = text(one, "footer"), when(value(one, "ts"))
    yield f"{footer} ({at})" if footer and at else footer or at


def _parts_of(one: Mapping[str, Any], readable: Readable, depth: int) -> Iterator[str]:
    yield text(one, "pretext")
    yield " ".join(filter(None, (text(one, "author_name"), text(one, "author_subname"))))
    title, link = text(one, "title"), text(one, "title_link").translate(_ESCAPES)
    yield f"{title} ({link})" if title and link else title or link
    yield text(one, "text")
    yield from _fields(one)
    yield from lines_of(one.get("blocks"))
    for nested in _enclosed(one, readable, depth - 1):
        yield _inline(nested)
    for file in mappings(one, "files")[:FILES]:
        yield in_brackets(file).translate(_ESCAPES)
    if url := text(one, "image_url") or text(one, "thumb_url"):
        name = url.partition("?")[0].rstrip("/").rpartition("/")[2]
        yield f"{_IMAGE}{name.translate(_ESCAPES)}]"
    if any(text(one, key) for key in ("video_html", "video_url", "audio_html", "audio_url")):
        yield "[video or sound]"
    for action in mappings(one, "actions"):
        label = text(action, "text")
        options = ", ".join(text(option, "text") for option in mappings(action, "options")[:FIELDS])
        if options or text(action, "type") == "select":
            yield f"[menu: {': '.join(filter(None, (label, options)))}]"
        else:
            yield button_words(label, text(action, "url"))


def _fields(attachment: Mapping[str, Any]) -> Iterator[str]:
    for field in mappings(attachment, "fields")[:FIELDS]:
        yield ": ".join(filter(None, (text(field, "title"), text(field, "value"))))


# --- lines ----------------------------------------------------------------------------------------


def _lines(parts: Iterable[str], limit: int = CHARS) -> str:
    """Joins the parts that are not empty; a note replaces what exceeds the limit."""
    found: list[str] = []
    room = limit
    parts = iter(parts)
    for part in parts:
        if not part:
            continue
        if len(part) > room:
            found.append(part[:room])
            missing = len(part) - room + sum(map(len, parts))
            found.append(f"[cut: {missing:,} more characters]")
            break
        found.append(part)
        room -= len(part) + 1
    return "\n".join(found)


def _inline(enclosed: Enclosed) -> str:
    by = enclosed.by.translate(_ESCAPES)
    return f"{by}: {enclosed.text}" if by else enclosed.text


def _bare(words: str) -> str:
    """Only the letters and digits, to compare two forms of the same text."""
    return "".join(filter(str.isalnum, words)).casefold()
