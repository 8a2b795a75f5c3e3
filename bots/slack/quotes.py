"""What others wrote in a thread, as quotes that go with a question. Pure: no I/O.

That includes the bot's answers to others. It must never quote what the asker and the bot wrote to
each other, which the conversation holds already.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from bots.quoted_names import person
from bots.slack.markup import plain
from bots.slack.metadata import read_metadata
from bots.slack.payloads import text
from bots.slack.people import SLACKBOT
from bots.slack.rich_message import ANYWHERE, Enclosed, words_of
from bots.slack.settings import FollowUp
from bots.slack.thread_participants import asker_of, is_follow_up
from shared.messages import Quote

QUOTES: Final = 20
QUOTE_CHARS: Final = 1_000
ROOT_CHARS: Final = 4_000
"""Limit for the first message of the thread, which is often an alert."""

QUOTES_CHARS: Final = 8_000
"""Limit for all quotes: about 2,000 tokens, a quarter of a small model's context window."""


@dataclass(frozen=True, slots=True)
class ThreadMessage:
    """One message of a thread: its author's id, and its text in Slack's markup."""

    author: str
    text: str
    to: str = ""
    """Whom the bot answered with it; empty if somebody else wrote it."""
    name: str = ""
    """The author's name, if the message itself contains it."""


def quotable(
    thread: Iterable[Mapping[str, Any]],
    *,
    asker: str,
    bot: str,
    before: str,
    follow_up: FollowUp,
    readable: Collection[str] = (),
) -> list[ThreadMessage]:
    """The messages to quote, in order: the first one of the thread, and the newest.

    A linked message in a channel that is not `readable` is quoted only if the asker linked it.
    """
    askers: set[str] = set()
    found: list[ThreadMessage] = []
    root: ThreadMessage | None = None
    for number, message in enumerate(thread):
        if float(str(message["ts"])) >= float(before):
            break
        asked = asker_of(message, bot)
        askers |= {asked} - {""}
        user = text(message, "user") or text(message, "bot_id") or text(message, "username")
        if user == bot:
            found += _answer(message, asker=asker, bot=bot)
            continue
        words = words_of(message, readable=ANYWHERE if user == asker else readable)
        # The conversation knows what the asker wrote to the bot, but not what they wrote to others.
        known = user == asker and (asked or is_follow_up(words, user, askers, follow_up))
        if not words or known:
            continue
        quote = ThreadMessage(user, words, name=_own_name(message, user))
        if number:
            found.append(quote)
        else:
            root = replace(quote, text=_cut(words, ROOT_CHARS))
    return _within_limits(root, found)


def _within_limits(root: ThreadMessage | None, found: list[ThreadMessage]) -> list[ThreadMessage]:
    """The first message, and as many of the newest others as the limits allow."""
    chosen: list[ThreadMessage] = []
    room = QUOTES_CHARS - (len(root.text) if root else 0)
    for message in reversed(found[-QUOTES:]):
        words = _cut(message.text, QUOTE_CHARS)
        room -= len(words)
        if room < 0:
            break
        chosen.append(replace(message, text=words))
    return [root, *chosen[::-1]] if root else chosen[::-1]


def _cut(words: str, limit: int) -> str:
    if len(words) <= limit:
        return words
    return f"{words[:limit]}… [cut: {len(words) - limit:,} more characters]"


def _own_name(message: Mapping[str, Any], user: str) -> str:
    """The name that an app gives itself; people's names have to be looked up."""
    if user == SLACKBOT:
        return "Slackbot"
    if not message.get("bot_id") and message.get("subtype") != "bot_message":
        return ""
    return text(message, "username") or text(message, "bot_profile", "name")


def _answer(message: Mapping[str, Any], *, asker: str, bot: str) -> list[ThreadMessage]:
    """A finished answer of the bot to somebody other than the asker."""
    metadata = read_metadata(message, bot)
    if metadata is None or not metadata.final or metadata.asker in {"", asker}:
        return []
    words = words_of(message, own=True)
    return [ThreadMessage(bot, words, metadata.asker)] if words else []


def mentions_in(found: Iterable[ThreadMessage]) -> str:
    """A text that mentions everybody whose name the quotes need."""
    return " ".join(
        one.text if one.name else f"<@{one.to or one.author}> {one.text}" for one in found
    )


def quotes_of(found: Iterable[ThreadMessage], names: Mapping[str, str]) -> tuple[Quote, ...]:
    """The quotes, with names instead of ids."""

    def author(message: ThreadMessage) -> str:
        if message.to:
            return f"bot, to {names.get(message.to, message.to)}"
        return person(message.name or names.get(message.author, message.author)) or "somebody"

    return tuple(Quote(author=author(one), text=plain(one.text, names)) for one in found)


def enclosures(enclosed: Iterable[Enclosed], names: Mapping[str, str]) -> tuple[Quote, ...]:
    """The forwards, previews and attachments of a question, as quotes."""
    return tuple(
        Quote(author=one.by or "attachment", text=plain(one.text, names)) for one in enclosed
    )
