"""The files of a question: pictures go to the store of files, texts into the event.

It must never leave out a file without a note.
"""

from collections.abc import Iterable
from pathlib import PurePath
from typing import Final

from bots.web.turns import Upload
from shared.blobs import BLOB_LIMIT_BYTES, BlobStoreFull, put_blob
from shared.bus import Bus
from shared.messages import Ask, Attachment

PICTURES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""The formats that OpenAI-compatible models accept."""

_ENDINGS: Final = (
    "txt md csv tsv json jsonl yaml yml toml ini cfg log xml html css js ts jsx tsx py rs go c h "
    "cpp hpp java kt rb php sh sql tex diff patch"
)
TEXT_ENDINGS: Final = tuple(_ENDINGS.split())
PICTURE_ENDINGS: Final = ("png", "jpg", "jpeg", "gif", "webp")

FILES_LIMIT: Final = 10
TEXT_FILE_BYTES: Final = 64_000
TEXT_TOTAL_BYTES: Final = 150_000
PICTURES_BYTES: Final = 14 << 20
"""As in the other adapters: the dataflow sends no more."""


async def with_files(bus: Bus, ask: Ask, uploads: Iterable[Upload]) -> Ask:
    """The question with its files; pictures are in the store of files when this returns.

    Raises:
        Unavailable: NATS does not store files now.
    """
    attachments = []
    text_left, pictures_left = TEXT_TOTAL_BYTES, PICTURES_BYTES
    for number, upload in enumerate(uploads):
        size = len(upload.data)
        ending = PurePath(upload.name).suffix.lower().removeprefix(".")
        if number >= FILES_LIMIT:
            found = _unread(upload, f"only {FILES_LIMIT} files of a question are read")
        elif upload.media_type in PICTURES:
            if size > min(pictures_left, BLOB_LIMIT_BYTES):
                found = _unread(upload, "the pictures are too large")
            else:
                found = await _picture(bus, ask, upload, number)
                pictures_left -= size
        elif upload.media_type.startswith("text/") or ending in TEXT_ENDINGS:
            if size > min(text_left, TEXT_FILE_BYTES):
                found = _unread(upload, f"it has {size:,} bytes, which is too much")
            else:
                text = upload.data.decode("utf-8-sig", "replace")
                found = Attachment(name=upload.name, media_type="text/plain", text=text)
                text_left -= size
        else:
            found = _unread(upload, "files of this kind are not read")
        attachments.append(found)
    return ask.model_copy(update={"attachments": tuple(attachments)})


async def _picture(bus: Bus, ask: Ask, upload: Upload, number: int) -> Attachment:
    name = f"{ask.id}-{number}"
    try:
        await put_blob(bus, name, upload.data, user=ask.user)
    except BlobStoreFull:
        return _unread(upload, "there is no room for files at the moment")
    return Attachment(name=upload.name, media_type=upload.media_type, blob=name)


def _unread(upload: Upload, why: str) -> Attachment:
    """A file that the model cannot read, with the reason."""
    media_type = upload.media_type or "application/octet-stream"
    return Attachment(name=upload.name, media_type=media_type, note=why)
