"""Other people's words that travel with a question: data, never instructions. Pure: no I/O.

They are the message that is answered, what is forwarded, and in a thread the latest messages. It
must never quote what the conversation of the asker holds already, nor without a limit.
"""

from collections.abc import Callable, Iterable
from typing import Final

import discord

from bots.discord.buttons import STOP, marks_on, marks_shown
from bots.discord.events import original_of, with_names
from bots.discord.raw import Json, author_of, id_of
from shared.messages import Quote

QUOTE_CHARS: Final = 4000
"""The longest message there is: one that is answered or forwarded comes whole."""

THREAD_MESSAGES: Final = 20
THREAD_QUOTE_CHARS: Final = 1000
THREAD_CHARS: Final = 8000
"""Together about 2,000 tokens: a quarter of a small model's window."""

_STARTER: Final = discord.MessageType.thread_starter_message.value
_SPOKEN: Final = frozenset({0, 19, _STARTER})


def quotes_of(message: discord.Message, me: int) -> tuple[Quote, ...]:
    """The message that a question answers, and what it forwards.

    The bot's answer to the asker is left out, since the conversation holds it; its answer to
    somebody else, which the asker reads as everybody does, is not.
    """
    quotes = []
    answered = original_of(message)
    if answered is not None and answered.content:
        own = answered.author.id == me and any(
            mark.owner == message.author.id for mark in marks_shown(answered)
        )
        if not own:
            quotes.append(quote_of(answered))
    quotes += [
        Quote(author="forwarded", text=snapshot.content[:QUOTE_CHARS])
        for snapshot in message.message_snapshots
        if snapshot.content
    ]
    return tuple(quotes)


def quote_of(message: discord.Message) -> Quote:
    """A message as a quotation."""
    text = with_names(message.content, {str(u.id): u.display_name for u in message.mentions})
    return Quote(author=message.author.display_name, text=text[:QUOTE_CHARS])


def thread_quotes(
    history: Iterable[Json],
    *,
    asker: int,
    me: int,
    leave_out: int,
    asked: Callable[[int], bool],
) -> tuple[Quote, ...]:
    """The latest messages of a thread, in order; `history` is in any order.

    `leave_out` is a message that is quoted anyway, `asked` says which messages were questions.
    """
    owner: int | None = None
    found: list[Quote] = []
    room = THREAD_CHARS
    for raw in sorted(history, key=id_of, reverse=True):
        message = raw
        if raw.get("type") == _STARTER:  # the message on which the thread was opened
            message = raw.get("referenced_message") or {}
        author = message.get("author") or {}
        named = {str(user.get("id")): _name(user) for user in message.get("mentions") or ()}
        text = with_names(str(message.get("content") or "").strip(), named)
        if author_of(message) == me:
            # An answer's last part alone has buttons; those before it belong to the same person.
            marks = marks_on(message)
            owner = marks[0].owner if marks else owner
            growing = any(mark.kind == STOP for mark in marks)
            wanted = owner not in {None, asker} and not growing
        else:
            owner = None
            own = author_of(message) == asker
            wanted = raw.get("type") in _SPOKEN and not (own and asked(id_of(message)))
        if not wanted or not text or id_of(message) == leave_out:
            continue
        text = text if len(text) <= THREAD_QUOTE_CHARS else text[:THREAD_QUOTE_CHARS] + "…"
        room -= len(text)
        if room < 0:
            break
        found.append(Quote(author=_name(author), text=text))
    return tuple(reversed(found))


def _name(user: Json) -> str:
    return str(user.get("global_name") or user.get("username") or "somebody")
