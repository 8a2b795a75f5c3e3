"""What others said in a thread, to travel with a question as data. Pure: no I/O.

It must never quote what the asker said to the bot, which the conversation knows already.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from bots.slack.text import mentioned, plain
from shared.messages import Quote

QUOTES: Final = 20
QUOTE_CHARS: Final = 1_000
QUOTES_CHARS: Final = 8_000
"""Together about 2,000 tokens: a quarter of a small model's window."""


def quoted(
    thread: Iterable[Mapping[str, Any]], *, asker: str, bot: str, before: str
) -> list[tuple[str, str]]:
    """Author's id and text of the messages worth quoting: the newest, in order."""
    bot_spoke = False
    found: list[tuple[str, str]] = []
    for message in thread:
        user = str(message.get("user") or message.get("username") or message.get("bot_id") or "")
        text = str(message.get("text") or "")
        if float(str(message["ts"])) >= float(before):
            break
        if user == bot:
            bot_spoke = True
            continue
        to_bot = bot in mentioned(text)
        # What the asker said before the bot came into the thread is new to it, too.
        if not text or (user == asker and (bot_spoke or to_bot)):
            continue
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
