"""Files that come with a message: pictures to the object store, texts inline, others by name.

It must never send the bot's token to a host that is not Slack's, and never take a login page for
a file.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from bots.slack.api import CALL_ERRORS, code_of
from bots.slack.file_objects import (
    is_being_heard,
    is_gone,
    is_stub,
    kind_of,
    name_of,
    supplied,
    why_closed,
)
from bots.slack.payloads import mapping, text
from bots.slack.workspaces import Team
from shared.blobs import BLOB_LIMIT_BYTES, BlobStoreFull
from shared.messages import Attachment

FILES: Final = 5
"""Of one message; more are named as not read."""

TEXT_BYTES: Final = 200_000
TEXT_CHARS: Final = 20_000
"""One text file: about 5,000 tokens. The event as a whole takes 240 kB."""

DOWNLOAD_S: Final = 20.0
"""All files of one message: what the same person says next waits for them."""

HEARD_EVERY_S: Final = 2.0
HEARD_WITHIN_S: Final = 12.0
"""Slack sends a clip at once and its transcription some seconds later, with no event for us."""

MEGABYTE: Final = 1 << 20

_PICTURES: Final = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"RIFF": "image/webp",
}
_TEXTS: Final = frozenset(
    {"application/json", "application/xml", "application/x-yaml", "application/javascript",
     "application/x-sh", "application/sql", "application/toml"}
)  # fmt: skip

SIGN_IN: Final = "Slack asks me to sign in (the app lacks the scope files:read)"

Store = Callable[[str, str, bytes], Awaitable[None]]
"""Stores a file of a user under a name; raises `Unavailable` or `BlobStoreFull`."""

Keep = Callable[[str, bytes], Awaitable[None]]
"""The same for one user."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A file that could not be read, and why in words for its owner."""

    name: str
    media_type: str
    why: str
    matters: bool = True
    """Whether its owner expects it to be read: nobody expects that of a deleted file."""

    @property
    def notice(self) -> str:
        """What the owner is told."""
        return f"I could not read {self.name}: {self.why}."

    @property
    def attachment(self) -> Attachment:
        """What the model is told."""
        return Attachment(name=self.name, media_type=self.media_type, note=f"{self.why}.")


class _NotRead(Exception):
    """Why, in words for a person."""


async def read_files(
    files: tuple[Mapping[str, Any], ...],
    *,
    user: str,
    event_id: str,
    team: Team,
    session: aiohttp.ClientSession,
    api_host: str,
    store: Store,
) -> tuple[list[Attachment], list[Unread]]:
    """The attachments that the files of `user` make, and those that could not be read or kept.

    Raises:
        Unavailable: the object store does not answer; a repeat is harmless.
    """
    keep = partial(store, user)
    read: list[Attachment] = []
    unread: list[Unread] = []
    deadline = asyncio.get_running_loop().time() + DOWNLOAD_S
    for number, given in enumerate(files):
        file = given
        try:
            if is_stub(file) and number < FILES:
                file = await _known(file, team, deadline)
            if is_being_heard(file) and number < FILES:
                file = await _heard(file, team, deadline - DOWNLOAD_S + HEARD_WITHIN_S)
            words = supplied(file)
            if number >= FILES:
                why = f"I read {FILES} files of a message"
            elif words:
                read.append(Attachment(name=name_of(file), media_type=_kind(file), text=words))
                continue
            elif not (why := why_closed(file)):
                data = await _download(file, team, session, api_host, deadline)
                blob = f"{event_id}-{number}"
                read.append(await _attachment(file, name_of(file), data, blob, keep))
                continue
        except _NotRead as error:
            why = str(error)
        except BlobStoreFull:
            why = "there is no room for more files at the moment"
        unread.append(Unread(name_of(file), _kind(file), why, not is_gone(file)))
    return read, unread


def _kind(file: Mapping[str, Any]) -> str:
    return text(file, "mimetype") or "application/octet-stream"


