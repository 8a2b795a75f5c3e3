"""Who talks to the bot in a thread. Pure: no I/O.

What is answered and what is quoted must never differ in this, so both use these rules.
"""

from collections.abc import Collection, Mapping
from typing import Any

from bots.slack.markup import mentioned
from bots.slack.metadata import read_metadata
from bots.slack.payloads import text
from bots.slack.settings import FollowUp


def asker_of(message: Mapping[str, Any], bot: str) -> str:
    """Who asks the bot in this message, or is answered by it; empty if nobody."""
    if bot in mentioned(text(message, "text")):
        return text(message, "user")
    metadata = read_metadata(message, bot)
    return metadata.asker if metadata is not None else ""


def is_follow_up(words: str, user: str, askers: Collection[str], follow_up: FollowUp) -> bool:
    """Whether a message without a mention is for the bot, in a thread where `askers` asked it."""
    if words.startswith("<@") or follow_up == "mention":
        return False  # it begins with somebody else's name
    return bool(askers) if follow_up == "always" else user in askers
