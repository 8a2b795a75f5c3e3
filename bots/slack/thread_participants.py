"""Who speaks to the bot in a thread. Pure: no I/O.

It must never differ between what is answered and what is quoted: both ask here.
"""

from collections.abc import Collection, Mapping
from typing import Any, Literal

from bots.slack.markup import mentioned
from bots.slack.metadata import note_of
from bots.slack.payloads import text

FollowUp = Literal["always", "asker", "mention"]


def asker_of(message: Mapping[str, Any], bot: str) -> str:
    """Who asked the bot by this message, or is answered by it; empty where nobody is."""
    if bot in mentioned(text(message, "text")):
        return text(message, "user")
    note = note_of(message, bot)
    return note.asker if note is not None else ""


def is_follow_up(words: str, user: str, askers: Collection[str], follow_up: FollowUp) -> bool:
    """Whether a thread's message without a mention is for the bot, which `askers` asked there."""
    if words.startswith("<@") or follow_up == "mention":
        return False  # the first speaks to somebody else
    return bool(askers) if follow_up == "always" else user in askers