async def _known(file: Mapping[str, Any], team: Team, deadline: float) -> Mapping[str, Any]:
    """The whole file object, if the event has only an id: docs.slack.dev/apis/slack-connect."""
    try:
        async with asyncio.timeout_at(deadline):
            response = await team.client.files_info(file=text(file, "id"))
    except CALL_ERRORS as error:
        code = code_of(error)
        if code == "missing_scope":
            raise _NotRead(SIGN_IN) from error
        if code in {"file_not_found", "file_deleted", "access_denied", "not_visible"}:
            raise _NotRead("it was deleted, or Slack does not let me open it") from error
        raise _NotRead("Slack did not tell me which file it is; please send it again") from error
    found = mapping(response.data, "file")
    if not found or is_stub(found):
        raise _NotRead("another company shares it, and Slack does not let me open it")
    return found


async def _heard(file: Mapping[str, Any], team: Team, deadline: float) -> Mapping[str, Any]:
    """A clip with its transcription, if Slack has that in time."""
    while is_being_heard(file) and deadline > asyncio.get_running_loop().time() + HEARD_EVERY_S:
        await asyncio.sleep(HEARD_EVERY_S)
        try:
            file = await _known(file, team, deadline)
        except _NotRead:
            break
    return file


async def _attachment(
    file: Mapping[str, Any], name: str, data: bytes, blob: str, keep: Keep
) -> Attachment:
    kind = text(file, "mimetype")
    if (picture := _picture(data)) is not None:
        await keep(blob, data)
        return Attachment(name=name, media_type=picture, blob=blob)
    if _is_text(file, kind):
        try:
            words = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise _NotRead("it is not text in UTF-8") from error
        if len(words) > TEXT_CHARS:
            words = f"{words[:TEXT_CHARS]}\n[cut: {len(words):,} characters]"
        return Attachment(name=name, media_type=kind or "text/plain", text=words)
    if kind.startswith("image/"):
        raise _NotRead("it is not a picture in PNG, JPEG, GIF or WebP")
    raise _NotRead("I read pictures and text files only")


def _is_text(file: Mapping[str, Any], kind: str) -> bool:
    return kind.startswith("text/") or kind in _TEXTS or kind_of(file) == "snippet"


def _picture(data: bytes) -> str | None:
    kind = next((kind for start, kind in _PICTURES.items() if data.startswith(start)), None)
    return None if kind == "image/webp" and data[8:12] != b"WEBP" else kind


async def _download(
    file: Mapping[str, Any],
    team: Team,
    session: aiohttp.ClientSession,
    api_host: str,
    deadline: float,
) -> bytes:
    kind = text(file, "mimetype")
    picture = kind.startswith("image/")
    if not picture and not _is_text(file, kind):
        raise _NotRead("I read pictures and text files only")
    limit = BLOB_LIMIT_BYTES if picture else TEXT_BYTES
    too_big = f"it is larger than {limit // MEGABYTE or round(limit / MEGABYTE, 1)} MB"
    size = file.get("size")
    if isinstance(size, int) and size > limit:
        raise _NotRead(too_big)
    url = text(file, "url_private_download") or text(file, "url_private")
    if not _is_slacks(url, api_host):
        raise _NotRead("it is not stored in Slack")
    headers = {"Authorization": f"Bearer {team.client.token}"}
    try:
        async with (
            asyncio.timeout_at(deadline),
            session.get(url, headers=headers) as response,
        ):
            if response.status != 200:  # noqa: PLR2004
                raise _NotRead("Slack does not give it to me")
            data = b""
            async for chunk in response.content.iter_chunked(1 << 16):
                data += chunk
                if len(data) > limit:
                    raise _NotRead(too_big)
            # Without the scope files:read Slack answers 200 and a page to sign in.
            page = response.content_type == "text/html" and kind != "text/html"
            if page or (kind == "text/html" and b"<title>Sign in" in data):
                raise _NotRead(SIGN_IN)
            return data
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise _NotRead("Slack did not send it; please try again") from error


def _is_slacks(url: str, api_host: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.netloc == api_host:
        return True
    own = ("slack.com", "slack-files.com")
    return parts.scheme == "https" and any(host == o or host.endswith(f".{o}") for o in own)
