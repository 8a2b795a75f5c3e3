"""What others said in a thread, to travel with a question as data. Pure: no I/O.

The bot's answers to others are among it. It must never quote what the asker and the bot said to
each other, which the conversation knows already.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from bots.quoted_names import person
from bots.slack.access import SLACKBOT
from bots.slack.markup import plain
from bots.slack.metadata import note_of
from bots.slack.payloads import text
from bots.slack.rich_message import ANYWHERE, Enclosed, words_of
from bots.slack.thread_participants import FollowUp, asker_of, is_follow_up
from shared.messages import Quote

QUOTES: Final = 20
QUOTE_CHARS: Final = 1_000
ROOT_CHARS: Final = 4_000
"""Limit for the message that began the thread, which is often an alert."""

QUOTES_CHARS: Final = 8_000
"""Together about 2,000 tokens: a quarter of a small model's window."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One message of a thread: its author's id and its text in Slack's markup."""

    author: str
    text: str
    to: str = ""
    """Whom the bot answered with it; empty if it is not the bot's."""
    name: str = ""
    """The author's name, if the message itself says it."""


def quoted(
    thread: Iterable[Mapping[str, Any]],
    *,
    asker: str,
    bot: str,
    before: str,
    follow_up: FollowUp,
    readable: Collection[str] = (),
) -> list[Heard]:
    """The messages worth quoting, in order: the one that began the thread, and the newest.

    Linked messages in channels that are not `readable` are quoted only from the asker's own
    messages.
    """
    askers: set[str] = set()
    found: list[Heard] = []
    root: Heard | None = None
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
        # What the asker said before asking, or to somebody else, is new to the conversation.
        known = user == asker and (asked or is_follow_up(words, user, askers, follow_up))
        if not words or known:
            continue
        heard = Heard(user, words, name=_own_name(message, user))
        if number:
            found.append(heard)
        else:
            root = replace(heard, text=_cut(words, ROOT_CHARS))
    chosen: list[Heard] = []
    room = QUOTES_CHARS - (len(root.text) if root else 0)
    for heard in reversed(found[-QUOTES:]):
        words = _cut(heard.text, QUOTE_CHARS)
        room -= len(words)
        if room < 0:
            break
        chosen.append(replace(heard, text=words))
    return [root, *chosen[::-1]] if root else chosen[::-1]


def _cut(words: str, limit: int) -> str:
    if len(words) <= limit:
        return words
    return f"{words[:limit]}… [cut: {len(words) - limit:,} more characters]"


def _own_name(message: Mapping[str, Any], user: str) -> str:
    """What an app calls itself; people's names have to be looked up."""
    if user == SLACKBOT:
        return "Slackbot"
    if not message.get("bot_id") and message.get("subtype") != "bot_message":
        return ""
    return text(message, "username") or text(message, "bot_profile", "name")


def _answer(message: Mapping[str, Any], *, asker: str, bot: str) -> list[Heard]:
    """A finished answer of the bot's to somebody else."""
    note = note_of(message, bot)
    if note is None or not note.final or note.asker in {"", asker}:
        return []
    words = words_of(message, own=True)
    return [Heard(bot, words, note.asker)] if words else []


def mentions_in(found: Iterable[Heard]) -> str:
    """A text that mentions everybody whose name the quotes need."""
    return " ".join(
        one.text if one.name else f"<@{one.to or one.author}> {one.text}" for one in found
    )


def quotes_of(found: Iterable[Heard], names: Mapping[str, str]) -> tuple[Quote, ...]:
    """The quotes with names for ids."""

    def author(heard: Heard) -> str:
        if heard.to:
            return f"bot, to {names.get(heard.to, heard.to)}"
        return person(heard.name or names.get(heard.author, heard.author)) or "somebody"

    return tuple(Quote(author=author(heard), text=plain(heard.text, names)) for heard in found)


def enclosures(enclosed: Iterable[Enclosed], names: Mapping[str, str]) -> tuple[Quote, ...]:
    """The forwards, previews and attachments that come with a question."""
    return tuple(
        Quote(author=one.by or "attachment", text=plain(one.text, names)) for one in enclosed
    )
