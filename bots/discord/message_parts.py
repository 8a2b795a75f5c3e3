"""The parts of a rich message: embeds, polls, components, files; one line of text for each item.

Pure. It must never raise, since any field may be missing or malformed, and never descend further
into nested components than Discord allows. The caller limits the length.
"""

from collections.abc import Iterator
from typing import Final

from bots.discord.payloads import Json, dict_in, dicts_in, number_in, text_in

DEPTH: Final = 6
"""Components nest four deep today: container, section, action row, select menu."""

SPOILER_NAME: Final = "SPOILER_"
_SPOILER_FLAG: Final = 1 << 3

# https://docs.discord.com/developers/components/reference#component-object-component-types
_BUTTON, _TEXT_INPUT, _FILE = 2, 4, 13
_SELECTS: Final = frozenset({3, 5, 6, 7, 8})
_MEDIA: Final = frozenset({11, 12})


def embed_lines(embed: Json) -> Iterator[str]:
    """The text of an embed (https://docs.discord.com/developers/resources/message#embed-object)."""
    is_result = text_in(embed.get("type")) == "poll_result"
    lines = [line for line in (_poll_result if is_result else _embed)(embed) if line]
    if lines:
        yield "[embed]"
        yield from lines


def _embed(embed: Json) -> Iterator[str]:
    title, url = text_in(embed.get("title")), text_in(embed.get("url"))
    yield text_in(dict_in(embed.get("provider")).get("name"))
    yield text_in(dict_in(embed.get("author")).get("name"))
    yield f"{title} ({url})" if title and url else title or url
    yield text_in(embed.get("description"))
    for field in dicts_in(embed.get("fields")):
        name, value = text_in(field.get("name")), text_in(field.get("value"))
        yield f"{name}: {value}" if name and value else name or value
    for kind, name in (("image", "picture"), ("thumbnail", "picture"), ("video", "video")):
        yield media_line(name, dict_in(embed.get(kind)))
    yield text_in(dict_in(embed.get("footer")).get("text"))
    yield text_in(embed.get("timestamp"))


def _poll_result(embed: Json) -> Iterator[str]:
    """https://docs.discord.com/developers/resources/message#embed-fields-by-embed-type."""
    said = {
        text_in(one.get("name")): text_in(one.get("value")) for one in dicts_in(embed.get("fields"))
    }
    yield said.get("poll_question_text", "")
    emoji, text = said.get("victor_answer_emoji_name", ""), said.get("victor_answer_text", "")
    votes, total = said.get("victor_answer_votes", ""), said.get("total_votes", "")
    if winner := " ".join(filter(None, (emoji, text))):
        yield f"Most votes: {winner}"
    if total:
        yield f"{votes} of {total} votes" if votes else f"{total} votes"


def media_line(kind: str, media: Json) -> str:
    """A picture or video by its alternative text or file name; empty if it has neither."""
    seen = text_in(media.get("description")) or _file_in(text_in(media.get("url")))
    return f"[{kind}: {seen}]" if seen else ""


def _file_in(address: str) -> str:
    """The last path segment of a URL."""
    return address.partition("?")[0].rpartition("/")[2]


def poll_lines(poll: Json) -> Iterator[str]:
    """A poll with its votes (https://docs.discord.com/developers/resources/poll#poll-object)."""
    question = text_in(dict_in(poll.get("question")).get("text"))
    answers = dicts_in(poll.get("answers"))
    if not question and not answers:
        return
    results = poll.get("results")
    counted = dict_in(results)
    votes = {
        str(one.get("id")): number_in(one.get("count"))
        for one in dicts_in(counted.get("answer_counts"))
    }
    yield f"[poll] {question}"
    for answer in answers:
        media = dict_in(answer.get("poll_media"))
        emoji = text_in(dict_in(media.get("emoji")).get("name"))
        text = " ".join(part for part in (emoji, text_in(media.get("text"))) if part)
        count = votes.get(str(answer.get("answer_id")), 0)
        found = f"{count} vote{'' if count == 1 else 's'}"
        yield f"- {text}: {found}" if isinstance(results, dict) else f"- {text}"
    state = []
    if poll.get("allow_multiselect"):
        state.append("several answers are allowed")
    if counted.get("is_finalized"):
        state.append("closed")
    elif ends := text_in(poll.get("expiry")):
        state.append(f"open until {ends}")
    if state:
        yield f"({', '.join(state)})"


def component_lines(components: object, depth: int = DEPTH) -> Iterator[str]:
    """The texts, pictures, files, buttons and menus of a message, in the order shown."""
    for part in dicts_in(components) if depth else ():
        kind = number_in(part.get("type"))
        if kind == _BUTTON:
            yield _button(part)
        elif kind in _SELECTS:
            yield _menu(part)
        elif kind == _FILE:
            address = text_in(dict_in(part.get("file")).get("url"))
            name = text_in(part.get("name")) or _file_in(address)
            yield _hidden(f"[file: {name or 'without a name'}]", part)
        elif kind in _MEDIA:
            for item in [part, *dicts_in(part.get("items"))]:
                media = {**dict_in(item.get("media")), **_described(item)}
                yield _hidden(media_line("picture", media), item)
        elif kind != _TEXT_INPUT:
            if part.get("spoiler"):
                yield "[hidden as a spoiler]"
            yield text_in(part.get("content"))
            yield text_in(part.get("label"))
            for key in ("components", "component", "accessory"):
                inner = part.get(key)
                yield from component_lines([inner] if isinstance(inner, dict) else inner, depth - 1)


def _hidden(line: str, part: Json) -> str:
    """Mark the line if people have to click to see the item."""
    return f"{line[:-1]}, hidden as a spoiler]" if line and part.get("spoiler") is True else line


def _described(item: Json) -> Json:
    return {"description": item["description"]} if text_in(item.get("description")) else {}


def _button(button: Json) -> str:
    label = text_in(button.get("label")) or text_in(dict_in(button.get("emoji")).get("name"))
    url = text_in(button.get("url"))
    return f"[button: {label} ({url})]" if url else f"[button: {label}]" if label else ""


def _menu(menu: Json) -> str:
    options = [text_in(option.get("label")) for option in dicts_in(menu.get("options"))]
    head = text_in(menu.get("placeholder")) or "choose"
    return f"[menu: {head}: {', '.join(options)}]" if options else f"[menu: {head}]"


def file_line(file: Json, *, voice: bool = False) -> str:
    """A file by its name, with its alternative text and length."""
    length = duration(file.get("duration_secs"))
    name = text_in(file.get("filename")) or "without a name"
    title = text_in(file.get("title"))
    media = text_in(file.get("content_type")).partition("/")[0]
    kind = "voice message" if voice else {"image": "picture"}.get(media, media or "file")
    kind = kind if kind in {"picture", "video", "audio", "voice message"} else "file"
    about = [f"{kind}: {title} ({name})" if title and title != name else f"{kind}: {name}"]
    if length:
        about.append(length)
    if alternative := text_in(file.get("description")):
        about.append(f"described as: {alternative}")
    if name.startswith(SPOILER_NAME) or number_in(file.get("flags")) & _SPOILER_FLAG:
        about.append("hidden as a spoiler")
    return f"[{', '.join(about)}]"


def duration(seconds: object) -> str:
    """Minutes and seconds; empty if `seconds` is not a number."""
    if not isinstance(seconds, int | float) or not 0 <= seconds < 1e6:  # noqa: PLR2004
        return ""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02} min"
