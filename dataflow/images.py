"""Pictures of a question, put into the request as the model wants them.

It reads stored files only, and must never hold more of them than there is room for: a few questions
with many pictures would end the process. What the model does not see is named to it in words.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import Any, Final

from dataflow.byte_budget import ByteRoom
from dataflow.data_tags import name_of
from dataflow.model.body import Picture
from dataflow.model.errors import ModelError
from shared.blobs import BLOB_LIMIT_BYTES, BlobTooLarge, get_blob
from shared.bus import Bus
from shared.messages import Ask, Attachment

QUESTION_LIMIT_BYTES: Final = 14 << 20
"""All pictures of one question. In base64 it stays below 20 MB, the smallest request that the large
providers take (Gemini 20, Anthropic 32, OpenAI 50 MB)."""

IN_FLIGHT_LIMIT_BYTES: Final = 64 << 20
"""All pictures in this process: four questions of the largest kind, or a hundred usual ones."""

WAIT_S: Final = 120.0
"""For room. Longer than the calls before it are retried while the model is away."""

READ_S: Final = 15.0
"""For one picture while NATS answers. If their stream is gone, it would be waited for forever."""

GONE: Final = "(the picture {name} is gone)"
UNREADABLE: Final = "(the picture {name} cannot be looked at now)"
TOO_MANY: Final = "(the picture {name} is not shown to you: together the pictures are too large)"

Messages = tuple[dict[str, Any], ...]


class Pictures:
    """All pictures under way in this process."""

    def __init__(
        self,
        bus: Bus,
        *,
        in_flight_bytes: int = IN_FLIGHT_LIMIT_BYTES,
        question_bytes: int = QUESTION_LIMIT_BYTES,
        wait_s: float = WAIT_S,
    ) -> None:
        self._bus = bus
        self._room = ByteRoom(in_flight_bytes)
        self._question_bytes = question_bytes
        self._wait_s = wait_s

    def with_pictures(self, ask: Ask, messages: Messages) -> AbstractAsyncContextManager[Messages]:
        """The request with the question's pictures in its last message.

        They are held until the model begins to answer, at most as long as the context lasts. A
        question without pictures never waits.

        Raises:
            ModelError: too many other pictures are under way.
        """
        attached = [attachment for attachment in ask.attachments if attachment.blob is not None]
        return self._with(attached, messages) if attached else nullcontext(messages)

    @asynccontextmanager
    async def _with(
        self, attached: list[Attachment], messages: Messages
    ) -> AsyncIterator[Messages]:
        left = await self._taken(min(len(attached) * BLOB_LIMIT_BYTES, self._question_bytes))
        *before, question = messages
        parts: list[dict[str, Any]] = [
            {"type": "text", "text": question["content"] or "(a picture)"}
        ]
        pictures: list[Picture] = []
        found: tuple[bytes, ...] | str = GONE
        try:
            for attachment in attached:
                if found != UNREADABLE:  # then the others are not, either
                    found = await self._read(attachment, at_most_bytes=left)
                if isinstance(found, str):
                    parts.append({"type": "text", "text": found.format(name=name_of(attachment))})
                    continue
                size = sum(map(len, found))
                left -= size
                give_back = partial(self._room.give_back, size)
                picture = Picture(attachment.media_type, found, give_back)
                pictures.append(picture)
                parts.append({"type": "image_url", "image_url": {"url": picture}})
            self._room.give_back(left)
            left = 0
            yield (*before, {**question, "content": parts})
        finally:
            for picture in pictures:
                picture.drop()
            self._room.give_back(left)

    async def _taken(self, size_bytes: int) -> int:
        try:
            async with asyncio.timeout(self._wait_s):
                return await self._room.take(size_bytes)
        except TimeoutError as error:
            raise ModelError("many pictures", f"no room within {self._wait_s:g} s") from error

    async def _read(self, attachment: Attachment, *, at_most_bytes: int) -> tuple[bytes, ...] | str:
        """A picture's bytes, or in words why there are none."""
        while True:
            try:
                async with asyncio.timeout(READ_S):
                    found = await get_blob(
                        self._bus, attachment.blob or "", at_most_bytes=at_most_bytes
                    )
            except BlobTooLarge:
                return TOO_MANY
            except TimeoutError:
                if self._bus.connected:
                    return UNREADABLE
            else:
                return GONE if found is None else found
