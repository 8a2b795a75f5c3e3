"""Makes a question fit into an event, whatever it quotes and whatever is attached.

Pure. A question must never be refused because of other people's words: those are cut first, with a
note, and never its own text.
"""

from typing import Final

from shared.messages import EVENT_LIMIT_BYTES, NOTE_LIMIT_CHARS, Ask, Attachment, Quote

ROOM_BYTES: Final = EVENT_LIMIT_BYTES - 8_000
"""For quotes, files and text; the rest is for ids, persona and the address."""

WORST_BYTES_PER_CHAR: Final = 6
"""A control character in JSON. If even this fits, nothing has to be measured."""

CUT: Final = "\n(… the rest is left out: together this is too long)"
TOO_MUCH: Final = "together the texts are too long for one question"
_SHORTEST: Final = 200


def fitted(ask: Ask) -> Ask:
    """The same question, with shorter quotes and fewer files' texts if it is too large."""
    chars = len(ask.text) + len(ask.persona or "") + sum(map(_chars, ask.attachments))
    chars += sum(len(quote.author) + len(quote.text) for quote in ask.quotes)
    if chars * WORST_BYTES_PER_CHAR <= ROOM_BYTES:
        return ask
    size = len(ask.wire())
    while size > ROOM_BYTES:
        smaller = _smaller(ask)
        if smaller is None:
            return ask
        ask, size = smaller, len(smaller.wire())
    return ask


def _smaller(ask: Ask) -> Ask | None:
    """The question without its largest file's text, or with its longest quote halved."""
    with_text = [file for file in ask.attachments if file.text]
    longest = max(ask.quotes, key=lambda quote: len(quote.text), default=None)
    if longest is not None and len(longest.text) <= _SHORTEST:
        longest = None
    if with_text:
        largest = max(with_text, key=_chars)
        if longest is None or _chars(largest) >= len(longest.text):
            files = tuple(_unread(f) if f is largest else f for f in ask.attachments)
            return ask.model_copy(update={"attachments": files})
    if longest is None:
        # The quotes of a thread come first, the oldest of all.
        return ask.model_copy(update={"quotes": ask.quotes[1:]}) if ask.quotes else None
    quotes = tuple(_halved(q) if q is longest else q for q in ask.quotes)
    return ask.model_copy(update={"quotes": quotes})


def _halved(quote: Quote) -> Quote:
    kept = quote.text.removesuffix(CUT)
    return Quote(author=quote.author, text=kept[: len(kept) // 2 - len(CUT)] + CUT)


def _unread(file: Attachment) -> Attachment:
    return Attachment(name=file.name, media_type=file.media_type, note=TOO_MUCH[:NOTE_LIMIT_CHARS])


def _chars(file: Attachment) -> int:
    return len(file.text or "") + len(file.name)
