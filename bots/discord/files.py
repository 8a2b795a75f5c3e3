"""The files of a question: pictures go to the object store, texts into the event.

It must never read more than its limits, nor leave out a file without a note.
"""

from collections.abc import Awaitable, Callable
from pathlib import PurePath
from typing import Final

import discord

from bots.discord.message_parts import duration
from shared.blobs import BLOB_LIMIT_BYTES
from shared.messages import Attachment

PICTURES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""The formats that OpenAI-compatible models accept."""

_ENDINGS: Final = (
    ".txt .md .csv .tsv .json .jsonl .yaml .yml .toml .ini .cfg .log .xml .html .css .js .ts .jsx "
    ".tsx .py .rs .go .c .h .cpp .hpp .java .kt .rb .php .sh .sql .tex .diff .patch"
)
TEXT_ENDINGS: Final = frozenset(_ENDINGS.split())
NO_NAME: Final = "file"
NOT_FETCHED: Final = "it could not be fetched"
FILES_LIMIT: Final = 10
"""Discord's limit for one message."""

TEXT_FILE_BYTES: Final = 64_000
TEXT_TOTAL_BYTES: Final = 150_000
"""For all texts of a question: an event has at most 240,000 bytes, and escaping makes text
longer."""

PICTURES_BYTES: Final = 14 << 20
"""For all pictures of a question, by the sizes that Discord reports; the dataflow sends no more."""

Put = Callable[[str, str, bytes], Awaitable[None]]
"""Stores a user's file under a name, or raises `Unavailable` or `BlobStoreFull`."""

Keep = Callable[[str, bytes], Awaitable[bool]]
"""Stores a file; False if the question has to go on without it."""

Fetch = Callable[[discord.Attachment], Awaitable[bytes | None]]


async def attached(
    files: list[discord.Attachment], name: str, fetch: Fetch, keep: Keep
) -> tuple[Attachment, ...]:
    """The attachments of the question called `name`; pictures are stored by `keep`."""
    found: list[Attachment] = []
    text_bytes_left = TEXT_TOTAL_BYTES
    picture_bytes_left = PICTURES_BYTES
    for number, file in enumerate(files[:FILES_LIMIT]):
        kind = text_or_empty(file.content_type).partition(";")[0].strip().lower()
        ending = PurePath(text_or_empty(file.filename)).suffix.lower()
        size = _size(file) or 0
        if file.is_voice_message():
            found.append(_unread(file, kind, f"it is a voice message{_length_of(file)}"))
        elif kind in PICTURES and BLOB_LIMIT_BYTES >= size > picture_bytes_left:
            found.append(_unread(file, kind, "together the pictures are larger than 14 MiB"))
        elif kind in PICTURES:
            picture = await _picture(file, kind, f"{name}-{number}", fetch, keep)
            picture_bytes_left -= size if picture.blob else 0
            found.append(picture)
        elif kind.startswith("text/") or ending in TEXT_ENDINGS:
            text = await _text(file, kind, min(text_bytes_left, TEXT_FILE_BYTES), fetch)
            text_bytes_left -= len((text.text or "").encode())
            found.append(text)
        else:
            found.append(_unread(file, kind, f"files of this kind are not read{_length_of(file)}"))
    found += [
        _unread(file, "", f"only {FILES_LIMIT} files of a question are read")
        for file in files[FILES_LIMIT:]
    ]
    return tuple(found)


async def _picture(
    file: discord.Attachment, kind: str, blob: str, fetch: Fetch, keep: Keep
) -> Attachment:
    size = _size(file)
    if size is None:
        return _unread(file, kind, NOT_FETCHED)
    if size > BLOB_LIMIT_BYTES:
        return _unread(file, kind, f"it is larger than {BLOB_LIMIT_BYTES >> 20} MiB")
    data = await fetch(file)
    if data is None or len(data) > BLOB_LIMIT_BYTES:
        return _unread(file, kind, NOT_FETCHED)
    if not await keep(blob, data):
        return _unread(file, kind, "there is no room for files at the moment")
    return Attachment(name=_name(file), media_type=kind, blob=blob)


async def _text(file: discord.Attachment, kind: str, limit: int, fetch: Fetch) -> Attachment:
    size = _size(file)
    if size is None:
        return _unread(file, kind, NOT_FETCHED)
    if size > limit:
        return _unread(file, kind, f"it has {size:,} bytes, and the limit is {limit:,}")
    data = await fetch(file)
    if data is None or len(data) > limit:
        return _unread(file, kind, NOT_FETCHED)
    text = data.decode("utf-8-sig", "replace")
    return Attachment(name=_name(file), media_type=kind or "text/plain", text=text)


def text_or_empty(value: object) -> str:
    """A string from Discord; empty if it is missing or something else."""
    return value if isinstance(value, str) else ""


def _name(file: discord.Attachment) -> str:
    return text_or_empty(file.filename) or NO_NAME


def _size(file: discord.Attachment) -> int | None:
    """The size that Discord reports; None if the size or the URL is missing."""
    size: object = file.size
    url: object = file.url
    return size if isinstance(size, int) and size >= 0 and isinstance(url, str) else None


def _unread(file: discord.Attachment, kind: str, why: str) -> Attachment:
    """A file that the model cannot read, with the reason."""
    media_type = kind or "application/octet-stream"
    return Attachment(name=_name(file), media_type=media_type, note=why)


def _length_of(file: discord.Attachment) -> str:
    length = duration(file.duration)
    return f" ({length})" if length else ""
