"""Downloads the files of messages from Discord, and stores them for the model.

It must never wait without a limit: the same person's other questions wait behind this one.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

import discord

from bots.discord.errors import FAILURES
from bots.discord.files import Keep, Put, attached
from shared import user_names
from shared.blobs import BlobStoreFull
from shared.connection import Unavailable
from shared.messages import Attachment

RETRY_FIRST_S: Final = 0.2
RETRY_LAST_S: Final = 5.0
FETCH_WITHIN_S: Final = 60.0
STORE_WITHIN_S: Final = 300.0
"""Pictures of a question that cannot be stored within this time are left out."""


def files_of(message: discord.Message) -> list[discord.Attachment]:
    """The attachments of a message and of the messages that it forwards."""
    forwarded = [file for shot in message.message_snapshots for file in shot.attachments]
    return [*message.attachments, *forwarded]


class UserFiles:
    """Stores one user's files; `full` is set once a file could not be stored."""

    def __init__(self, put: Put, user: str) -> None:
        self._put = put
        self._user = user
        self._deadline = asyncio.get_running_loop().time() + STORE_WITHIN_S
        self.full = False

    async def keep(self, blob: str, data: bytes) -> bool:
        """Store a file; False if it has to be left out."""
        wait_s = RETRY_FIRST_S
        while True:
            try:
                await self._put(self._user, blob, data)
            except Unavailable:
                if asyncio.get_running_loop().time() >= self._deadline:
                    break
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, RETRY_LAST_S)
            except (BlobStoreFull, user_names.BadName):
                break
            else:
                return True
        self.full = True
        return False


async def files_with(
    messages: Iterable[discord.Message], name: str, keep: Keep
) -> tuple[Attachment, ...]:
    """The attachments of messages, in order, for the question called `name`."""
    owners: dict[int, discord.Message] = {}
    files: dict[int, discord.Attachment] = {}
    for message in messages:
        for file in files_of(message):
            owners.setdefault(file.id, message)
            files.setdefault(file.id, file)
    if not files:
        return ()

    async def fetch(file: discord.Attachment) -> bytes | None:
        return await _bytes_of(file, owners[file.id])

    return await attached(list(files.values()), name, fetch, keep)


async def _bytes_of(file: discord.Attachment, message: discord.Message) -> bytes | None:
    """A file's bytes; None if it is not available. If its URL has expired, get a new one once."""
    try:
        async with asyncio.timeout(FETCH_WITHIN_S):
            return await file.read()
    except (discord.NotFound, discord.Forbidden):
        pass
    except FAILURES:
        return None
    try:
        async with asyncio.timeout(FETCH_WITHIN_S):
            fresh = await message.channel.fetch_message(message.id)
            renewed = next(f for f in files_of(fresh) if f.id == file.id)
            return await renewed.read()
    except (*FAILURES, StopIteration):
        return None
