"""Other people's messages that accompany a question: data, never instructions. Pure: no I/O.

They are the message that is replied to, forwarded messages, link previews, and the beginning of a
thread with its latest messages. It must never quote what the asker's conversation contains already,
nor quote without a limit.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from bots.discord.buttons import UNFINISHED, buttons_on
from bots.discord.markup import MentionNames
from bots.discord.payloads import Json, author_of, dict_in, id_of, number_in
from bots.discord.rich_message import (
    MESSAGE_CHARS,
    REPLY,
    forwards_of,
    is_written_by_author,
    name_of,
    previews_text,
    rich_text,
    started_by,
)
from bots.quoted_names import person
from shared.messages import Quote

THREAD_MESSAGES: Final = 20
THREAD_QUOTE_CHARS: Final = 1000
THREAD_CHARS: Final = 8000
"""About 2,000 tokens: a quarter of a small model's context window."""

START_CHARS: Final = 4000
"""Additional limit for a thread's first message, which says what the thread is about."""

NOTE: Final = "note"
"""The author of the bot's own remarks about quotes."""

DELETED: Final = Quote(author=NOTE, text="This is a reply to a message that was deleted.")
NOT_LOADED: Final = Quote(
    author=NOTE, text="This is a reply to a message that could not be loaded."
)
NO_START: Final = Quote(
    author=NOTE, text="The message on which this thread was opened was deleted or is not readable."
)
LEFT_OUT: Final = Quote(author=NOTE, text="Some messages of this thread are omitted here.")
NOTHING_TO_READ: Final = "[a message without readable content]"


def quotes_of(raw: Json, mention_names: MentionNames, me: int) -> tuple[Quote, ...]:
    """The message that a question replies to, the messages that it forwards, and its link previews.

    The bot's answer to the asker is left out, because the asker's conversation contains it; the
    bot's answer to somebody else is quoted.
    """
    quotes = []
    answered = dict_in(raw.get("referenced_message"))
    if answered:
        buttons = buttons_on(answered) if author_of(answered) == me else []
        if not any(button.owner == author_of(raw) for button in buttons):
            quotes.append(quote_of(answered, mention_names, me))
    elif number_in(raw.get("type")) == REPLY:
        quotes.append(DELETED if "referenced_message" in raw else NOT_LOADED)
    for forwarded in forwards_of(raw):
        text = rich_text(forwarded, mention_names) or NOTHING_TO_READ
        quotes.append(Quote(author="forwarded", text=text))
    if previews := previews_text(raw, mention_names):
        quotes.append(Quote(author="previews of links", text=previews))
    return tuple(quotes)


def quote_of(
    message: Json, mention_names: MentionNames, me: int, limit: int = MESSAGE_CHARS
) -> Quote:
    """A message as a quote; one of the bot's answers without its buttons."""
    message = started_by(message)
    is_own = author_of(message) == me
    text = rich_text(message, mention_names, limit=limit, bare=is_own)
    name = name_of(dict_in(message.get("author")))
    return Quote(author=name if is_own else person(name), text=text or NOTHING_TO_READ)


def title_quote(title: str, tags: tuple[str, ...]) -> tuple[Quote, ...]:
    """The title and tags of a thread or a forum post."""
    if not title:
        return ()
    tagged = f"\nTags: {', '.join(tags)}" if tags else ""
    return (Quote(author="title of this thread", text=f"{title}{tagged}"),)


@dataclass(frozen=True, slots=True)
class ThreadFilter:
    """Selects the messages of a thread that are new to the asker's conversation.

    `asked` says whether a message was a question. `leave_out` is a message that is quoted anyway; 0
    if there is none.
    """

    asker: int
    me: int
    asked: Callable[[int], bool]
    leave_out: int = 0

    def wanted(self, newest_first: Iterable[Json]) -> Iterator[Json]:
        """The messages that are new to the asker's conversation."""
        owner: int | None = None
        for raw in newest_first:
            message = started_by(raw)
            number, author = id_of(message), author_of(message)
            if author == self.me:
                # Only the last part of an answer has buttons; the parts before it are for the same
                # person.
                buttons = buttons_on(message)
                owner = buttons[0].owner if buttons else owner
                growing = any(button.kind in UNFINISHED for button in buttons)
                wanted = (
                    owner not in {None, self.asker}
                    and not growing
                    and is_written_by_author(message)
                )
            else:
                owner = None
                wanted = author != self.asker or not self.asked(number)
            if wanted and (number != self.leave_out or not number):
                yield message


def thread_quotes(
    latest: Iterable[Json],
    thread_filter: ThreadFilter,
    mention_names: MentionNames,
    *,
    start: Json | None,
    left_out: bool,
) -> tuple[Quote, ...]:
    """The beginning of a thread and its latest messages, in order; `latest` is in any order.

    `start` is the thread's first message, if it is known and not among the latest ones; `left_out`:
    there are others between the two.
    """
    found: list[Quote] = []
    room = THREAD_CHARS
    for message in thread_filter.wanted(sorted(latest, key=id_of, reverse=True)):
        quote = quote_of(message, mention_names, thread_filter.me, THREAD_QUOTE_CHARS)
        room -= len(quote.text)
        if room < 0:
            left_out = True
            break
        found.append(quote)
    beginning = [
        quote_of(message, mention_names, thread_filter.me, START_CHARS) if message else NO_START
        for message in thread_filter.wanted([start] if start is not None else [])
    ]
    gap = (LEFT_OUT,) if left_out else ()
    return (*beginning, *gap, *reversed(found))
