"""The files that come with a question: pictures into the object store, texts into the event.

It must never read more than its limits, and never leaves out a file without a word about it.
"""

from collections.abc import Awaitable, Callable
from pathlib import PurePath
from typing import Final

import discord

from bots.discord.message_parts import duration
from shared.blobs import BLOB_LIMIT_BYTES
from shared.messages import Attachment

PICTURES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""What OpenAI-compatible models take."""

_ENDINGS: Final = (
    ".txt .md .csv .tsv .json .jsonl .yaml .yml .toml .ini .cfg .log .xml .html .css .js .ts .jsx "
    ".tsx .py .rs .go .c .h .cpp .hpp .java .kt .rb .php .sh .sql .tex .diff .patch"
)
TEXT_ENDINGS: Final = frozenset(_ENDINGS.split())
NO_NAME: Final = "file"
NOT_FETCHED: Final = "it could not be fetched"
FILES_LIMIT: Final = 10
"""As many as Discord attaches to one message."""

TEXT_FILE_BYTES: Final = 64_000
TEXT_TOTAL_BYTES: Final = 150_000
"""All texts of a question: an event may take 240,000 bytes, and escaping makes text longer."""

PICTURES_BYTES: Final = 14 << 20
"""All pictures of a question, by Discord's account of their sizes: the dataflow shows no more."""

Put = Callable[[str, str, bytes], Awaitable[None]]
"""Stores a file of a user under a name, or raises `Unavailable` or `BlobStoreFull`."""

Keep = Callable[[str, bytes], Awaitable[bool]]
"""Stores a file; False if the question goes on without it."""

Fetch = Callable[[discord.Attachment], Awaitable[bytes | None]]


async def attached(
    files: list[discord.Attachment], name: str, fetch: Fetch, keep: Keep
) -> tuple[Attachment, ...]:
    """What goes with the question called `name`; pictures are stored by `keep`."""
    found: list[Attachment] = []
    room = TEXT_TOTAL_BYTES
    pictures_room = PICTURES_BYTES
    for number, file in enumerate(files[:FILES_LIMIT]):
        kind = text_or_empty(file.content_type).partition(";")[0].strip().lower()
        ending = PurePath(text_or_empty(file.filename)).suffix.lower()
        size = _size(file) or 0
        if file.is_voice_message():
            found.append(_unread(file, kind, f"it is a voice message{_length_of(file)}"))
        elif kind in PICTURES and BLOB_LIMIT_BYTES >= size > pictures_room:
            found.append(_unread(file, kind, "together the pictures are larger than 14 MiB"))
        elif kind in PICTURES:
            picture = await _picture(file, kind, f"{name}-{number}", fetch, keep)
            pictures_room -= size if picture.blob else 0
            found.append(picture)
        elif kind.startswith("text/") or ending in TEXT_ENDINGS:
            text = await _text(file, kind, min(room, TEXT_FILE_BYTES), fetch)
            room -= len((text.text or "").encode())
            found.append(text)
        else:
            found.append(_unread(file, kind, f"this kind of file is not read{_length_of(file)}"))
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
        return _unread(file, kind, "there is no room for files now")
    return Attachment(name=_name(file), media_type=kind, blob=blob)


async def _text(file: discord.Attachment, kind: str, room: int, fetch: Fetch) -> Attachment:
    size = _size(file)
    if size is None:
        return _unread(file, kind, NOT_FETCHED)
    if size > room:
        return _unread(file, kind, f"it has {size:,} bytes and may have {room:,}")
    data = await fetch(file)
    if data is None or len(data) > room:
        return _unread(file, kind, NOT_FETCHED)
    text = data.decode("utf-8-sig", "replace")
    return Attachment(name=_name(file), media_type=kind or "text/plain", text=text)


def text_or_empty(value: object) -> str:
    """A text of Discord's; empty if it is missing or something else."""
    return value if isinstance(value, str) else ""


def _name(file: discord.Attachment) -> str:
    return text_or_empty(file.filename) or NO_NAME


def _size(file: discord.Attachment) -> int | None:
    """How large Discord says a file is; None if it does not say, or not where the file is."""
    size: object = file.size
    url: object = file.url
    return size if isinstance(size, int) and size >= 0 and isinstance(url, str) else None


def _unread(file: discord.Attachment, kind: str, why: str) -> Attachment:
    """Names a file that the model cannot read, and says why."""
    media_type = kind or "application/octet-stream"
    return Attachment(name=_name(file), media_type=media_type, note=why)


def _length_of(file: discord.Attachment) -> str:
    length = duration(file.duration)
    return f" ({length})" if length else ""
