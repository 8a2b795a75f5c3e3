"""The files that come with a question: pictures into the object store, texts into the event.

It must never read more than its limits, and never leaves out a file without a word about it.
"""

from collections.abc import Awaitable, Callable
from pathlib import PurePath
from typing import Final

import discord

from bots.discord.fields import duration
from shared.blobs import BLOB_LIMIT_BYTES
from shared.messages import Attachment

PICTURES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""What OpenAI-compatible models take."""

_ENDINGS: Final = (
    ".txt .md .csv .tsv .json .jsonl .yaml .yml .toml .ini .cfg .log .xml .html .css .js .ts .jsx "
    ".tsx .py .rs .go .c .h .cpp .hpp .java .kt .rb .php .sh .sql .tex .diff .patch"
)
TEXT_ENDINGS: Final = frozenset(_ENDINGS.split())
FILES_LIMIT: Final = 10
"""As many as Discord attaches to one message."""

TEXT_FILE_BYTES: Final = 64_000
TEXT_TOTAL_BYTES: Final = 150_000
"""All texts of a question: an event may take 240,000 bytes, and escaping makes text longer."""

PICTURES_BYTES: Final = 14 << 20
"""All pictures of a question, by Discord's account of their sizes: the dataflow shows no more."""

Put = Callable[[str, str, bytes], Awaitable[None]]
"""Stores a file of a user under a name, or raises `Unavailable` or `NoRoom`."""

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
        kind = (file.content_type or "").partition(";")[0].strip().lower()
        if file.is_voice_message():
            found.append(_unread(file, kind, f"it is a voice message{_length_of(file)}"))
        elif kind in PICTURES and BLOB_LIMIT_BYTES >= file.size > pictures_room:
            found.append(_unread(file, kind, "together the pictures are larger than 14 MiB"))
        elif kind in PICTURES:
            picture = await _picture(file, kind, f"{name}-{number}", fetch, keep)
            pictures_room -= file.size if picture.blob else 0
            found.append(picture)
        elif kind.startswith("text/") or PurePath(file.filename).suffix.lower() in TEXT_ENDINGS:
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
    if file.size > BLOB_LIMIT_BYTES:
        return _unread(file, kind, f"it is larger than {BLOB_LIMIT_BYTES >> 20} MiB")
    data = await fetch(file)
    if data is None or len(data) > BLOB_LIMIT_BYTES:
        return _unread(file, kind, "it could not be fetched")
    if not await keep(blob, data):
        return _unread(file, kind, "there is no room for files now")
    return Attachment(name=file.filename, media_type=kind, blob=blob)


async def _text(file: discord.Attachment, kind: str, room: int, fetch: Fetch) -> Attachment:
    if file.size > room:
        return _unread(file, kind, f"it has {file.size:,} bytes and may have {room:,}")
    data = await fetch(file)
    if data is None or len(data) > room:
        return _unread(file, kind, "it could not be fetched")
    text = data.decode("utf-8-sig", "replace")
    return Attachment(name=file.filename, media_type=kind or "text/plain", text=text)


def _unread(file: discord.Attachment, kind: str, why: str) -> Attachment:
    """Names a file that the model cannot read, and says why."""
    media_type = kind or "application/octet-stream"
    return Attachment(name=file.filename, media_type=media_type, note=why)


def _length_of(file: discord.Attachment) -> str:
    length = duration(file.duration)
    return f" ({length})" if length else ""
