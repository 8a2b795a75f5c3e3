"""What others said in a thread, to travel with a question as data. Pure: no I/O.

The bot's answers to others are among it. It must never quote what the asker and the bot said to
each other, which the conversation knows already.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bots.slack.contents import Forward, words_of
from bots.slack.notes import note_of
from bots.slack.shapes import text
from bots.slack.text import plain
from bots.slack.threads import FollowUp, asker_of, is_follow_up
from shared.messages import Quote

QUOTES: Final = 20
QUOTE_CHARS: Final = 1_000
QUOTES_CHARS: Final = 8_000
"""Together about 2,000 tokens: a quarter of a small model's window."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One message of a thread: its author's id and its text in Slack's markup."""

    author: str
    text: str
    to: str = ""
    """Whom the bot answered with it; empty if it is not the bot's."""


def quoted(
    thread: Iterable[Mapping[str, Any]],
    *,
    asker: str,
    bot: str,
    before: str,
    follow_up: FollowUp,
) -> list[Heard]:
    """The messages worth quoting: the newest, in order."""
    askers: set[str] = set()
    found: list[Heard] = []
    for message in thread:
        if float(str(message["ts"])) >= float(before):
            break
        asked = asker_of(message, bot)
        askers |= {asked} - {""}
        user = text(message, "user") or text(message, "username") or text(message, "bot_id")
        if user == bot:
            found += _answer(message, asker=asker, bot=bot)
            continue
        words = words_of(message)
        # What the asker said before asking, or to somebody else, is new to the conversation.
        known = user == asker and (asked or is_follow_up(words, user, askers, follow_up))
        if words and not known:
            found.append(Heard(user, words))
    chosen: list[Heard] = []
    room = QUOTES_CHARS
    for heard in reversed(found[-QUOTES:]):
        words = heard.text
        cut = words if len(words) <= QUOTE_CHARS else words[:QUOTE_CHARS] + "…"
        room -= len(cut)
        if room < 0:
            break
        chosen.append(Heard(heard.author, cut, heard.to))
    return chosen[::-1]


def _answer(message: Mapping[str, Any], *, asker: str, bot: str) -> list[Heard]:
    """A finished answer of the bot's to somebody else."""
    note = note_of(message, bot)
    if note is None or not note.final or note.asker in {"", asker}:
        return []
    words = words_of(message, blocks_first=True)
    return [Heard(bot, words, note.asker)] if words else []


def mentions_in(found: Iterable[Heard]) -> str:
    """A text that mentions everybody whose name the quotes need."""
    return " ".join(f"<@{heard.to or heard.author}> {heard.text}" for heard in found)


def quotes_of(found: Iterable[Heard], names: Mapping[str, str]) -> tuple[Quote, ...]:
    """The quotes with names for ids."""

    def author(heard: Heard) -> str:
        if heard.to:
            return f"bot, to {names.get(heard.to, heard.to)}"
        return names.get(heard.author, heard.author) or "somebody"

    return tuple(Quote(author=author(heard), text=plain(heard.text, names)) for heard in found)


def forwarded(forwards: Iterable[Forward], names: Mapping[str, str]) -> tuple[Quote, ...]:
    """The messages that somebody forwards with a question."""
    return tuple(
        Quote(author=f"{one.author}, forwarded", text=plain(one.text, names)) for one in forwards
    )
