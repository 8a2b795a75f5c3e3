"""Puts the images of a question into its request.

It must never hold more images than its budget allows: a few questions with many images would
exhaust the memory. Images that cannot be sent are named to the model instead.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import Any, Final

from dataflow.byte_budget import ByteBudget
from dataflow.data_tags import name_of
from dataflow.model.body import Image
from dataflow.model.errors import ModelError
from shared.blobs import BLOB_LIMIT_BYTES, BlobTooLarge, get_blob
from shared.bus import Bus
from shared.messages import Ask, Attachment

QUESTION_LIMIT_BYTES: Final = 14 << 20
"""Limit for the images of one question. In base64 this is below 20 MB, the smallest limit for
requests among the large providers (Gemini 20, Anthropic 32, OpenAI 50 MB)."""

IN_FLIGHT_LIMIT_BYTES: Final = 64 << 20
"""Limit for all images in memory: those of four large questions, or of a hundred usual ones."""

WAIT_S: Final = 120.0
"""Wait for the budget. In an outage, questions that hold it give up sooner than this."""

READ_S: Final = 15.0
"""Wait for one image while NATS answers. Without a limit, a missing stream would block forever."""

GONE: Final = "(the picture {name} is gone)"
UNREADABLE: Final = "(the picture {name} cannot be read at the moment)"
TOO_MANY: Final = "(the picture {name} is not shown to you: together the pictures are too large)"

Messages = tuple[dict[str, Any], ...]


class Images:
    """All images that are being sent by this process."""

    def __init__(
        self,
        bus: Bus,
        *,
        in_flight_bytes: int = IN_FLIGHT_LIMIT_BYTES,
        question_bytes: int = QUESTION_LIMIT_BYTES,
        wait_s: float = WAIT_S,
    ) -> None:
        self._bus = bus
        self._budget = ByteBudget(in_flight_bytes)
        self._question_bytes = question_bytes
        self._wait_s = wait_s

    def with_images(self, ask: Ask, messages: Messages) -> AbstractAsyncContextManager[Messages]:
        """The request with the question's images in its last message.

        They are held until the model begins to answer, or until the context ends. A question
        without images never waits.

        Raises:
            ModelError: too many other images are being sent.
        """
        attached = [attachment for attachment in ask.attachments if attachment.blob is not None]
        return self._with(attached, messages) if attached else nullcontext(messages)

    @asynccontextmanager
    async def _with(
        self, attached: list[Attachment], messages: Messages
    ) -> AsyncIterator[Messages]:
        left = await self._taken_bytes(min(len(attached) * BLOB_LIMIT_BYTES, self._question_bytes))
        *before, question = messages
        parts: list[dict[str, Any]] = [
            {"type": "text", "text": question["content"] or "(a picture)"}
        ]
        images: list[Image] = []
        found: tuple[bytes, ...] | str = GONE
        try:
            for attachment in attached:
                if found != UNREADABLE:  # the others would fail in the same way
                    found = await self._read(attachment, at_most_bytes=left)
                if isinstance(found, str):
                    parts.append({"type": "text", "text": found.format(name=name_of(attachment))})
                    continue
                size = sum(map(len, found))
                left -= size
                give_back = partial(self._budget.give_back, size)
                image = Image(attachment.media_type, found, give_back)
                images.append(image)
                parts.append({"type": "image_url", "image_url": {"url": image}})
            self._budget.give_back(left)
            left = 0
            yield (*before, {**question, "content": parts})
        finally:
            for image in images:
                image.drop()
            self._budget.give_back(left)

    async def _taken_bytes(self, size_bytes: int) -> int:
        try:
            async with asyncio.timeout(self._wait_s):
                return await self._budget.take(size_bytes)
        except TimeoutError as error:
            raise ModelError("many pictures", f"no room within {self._wait_s:g} s") from error

    async def _read(self, attachment: Attachment, *, at_most_bytes: int) -> tuple[bytes, ...] | str:
        """The bytes of an image, or the sentence that says why they are missing."""
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
