"""Shortens the files and quotes of a question until the event fits into a message. Pure: no I/O.

It must never shorten the question itself, nor leave out text without a note.
"""

import json
from typing import Final

from shared.messages import EVENT_LIMIT_BYTES, Ask

NOTE: Final = "\n[cut: {:,} more characters]"
NOTE_BYTES: Final = 60


def fitted(ask: Ask, limit: int = EVENT_LIMIT_BYTES) -> Ask:
    """The same question; if it is too large, its longest files and quotes are cut.

    A question that is too large without them remains too large.
    """
    if not ask.quotes and not ask.attachments:
        return ask
    excess = len(ask.wire()) - limit
    if excess <= 0:
        return ask
    texts = [quote.text for quote in ask.quotes]
    texts += [attachment.text or "" for attachment in ask.attachments]
    sizes = sorted(map(_size, texts))
    size_limit = _size_limit(sizes, sum(sizes) - excess)
    shorter = iter([_cut(text, size_limit) for text in texts])
    quotes = tuple(quote.model_copy(update={"text": next(shorter)}) for quote in ask.quotes)
    attachments = tuple(
        one.model_copy(update={"text": cut if one.text is not None else None})
        for one, cut in zip(ask.attachments, shorter, strict=True)
    )
    return ask.model_copy(update={"quotes": quotes, "attachments": attachments})


def _size_limit(sizes: list[int], room: int) -> int:
    """The largest size for each text with which all of them fit into `room`."""
    left = len(sizes)
    for size in sizes:
        if size * left > room:
            return max(room, 0) // left
        room -= size
        left -= 1
    return sizes[-1] if sizes else 0


def _cut(text: str, size: int) -> str:
    """The text cut to `size` bytes, with a note of how much is missing."""
    if _size(text) <= size:
        return text
    room = max(size - NOTE_BYTES, 0)
    kept = text
    while (takes := _size(kept)) > room:
        kept = kept[: min(len(kept) * room // takes, len(kept) - 1)]
    return kept + NOTE.format(len(text) - len(kept))


def _size(text: str) -> int:
    """The bytes of a text as JSON, without its quotation marks."""
    return len(json.dumps(text, ensure_ascii=False).encode()) - 2
