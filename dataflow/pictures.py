"""Pictures of a question, put into the request as the model wants them.

Reads stored files only; what is gone by now is said in words instead.
"""

import base64
from typing import Any

from shared.blobs import blob
from shared.bus import Bus
from shared.messages import Ask


async def with_pictures(
    bus: Bus, ask: Ask, messages: tuple[dict[str, Any], ...]
) -> tuple[dict[str, Any], ...]:
    """The request with the question's pictures in its last message."""
    pictures = [attachment for attachment in ask.attachments if attachment.blob is not None]
    if not pictures:
        return messages
    *before, question = messages
    parts: list[dict[str, Any]] = [{"type": "text", "text": question["content"] or "(a picture)"}]
    for picture in pictures:
        data = await blob(bus, picture.blob or "")
        if data is None:
            parts.append({"type": "text", "text": f"(the picture {picture.name} is gone)"})
            continue
        url = f"data:{picture.media_type};base64,{base64.b64encode(data).decode()}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return (*before, {**question, "content": parts})
