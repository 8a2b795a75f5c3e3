"""What others said in a thread, to travel with a question as data. Pure: no I/O.

It must never quote what the asker said to the bot, which the conversation knows already.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from bots.slack.text import plain
from bots.slack.threads import FollowUp, asker_of, is_follow_up
from shared.messages import Quote

QUOTES: Final = 20
QUOTE_CHARS: Final = 1_000
QUOTES_CHARS: Final = 8_000
"""Together about 2,000 tokens: a quarter of a small model's window."""


def quoted(
    thread: Iterable[Mapping[str, Any]],
    *,
    asker: str,
    bot: str,
    before: str,
    follow_up: FollowUp,
) -> list[tuple[str, str]]:
    """Author's id and text of the messages worth quoting: the newest, in order."""
    askers: set[str] = set()
    found: list[tuple[str, str]] = []
    for message in thread:
        if float(str(message["ts"])) >= float(before):
            break
        user = str(message.get("user") or message.get("username") or message.get("bot_id") or "")
        text = str(message.get("text") or "")
        asked = asker_of(message, bot)
        askers |= {asked} - {""}
        # What the asker said before asking, or to somebody else, is new to the conversation.
        known = user == asker and (asked or is_follow_up(text, user, askers, follow_up))
        if text and user != bot and not known:
            found.append((user, text))
    chosen: list[tuple[str, str]] = []
    room = QUOTES_CHARS
    for user, text in reversed(found[-QUOTES:]):
        cut = text if len(text) <= QUOTE_CHARS else text[:QUOTE_CHARS] + "…"
        room -= len(cut)
        if room < 0:
            break
        chosen.append((user, cut))
    return chosen[::-1]


def quotes_of(found: Iterable[tuple[str, str]], names: Mapping[str, str]) -> tuple[Quote, ...]:
    """The quotes with names for ids."""
    return tuple(
        Quote(author=names.get(user, user), text=plain(text, names)) for user, text in found
    )
